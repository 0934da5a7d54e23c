//! An event that a lane owes, with the trouble it had.

use super::attempt::Failure;
use crate::bus::entry::BadEntry;
use crate::bus::queue::Owed;
use crate::event::{Event, Sequence};

/// An event that the lane owes.
#[derive(Debug)]
pub struct Held {
    /// Its place in the order.
    pub id: Sequence,
    /// The event, or why it cannot be delivered.
    pub event: Result<Event, BadEntry>,
    /// Its size in the queue, bytes.
    pub size: usize,
    /// It was a dead letter before.
    pub redriven: bool,
    /// Attempts made.
    pub attempts: u32,
    /// Its attempts are counted in Redis before they are made: it was pending when it was read.
    pub counted: bool,
    /// An attempt of it was cut: it may have killed its worker.
    pub suspect: bool,
    /// Its last failure, if it is known.
    pub failure: Option<Failure>,
    /// When it may be tried, by the clock of Redis; 0 for now.
    pub next: u64,
}

impl Held {
    /// From what was read.
    pub fn new(owed: Owed) -> Held {
        let trial = owed.trial.unwrap_or_default();
        let class = trial.class.as_deref().and_then(|class| class.parse().ok());
        Held {
            id: owed.entry.sequence,
            event: owed.entry.event(),
            size: owed.entry.size(),
            redriven: owed.entry.field("orig").is_some(),
            attempts: trial.n,
            counted: owed.pending,
            suspect: trial.open,
            failure: class.map(|class| Failure { code: trial.code, ..Failure::new(class, trial.msg) }),
            // whole milliseconds, never negative
            next: trial.next as u64,
        }
    }

    /// It has all its attempts again, and may be tried at once.
    pub fn start_over(&mut self) {
        (self.attempts, self.next, self.failure) = (0, 0, None);
    }

    /// The `id` of the event, for failpoints.
    pub fn key(&self) -> &str {
        self.event.as_ref().map_or("", |event| event.attributes.id())
    }
}
