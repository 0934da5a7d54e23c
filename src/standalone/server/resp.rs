//! The few words that are exchanged with the private server itself (PING, INFO, CONFIG, SHUTDOWN); events go through `bus`.

use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// An answer, as far as these commands need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A string or a number.
    Text(String),
    /// An error, with its code (`LOADING …`).
    Error(String),
    /// A list of strings.
    List(Vec<String>),
}

/// Asks one command on a connection of its own.
///
/// # Errors
/// Of connecting, of an answer that is cut short or not RESP 2, and `TimedOut` past the deadline.
pub async fn ask(socket: &Path, command: &[&str], deadline: Duration) -> io::Result<Reply> {
    tokio::time::timeout(deadline, exchange(socket, command)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(socket: &Path, command: &[&str]) -> io::Result<Reply> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    stream.write_all(encode(command).as_bytes()).await?;
    read(&mut stream).await
}

fn encode(command: &[&str]) -> String {
    let words: String = command.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words}", command.len())
}

async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Reply> {
    let line = line(from).await?;
    match line.split_at_checked(1) {
        Some(("+" | ":", text)) => Ok(Reply::Text(text.to_owned())),
        Some(("-", text)) => Ok(Reply::Error(text.to_owned())),
        Some(("$", length)) => Ok(Reply::Text(bulk(from, length).await?)),
        Some(("*", count)) => list(from, count).await,
        _ => Err(malformed()),
    }
}

async fn list(from: &mut (impl AsyncBufRead + Unpin), count: &str) -> io::Result<Reply> {
    let count: usize = count.parse().map_err(|_| malformed())?;
    let mut items = Vec::new();
    for _ in 0..count {
        let length = line(from).await?;
        items.push(bulk(from, length.strip_prefix('$').ok_or_else(malformed)?).await?);
    }
    Ok(Reply::List(items))
}

async fn bulk(from: &mut (impl AsyncBufRead + Unpin), length: &str) -> io::Result<String> {
    let length: u64 = length.parse().map_err(|_| malformed())?;
    let mut bytes = Vec::new();
    from.take(length + 2).read_to_end(&mut bytes).await?;
    let text = bytes.strip_suffix(b"\r\n").ok_or_else(malformed)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    from.read_line(&mut text).await?;
    text.strip_suffix("\r\n").map(str::to_owned).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an answer of redis")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_kind_of_answer_is_read() {
        let table = [
            ("+PONG\r\n", Reply::Text("PONG".into())),
            (":7\r\n", Reply::Text("7".into())),
            ("-LOADING wait\r\n", Reply::Error("LOADING wait".into())),
            ("$4\r\na\r\nb\r\n", Reply::Text("a\r\nb".into())),
            ("*2\r\n$3\r\ndir\r\n$0\r\n\r\n", Reply::List(vec!["dir".into(), String::new()])),
        ];
        for (text, reply) in table {
            assert_eq!(read(&mut text.as_bytes()).await.expect(text), reply);
        }
    }

    #[tokio::test]
    async fn an_answer_cut_short_is_an_error() {
        for text in ["", "+PON", "$4\r\nab", "*2\r\n$1\r\na\r\n", "HTTP/1.1 400\r\n"] {
            read(&mut text.as_bytes()).await.expect_err(text);
        }
    }
}
