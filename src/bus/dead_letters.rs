//! Dead letters.

use super::connection::{Error, Link};
use crate::event::{Event, Sequence};

/// An event that was given up, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its own ID among the dead letters.
    pub id: Sequence,
    /// Its place in the queue that it came from.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
    /// Attempts made.
    pub attempts: u32,
    /// Class of the last failure, or why it was given up.
    pub class: String,
    /// HTTP status of the last answer.
    pub code: Option<u16>,
    /// Last failure for a person.
    pub message: String,
    /// First attempt, milliseconds since the epoch.
    pub first: Option<u64>,
    /// When it was given up, milliseconds since the epoch.
    pub at: u64,
}

/// Reads dead letters above `after`, oldest first, at most `count`.
pub async fn list(_link: &Link, _bus: &str, _uid: &str, _after: Sequence, _count: usize) -> Result<Vec<DeadLetter>, Error> {
    unimplemented!()
}
