//! Storing accepted events: the script `append`.

use super::connection::{Error, RedisUrl};
use crate::event::{Event, Sequence};
use std::time::Duration;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the order of the bus.
    pub sequence: Sequence,
    /// It had been stored before, inside the dedupe window.
    pub duplicate: bool,
}

/// Stores events durably. Cheap to clone; keeps its own connections.
#[derive(Clone)]
pub struct Appender(());

impl Appender {
    /// Starts connecting; returns at once.
    pub fn start(_url: RedisUrl) -> Appender {
        unimplemented!()
    }

    /// Stores the events of one request, all or nothing, in their order.
    ///
    /// # Errors
    /// [`Error::Unknown`] if they may have been stored; every other error says that they surely were not.
    pub async fn append(&self, _bus: &str, _events: &[Event], _dedupe_window: Duration, _replicas: u32) -> Result<Vec<Receipt>, Error> {
        unimplemented!()
    }

    /// Whether a connection is there, and if not, why (for readiness).
    pub fn status(&self) -> Result<(), String> {
        unimplemented!()
    }

    /// Bytes that Redis uses and the most that it may use, as of the last second; `None` while unknown.
    pub fn memory(&self) -> Option<super::safety::Memory> {
        unimplemented!()
    }
}
