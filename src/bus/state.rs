//! What is known of a destination at this moment: the script `status`.

use super::connection::{Error, Link};
use crate::event::Sequence;

/// All that Redis holds about one destination, read in one script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Events that wait (`XLEN` of the queue).
    pub backlog: u64,
    /// Dead letters kept (`XLEN`).
    pub dead_letters: u64,
    /// Events ever put into the queue.
    pub routed: u64,
    /// Events answered with 2xx.
    pub settled: u64,
    /// Events moved to the dead letters.
    pub buried: u64,
    /// Events dropped by a limit or by `onExhausted: Drop`.
    pub dropped: u64,
    /// Events of a queue that someone deleted from Redis.
    pub lost: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Attempts that repeated an earlier one.
    pub retried: u64,
    /// Why it is halted, and since when (milliseconds since the epoch).
    pub halted: Option<(String, u64)>,
    /// State that the worker reported, with its reason.
    pub state: Option<String>,
    /// Message that the worker reported with it.
    pub reason: Option<String>,
    /// The plan that the worker runs.
    pub plan: Option<String>,
    /// Whether a worker holds the lease now.
    pub owned: bool,
    /// Last delivery, milliseconds since the epoch.
    pub last_ok: Option<u64>,
    /// Last match, milliseconds since the epoch.
    pub last_match: Option<u64>,
    /// Where it began to read.
    pub start: Option<Sequence>,
    /// Its position where it is behind the cursor.
    pub fill: Option<Sequence>,
    /// The event at the head of the queue.
    pub head: Option<Head>,
    /// Clock of Redis when this was read, milliseconds since the epoch.
    pub now: u64,
}

/// The oldest event that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its place in the order.
    pub sequence: Sequence,
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `type`.
    pub event_type: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// First failed attempt, milliseconds since the epoch.
    pub first: Option<u64>,
    /// Next attempt, milliseconds since the epoch.
    pub next: Option<u64>,
    /// HTTP status of the last answer.
    pub code: Option<u16>,
    /// Class of the last failure.
    pub class: Option<String>,
    /// Last failure for a person.
    pub message: Option<String>,
}

/// Reads one destination.
pub async fn snapshot(_link: &Link, _bus: &str, _uid: &str) -> Result<Snapshot, Error> {
    unimplemented!()
}
