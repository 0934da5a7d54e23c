//! An event that a lane owes, with the trouble it had.

use super::attempt::Failure;
use super::lanes::Body;
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
    /// When it says that it is of no more use (`expirytime`), milliseconds since the epoch.
    pub expires: Option<u64>,
    /// Bytes that it adds to a batch; 0 where there are none.
    pub weight: u64,
    /// It is sent alone: a batch with it was refused.
    pub single: bool,
}

impl Held {
    /// From what was read.
    pub fn new(owed: Owed) -> Held {
        let trial = owed.trial.unwrap_or_default();
        let class = trial.class.as_deref().and_then(|class| class.parse().ok());
        let event = owed.entry.event();
        let expires = event.as_ref().ok().and_then(|event| expires(event.attributes.get("expirytime")?));
        Held {
            id: owed.entry.sequence,
            event,
            size: owed.entry.size(),
            redriven: owed.entry.field("orig").is_some(),
            attempts: trial.n,
            counted: owed.pending,
            suspect: trial.open,
            failure: class.map(|class| Failure { code: trial.code, ..Failure::new(class, trial.msg) }),
            // whole milliseconds, never negative
            next: trial.next as u64,
            expires,
            weight: 0,
            single: false,
        }
    }

    /// The `id` of the event, for failpoints.
    pub fn key(&self) -> &str {
        self.event.as_ref().map_or("", |event| event.attributes.id())
    }
}

/// RFC 3339, as the CloudEvents extension says; what is not a time says nothing.
fn expires(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

impl Body for Held {
    fn id(&self) -> Sequence {
        self.id
    }

    fn next(&self) -> u64 {
        self.next
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }

    fn size(&self) -> usize {
        self.size
    }

    fn weight(&self) -> u64 {
        self.weight
    }

    fn is_single(&self) -> bool {
        self.single || self.suspect || self.event.is_err()
    }

    fn make_single(&mut self) {
        self.single = true;
    }

    fn start_over(&mut self) {
        (self.attempts, self.next, self.failure) = (0, 0, None);
    }
}
