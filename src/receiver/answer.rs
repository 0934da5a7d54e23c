//! What a receiver sends back, from a status code to garbage.

use super::Seen;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// This status code, no body.
    Status(u16),
    /// A whole response.
    Response {
        /// Status code.
        status: u16,
        /// Headers, in order.
        headers: Vec<(String, String)>,
        /// Body.
        body: Bytes,
    },
    /// The other answer, later.
    After(Duration, Box<Answer>),
    /// None; the connection stays open.
    Hang,
    /// None; the connection is closed in good order (FIN).
    Close,
    /// None; the connection is reset (RST). Over TLS it is only closed.
    Reset,
    /// These bytes in place of an HTTP response, then what follows.
    Raw(Bytes, Then),
}

/// What follows raw bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Then {
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// The connection stays open and silent.
    Hang,
    /// These bytes again and again, one piece each period, until the other side gives up.
    Drip(Bytes, Duration),
}

impl Answer {
    /// A status code with one header.
    pub fn with_header(status: u16, name: &str, value: &str) -> Answer {
        Answer::Response { status, headers: vec![(name.to_owned(), value.to_owned())], body: Bytes::new() }
    }

    /// The status code that the sender will see; `None` if it will see none.
    pub fn status(&self) -> Option<u16> {
        match self {
            Answer::Status(status) | Answer::Response { status, .. } => Some(*status),
            Answer::After(_, answer) => answer.status(),
            Answer::Raw(bytes, _) => std::str::from_utf8(bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?.parse().ok(),
            Answer::Hang | Answer::Close | Answer::Reset => None,
        }
    }
}

type Decide = dyn Fn(&Seen) -> Answer + Send + Sync;

/// Decides the answer to each request. Cheap to clone.
#[derive(Clone)]
pub struct Behaviour(Arc<Decide>);

impl Behaviour {
    /// Decides by a function.
    pub fn new(decide: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Behaviour {
        Behaviour(Arc::new(decide))
    }

    /// 204 to everything.
    pub fn ok() -> Behaviour {
        Behaviour::always(Answer::Status(204))
    }

    /// The same to everything.
    pub fn always(answer: Answer) -> Behaviour {
        Behaviour::new(move |_| answer.clone())
    }

    /// This answer to every `n`-th first attempt, 204 to everything else. Never, if `n` is 0.
    pub fn every(n: u64, answer: Answer) -> Behaviour {
        let hit = move |seen: &Seen| n > 0 && seen.first_number.is_some_and(|first| first % n == 0);
        Behaviour::new(move |seen| if hit(seen) { answer.clone() } else { Answer::Status(204) })
    }

    /// These answers to the next requests, in order, then 204.
    pub fn script(answers: Vec<Answer>) -> Behaviour {
        let next = AtomicUsize::new(0);
        Behaviour::new(move |_| answers.get(next.fetch_add(1, Ordering::Relaxed)).cloned().unwrap_or(Answer::Status(204)))
    }

    /// The answer to one request.
    pub fn decide(&self, seen: &Seen) -> Answer {
        (self.0)(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_raw_bytes_is_read_from_them() {
        let raw = |bytes: &'static str| Answer::Raw(Bytes::from_static(bytes.as_bytes()), Then::Close).status();
        assert_eq!(raw("HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(raw("HTTP/1.1 20"), None);
        assert_eq!(raw("SSH-2.0-OpenSSH"), None);
    }
}
