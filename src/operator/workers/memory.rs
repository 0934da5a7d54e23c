//! What was last applied and what the watch shows, so that an object that is as it should be costs no request. Pure.

use super::build::Worker;
use prometheus_client::encoding::EncodeLabelValue;
use std::collections::{HashMap, HashSet};

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelValue)]
pub enum Kind {
    /// A worker's Deployment.
    Deployment,
    /// A worker's plan Secret.
    Secret,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 2] = [Kind::Deployment, Kind::Secret];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Deployment => "Deployment",
            Kind::Secret => "Secret",
        }
    }
}

/// One version of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`; an object of a kind that has none is changed whenever its `resource_version` is another.
    pub generation: Option<i64>,
}

/// What the watch shows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is there.
    There {
        /// This version of it.
        version: Version,
        /// Whom its labels say that it is for.
        worker: Option<Worker>,
    },
    /// It was deleted, or has lost our labels, at this `metadata.resourceVersion`; empty where unknown.
    Gone(String),
}

#[derive(Debug)]
struct Record {
    worker: Worker,
    /// Hash of what was applied, until someone changes it.
    applied: Option<u64>,
    /// The version that it got.
    version: Option<Version>,
    /// An apply is under way: what the watch shows is judged after it.
    busy: bool,
    seen: Option<Seen>,
}

/// What is known of all objects of workers.
#[derive(Debug, Default)]
pub struct Memory(HashMap<(Kind, String), Record>);

impl Memory {
    /// Whether an object must be applied to become what has this hash. If so, [`Memory::end`] must follow.
    pub fn begin(&mut self, kind: Kind, worker: &Worker, hash: u64) -> bool {
        let record = self.record(kind, worker.name(), worker);
        if record.applied == Some(hash) {
            return false;
        }
        record.worker = worker.clone();
        // unknown until it is answered, and for good if nobody waits for the answer
        (record.applied, record.busy) = (None, true);
        true
    }

    /// What came of an apply: the version, or `None` if it failed or may have. Whether someone changed the object since then: it must be applied
    /// again.
    pub fn end(&mut self, kind: Kind, name: &str, hash: u64, version: Option<Version>) -> bool {
        let Some(record) = self.0.get_mut(&(kind, name.to_owned())) else { return false };
        record.busy = false;
        record.applied = version.as_ref().map(|_| hash);
        record.version = version;
        record.judge()
    }

    /// The version that an object had when the watch last showed it.
    pub fn seen_version(&self, kind: Kind, name: &str) -> Option<&Version> {
        match self.0.get(&(kind, name.to_owned()))?.seen.as_ref()? {
            Seen::There { version, .. } => Some(version),
            Seen::Gone(_) => None,
        }
    }

    /// Takes what the watch shows. Whose object it is, if someone else changed or deleted it: it must be applied again.
    pub fn saw(&mut self, kind: Kind, name: &str, seen: Seen) -> Option<Worker> {
        let key = (kind, name.to_owned());
        if !self.0.contains_key(&key) {
            let Seen::There { worker: Some(worker), .. } = &seen else { return None };
            self.record(kind, name.to_owned(), worker);
        }
        let record = self.0.get_mut(&key)?;
        record.seen = Some(seen);
        let changed = record.judge().then(|| record.worker.clone());
        if record.is_over() {
            self.0.remove(&key);
        }
        changed
    }

    /// The watch began again and showed these names, all there are. Whose objects are missing.
    pub fn listed(&mut self, kind: Kind, names: &HashSet<String>) -> Vec<Worker> {
        let missing = self.0.iter().filter(|((other, name), record)| *other == kind && !record.busy && !names.contains(name));
        let missing: Vec<String> = missing.map(|((_, name), _)| name.clone()).collect();
        missing.iter().filter_map(|name| self.saw(kind, name, Seen::Gone(String::new()))).collect()
    }

    /// We deleted an object.
    pub fn forget(&mut self, kind: Kind, name: &str) {
        self.0.remove(&(kind, name.to_owned()));
    }

    /// All objects that exist as far as is known: applied, or shown by the watch.
    pub fn objects(&self) -> impl Iterator<Item = (Kind, &str, &Worker)> {
        self.0.iter().map(|((kind, name), record)| (*kind, name.as_str(), &record.worker))
    }

    /// An object that is there, or may be.
    pub fn exists(&self, kind: Kind, name: &str) -> bool {
        self.0.contains_key(&(kind, name.to_owned()))
    }

    fn record(&mut self, kind: Kind, name: String, worker: &Worker) -> &mut Record {
        let new = || Record { worker: worker.clone(), applied: None, version: None, busy: false, seen: None };
        self.0.entry((kind, name)).or_insert_with(new)
    }
}

impl Record {
    /// Whether the watch shows a change that is not ours; if so, it is noted that the object must be applied again.
    fn judge(&mut self) -> bool {
        let (false, Some(ours), Some(seen)) = (self.busy, &self.version, &self.seen) else { return false };
        let changed = match seen {
            Seen::Gone(at) => at.is_empty() || is_later(at, &ours.resource_version),
            Seen::There { version, worker } => {
                is_later(&version.resource_version, &ours.resource_version)
                    && (version.uid != ours.uid
                        || ours.generation.is_none_or(|_| version.generation != ours.generation)
                        || worker.as_ref() != Some(&self.worker))
            }
        };
        if changed {
            (self.applied, self.version) = (None, None);
        }
        changed
    }

    /// Gone, and nobody wants it.
    fn is_over(&self) -> bool {
        !self.busy && self.applied.is_none() && matches!(self.seen, Some(Seen::Gone(_)))
    }
}

/// Whether a resource version is later than ours; where they cannot be compared, whether it is another.
fn is_later(other: &str, ours: &str) -> bool {
    match (other.parse::<u64>(), ours.parse::<u64>()) {
        (Ok(other), Ok(ours)) => other > ours,
        _ => other != ours,
    }
}

#[cfg(test)]
mod tests;
