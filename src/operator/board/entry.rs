//! What is written down of one destination, and of Redis. Pure.

use crate::api::EventDestinationStatus;
use crate::api::status::WorkerStatus;
use crate::bus::state::Snapshot;
use crate::plan::Route;
use jiff::Timestamp;
use std::fmt;

/// Reason of conditions while Redis does not answer.
pub const REDIS_UNAVAILABLE: &str = "RedisUnavailable";

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What became of the last reconcile of an object.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "most are the large one")]
pub enum Outcome {
    /// Its spec is not accepted: what ran before goes on, nothing new begins.
    Rejected {
        /// Reason of the condition Accepted: `InvalidSpec`, `NotImplemented`, `BusNotAllowed`, `UnknownBus`.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// Accepted, and Redis and the cluster hold what it wants.
    Applied(Applied),
    /// Accepted, and something could not be written; tried again.
    Failed {
        /// Reason of the condition Routed or WorkerAvailable: `RedisUnavailable`, `ApplyFailed`, `NameTaken`.
        reason: &'static str,
        /// What failed, without credentials.
        message: String,
    },
    /// The annotation `posthorn.dev/paused` is on it: it is left alone.
    Paused,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The route that Redis holds.
    pub route: Route,
    /// The plan that its worker is to report; `None` where it may have none (something is missing: `route.unresolved`).
    pub plan: Option<String>,
    /// Dedicated or Shared, as it is, and the Deployment.
    pub worker: WorkerStatus,
}

/// What a reconcile tells of an object.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation` that the outcome is about.
    pub generation: i64,
    /// Its bus; empty for an object that cannot be read: what was known of it stays.
    pub bus: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The status that the object has, as the API server last gave it.
    pub status: EventDestinationStatus,
}

/// One destination.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation` that `outcome` is about.
    pub generation: i64,
    /// Its bus.
    pub bus: String,
    /// What became of the last reconcile.
    pub outcome: Outcome,
    /// When this outcome was first told.
    pub since: Timestamp,
    /// What was applied last, also where the last reconcile came to something else; `None` if nothing since this process began.
    pub applied: Option<Applied>,
    /// How it did when last looked at; `None` until then.
    pub snapshot: Option<Snapshot>,
    /// The status that the object has, as far as we know.
    pub status: EventDestinationStatus,
}

/// What is known of the Redis of a bus.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Storage {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It answers.
    Reachable {
        /// Whether it keeps what the bus accepts; `None`: that was not checked yet.
        safety: Option<Safety>,
        /// Since when that is so.
        since: Timestamp,
    },
    /// It has not answered for a while.
    Unreachable {
        /// Why.
        message: String,
        /// When that was noticed.
        since: Timestamp,
    },
}

/// Whether Redis keeps what a bus accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It does.
    Safe,
    /// It does not tell.
    Unverified {
        /// What it does not tell.
        message: String,
    },
    /// Accepted events may be lost.
    Unsafe {
        /// Reason of the condition StorageSafe.
        reason: &'static str,
        /// All that is wrong, and what to do.
        message: String,
    },
}
