//! What is known of each destination at this moment. Everyone writes their part here, the status is made from it.

use crate::api::EventDestinationStatus;
use crate::bus::state::Snapshot;
use crate::plan::Route;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

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
        /// Reason of the condition Routed or WorkerAvailable: `RedisUnavailable`, `ApplyFailed`.
        reason: &'static str,
        /// What failed, without credentials.
        message: String,
    },
}

/// What was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The route that Redis holds.
    pub route: Route,
    /// The plan that its worker is to report; `None` where it may have none (something is missing: `route.unresolved`).
    pub plan: Option<String>,
    /// Dedicated or Shared, as it is, and the Deployment.
    pub worker: crate::api::status::WorkerStatus,
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
    /// The annotation `posthorn.dev/paused` is on it.
    pub paused: bool,
    /// What became of the last reconcile.
    pub outcome: Outcome,
    /// How it did when last looked at; `None` until then, or where Redis holds nothing of it.
    pub snapshot: Option<Snapshot>,
    /// The status that the object has, as far as we know.
    pub status: EventDestinationStatus,
}

/// All destinations. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: Mutex<HashMap<Key, Entry>>,
    changed: Notify,
}

impl Board {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what became of a reconcile. `status` is the object's, as the API server last gave it.
    pub fn set(&self, key: Key, entry: Entry) {
        self.entries().insert(key, entry);
        self.0.changed.notify_one();
    }

    /// Forgets an object that is gone.
    pub fn remove(&self, key: &Key) {
        self.entries().remove(key);
    }

    /// The plan that the worker of a destination reports to run.
    pub fn reported_plan(&self, uid: &str) -> Option<String> {
        let entries = self.entries();
        let entry = entries.values().find(|entry| entry.uid == uid)?;
        entry.snapshot.as_ref()?.plan.clone()
    }
}
