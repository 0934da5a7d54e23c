//! A receiver over real sockets.

use super::*;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUEST: &[u8] = b"POST /hook?a=1 HTTP/1.1\r\nhost: r\r\nce-id: 7\r\nposthorn-attempt: 1\r\ncontent-length: 2\r\n\r\nhi";

async fn connect(receiver: &Receiver) -> TcpStream {
    TcpStream::connect(receiver.addr).await.unwrap()
}

/// Sends one request and reads until the head of the answer ends, or the connection does.
async fn exchange(stream: &mut TcpStream) -> io::Result<String> {
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_request_is_remembered_as_it_came() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    assert!(exchange(&mut connect(&receiver).await).await.unwrap().starts_with("HTTP/1.1 204"));
    let seen = receiver.stop().await.remove(0);
    assert_eq!((seen.path.as_str(), seen.id(), &seen.body[..]), ("/hook?a=1", Some("7"), &b"hi"[..]));
    assert_eq!((seen.number, seen.first_number, seen.status), (1, Some(1), Some(204)));
}

#[tokio::test]
async fn a_connection_is_kept_while_answers_are_http() {
    let receiver = Receiver::start(Behaviour::every(2, Answer::Status(503))).await.unwrap();
    let mut stream = connect(&receiver).await;
    assert!(exchange(&mut stream).await.unwrap().starts_with("HTTP/1.1 204"));
    assert!(exchange(&mut stream).await.unwrap().starts_with("HTTP/1.1 503"));
    receiver.set_behaviour(Behaviour::always(Answer::with_header(429, "retry-after", "7")));
    assert!(exchange(&mut stream).await.unwrap().contains("retry-after: 7"));
}

#[tokio::test]
async fn every_misbehaviour_reaches_the_wire() {
    let receiver = Receiver::start(Behaviour::script(vec![
        Answer::Close,
        Answer::Reset,
        Answer::After(Duration::from_millis(1), Box::new(Answer::Raw(Bytes::from_static(b"gibberish\r\n\r\n"), Then::Close))),
        Answer::Raw(Bytes::from_static(b"HTTP/1.1 200 OK\r\n"), Then::Drip(Bytes::from_static(b"\r\n"), Duration::from_millis(1))),
    ]))
    .await
    .unwrap();
    assert_eq!(exchange(&mut connect(&receiver).await).await.unwrap(), "");
    assert_eq!(exchange(&mut connect(&receiver).await).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(exchange(&mut connect(&receiver).await).await.unwrap(), "gibberish\r\n\r\n");
    assert!(exchange(&mut connect(&receiver).await).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n\r\n"));
    let statuses: Vec<_> = receiver.log().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [None, None, None, Some(200)]);
}

#[tokio::test]
async fn a_hanging_connection_ends_with_the_receiver_and_its_port_is_free_again() {
    let receiver = Receiver::start(Behaviour::always(Answer::Hang)).await.unwrap();
    let mut stream = connect(&receiver).await;
    stream.write_all(REQUEST).await.unwrap();
    while receiver.count() == 0 {
        tokio::task::yield_now().await;
    }
    let addr = receiver.addr;
    receiver.stop().await;
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or_default(), 0);
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    Receiver::start_on(addr, Behaviour::ok()).await.unwrap();
}
