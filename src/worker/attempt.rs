//! The typed outcome of one request. Pure.

use crate::event::{Event, Sequence};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest [`Failure::message`], characters.
pub const MAX_MESSAGE: usize = 256;

/// One event to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its place in the order.
    pub sequence: Sequence,
    /// 1 for the first attempt.
    pub number: u32,
    /// It was a dead letter before.
    pub redriven: bool,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Answered with 2xx.
    Delivered {
        /// The status code.
        code: u16,
    },
    /// Everything else.
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// HTTP status, if there was an answer.
    pub code: Option<u16>,
    /// For a person: at most 256 characters, no payload, no credentials, no query of a URL.
    pub message: String,
    /// What the receiver asked for (`Retry-After`), not yet clamped.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without an answer; the message is cut to [`MAX_MESSAGE`].
    pub fn new(class: Class, message: impl fmt::Display) -> Failure {
        let mut message = message.to_string();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
        }
        Failure { class, code: None, message, retry_after: None }
    }

    /// The same failure, learnt from an answer with this status code.
    pub fn with_code(self, code: u16) -> Failure {
        Failure { code: Some(code), ..self }
    }
}

/// What kind of failure; a label of metrics, the field `class` in Redis and `lastReason` of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The host's name could not be resolved.
    DnsFailed,
    /// Nothing listens at the receiver's address.
    ConnectionRefused,
    /// No connection for another reason, like no route.
    ConnectionFailed,
    /// No TLS session: certificate, name, version, closed while shaking hands.
    TlsFailed,
    /// No complete answer in time.
    Timeout,
    /// The connection ended before a complete answer.
    ConnectionReset,
    /// What came is not an HTTP response.
    InvalidResponse,
    /// 3xx: redirects are never followed.
    RedirectRefused,
    /// 401, 403, 407.
    AuthRejected,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 408.
    RequestTimeout,
    /// 409.
    Conflict,
    /// 410.
    Gone,
    /// 425.
    TooEarly,
    /// 429.
    TooManyRequests,
    /// 5xx.
    ServerError,
    /// 400.
    BadRequest,
    /// 413.
    PayloadTooLarge,
    /// 414.
    UriTooLong,
    /// 415.
    UnsupportedMediaType,
    /// 422.
    Unprocessable,
    /// Any other 4xx.
    ClientError,
    /// The address policy forbids the receiver's address; no packet left, so no attempt was made.
    AddressDenied,
    /// The token endpoint refuses the credentials, or gives no token that can be used.
    TokenRefused,
    /// The token endpoint cannot be reached, or is in trouble.
    TokenUnavailable,
    /// The receiver asked to halt the destination ([`Directive::Halt`]).
    HaltedByReceiver,
    /// The receiver asked to give the event up ([`Directive::Bury`]).
    BuriedByReceiver,
    /// The event waited longer than `maxEventAge`.
    Expired,
    /// A person skipped it.
    Skipped,
    /// The worker died again and again while trying it.
    WorkerDied,
    /// The stored event cannot be made into a request.
    Undecodable,
    /// A defect of Posthorn itself.
    Internal,
}

/// Whom a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// The event: others may well be accepted.
    Event,
    /// The destination: others would fail as well.
    Destination,
    /// Neither; it counts towards no streak.
    Other,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 33] = [
        Class::DnsFailed,
        Class::ConnectionRefused,
        Class::ConnectionFailed,
        Class::TlsFailed,
        Class::Timeout,
        Class::ConnectionReset,
        Class::InvalidResponse,
        Class::RedirectRefused,
        Class::AuthRejected,
        Class::NotFound,
        Class::MethodNotAllowed,
        Class::RequestTimeout,
        Class::Conflict,
        Class::Gone,
        Class::TooEarly,
        Class::TooManyRequests,
        Class::ServerError,
        Class::BadRequest,
        Class::PayloadTooLarge,
        Class::UriTooLong,
        Class::UnsupportedMediaType,
        Class::Unprocessable,
        Class::ClientError,
        Class::AddressDenied,
        Class::TokenRefused,
        Class::TokenUnavailable,
        Class::HaltedByReceiver,
        Class::BuriedByReceiver,
        Class::Expired,
        Class::Skipped,
        Class::WorkerDied,
        Class::Undecodable,
        Class::Internal,
    ];

    /// The name that Redis, metrics and the status show.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::DnsFailed => "DnsFailed",
            Class::ConnectionRefused => "ConnectionRefused",
            Class::ConnectionFailed => "ConnectionFailed",
            Class::TlsFailed => "TlsFailed",
            Class::Timeout => "Timeout",
            Class::ConnectionReset => "ConnectionReset",
            Class::InvalidResponse => "InvalidResponse",
            Class::RedirectRefused => "RedirectRefused",
            Class::AuthRejected => "AuthRejected",
            Class::NotFound => "NotFound",
            Class::MethodNotAllowed => "MethodNotAllowed",
            Class::RequestTimeout => "RequestTimeout",
            Class::Conflict => "Conflict",
            Class::Gone => "Gone",
            Class::TooEarly => "TooEarly",
            Class::TooManyRequests => "TooManyRequests",
            Class::ServerError => "ServerError",
            Class::BadRequest => "BadRequest",
            Class::PayloadTooLarge => "PayloadTooLarge",
            Class::UriTooLong => "UriTooLong",
            Class::UnsupportedMediaType => "UnsupportedMediaType",
            Class::Unprocessable => "Unprocessable",
            Class::ClientError => "ClientError",
            Class::AddressDenied => "AddressDenied",
            Class::TokenRefused => "TokenRefused",
            Class::TokenUnavailable => "TokenUnavailable",
            Class::HaltedByReceiver => "HaltedByReceiver",
            Class::BuriedByReceiver => "BuriedByReceiver",
            Class::Expired => "Expired",
            Class::Skipped => "Skipped",
            Class::WorkerDied => "WorkerDied",
            Class::Undecodable => "Undecodable",
            Class::Internal => "Internal",
        }
    }

    /// Whether it speaks of one event: of a batch, others may be delivered.
    pub fn is_of_the_event(self) -> bool {
        self.level() == Level::Event || matches!(self, Class::BuriedByReceiver | Class::Undecodable)
    }

    /// Whom it speaks against.
    pub fn level(self) -> Level {
        match self {
            Class::DnsFailed
            | Class::ConnectionRefused
            | Class::ConnectionFailed
            | Class::TlsFailed
            | Class::Timeout
            | Class::ConnectionReset
            | Class::InvalidResponse
            | Class::RedirectRefused
            | Class::AuthRejected
            | Class::NotFound
            | Class::MethodNotAllowed
            | Class::RequestTimeout
            | Class::Conflict
            | Class::Gone
            | Class::TooEarly
            | Class::TooManyRequests
            | Class::ServerError
            | Class::TokenRefused
            | Class::TokenUnavailable
            | Class::HaltedByReceiver => Level::Destination,
            Class::BadRequest
            | Class::PayloadTooLarge
            | Class::UriTooLong
            | Class::UnsupportedMediaType
            | Class::Unprocessable
            | Class::ClientError => Level::Event,
            Class::AddressDenied
            | Class::BuriedByReceiver
            | Class::Expired
            | Class::Skipped
            | Class::WorkerDied
            | Class::Undecodable
            | Class::Internal => Level::Other,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not the name of a [`Class`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a class of failure; it may have been written by a newer version")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Class, UnknownClass> {
        Class::ALL.into_iter().find(|class| class.as_str() == name).ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

/// What a receiver asks for by the header `posthorn-directive` of an answer that is not 2xx. It goes before the status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Give this event up now.
    Bury,
    /// Halt the destination now.
    Halt,
}

impl Directive {
    /// Reads the value of the header; `None` if it is no directive.
    pub fn parse(value: &str) -> Option<Directive> {
        let is = |word: &str| value.trim().eq_ignore_ascii_case(word);
        if is("bury") {
            return Some(Directive::Bury);
        }
        is("halt").then_some(Directive::Halt)
    }

    /// What follows from it.
    pub fn class(self) -> Class {
        match self {
            Directive::Bury => Class::BuriedByReceiver,
            Directive::Halt => Class::HaltedByReceiver,
        }
    }
}

/// What a final status code that is not 2xx means.
pub fn classify(code: u16) -> Class {
    match code {
        300..=399 => Class::RedirectRefused,
        400 => Class::BadRequest,
        401 | 403 | 407 => Class::AuthRejected,
        404 => Class::NotFound,
        405 => Class::MethodNotAllowed,
        408 => Class::RequestTimeout,
        409 => Class::Conflict,
        410 => Class::Gone,
        413 => Class::PayloadTooLarge,
        414 => Class::UriTooLong,
        415 => Class::UnsupportedMediaType,
        422 => Class::Unprocessable,
        425 => Class::TooEarly,
        429 => Class::TooManyRequests,
        402 | 406 | 411 | 412 | 416..=421 | 423 | 424 | 426..=428 | 430..=499 => Class::ClientError,
        500..=599 => Class::ServerError,
        _ => Class::InvalidResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_class_is_read_back_by_its_name() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
            assert_eq!(class.as_str(), format!("{class:?}"));
        }
        assert_eq!(Class::ALL.into_iter().collect::<HashSet<_>>().len(), Class::ALL.len());
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!("timeout".parse::<Class>(), Err(UnknownClass("timeout".into())));
    }

    #[test]
    fn status_codes_speak_against_the_event_or_the_destination() {
        let destination = [300, 301, 302, 304, 307, 308, 401, 403, 404, 405, 407, 408, 409, 410, 425, 429, 500, 502, 503, 504, 599];
        let event = [400, 402, 406, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424, 426, 428, 431, 451, 499];
        for code in destination {
            assert_eq!(classify(code).level(), Level::Destination, "{code}");
        }
        for code in event {
            assert_eq!(classify(code).level(), Level::Event, "{code}");
        }
    }

    #[test]
    fn what_is_no_final_status_code_is_an_invalid_response() {
        for code in [0, 100, 101, 199, 600, 999] {
            assert_eq!(classify(code), Class::InvalidResponse, "{code}");
        }
    }

    #[test]
    fn a_directive_is_one_word_in_any_case() {
        for value in ["bury", " Bury ", "BURY"] {
            assert_eq!(Directive::parse(value), Some(Directive::Bury), "{value}");
        }
        assert_eq!(Directive::parse("halt"), Some(Directive::Halt));
        for value in ["", "bury it", "bury, halt", "retry"] {
            assert_eq!(Directive::parse(value), None, "{value}");
        }
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let failure = Failure::new(Class::Internal, "é".repeat(1000));
        assert_eq!(failure.message.chars().count(), MAX_MESSAGE);
    }
}
