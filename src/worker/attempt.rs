//! The typed outcome of one request. Pure.

use crate::event::{Event, Sequence};
use std::time::Duration;

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

/// What kind of failure; a label of metrics and `lastReason` of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 5xx.
    ServerError,
}
