//! Which plan is in which pool. Pure.
//!
//! A plan has one home, and stays there as long as it fits. It leaves any other place only once its home is written: a crash between the two
//! leaves it in two pools, never in none, and the lease of its queue lets one worker deliver. After a restart the pools' Secrets say where
//! everything is, and nothing leaves until someone says so.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Most plans in a pool.
pub const MOST_PLANS: usize = 64;
/// Most bytes of plans in a pool; a plan that is larger has a pool to itself.
pub const MOST_BYTES: usize = 256 << 10;

/// A plan as its file holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct PlanFile {
    /// [`crate::plan::Plan::id`].
    pub id: String,
    /// Namespace of the destination.
    pub namespace: String,
    /// Name of the destination.
    pub name: String,
    /// The plan in JSON, with its secrets.
    pub json: Arc<[u8]>,
}

/// Without the plan, which holds secrets.
impl fmt::Debug for PlanFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}/{}, {} bytes", self.id, self.namespace, self.name, self.json.len())
    }
}

impl PlanFile {
    /// Reads whose plan it is; of a plan of another version too. `None` if it is none.
    pub fn read(json: &[u8]) -> Option<PlanFile> {
        #[derive(Deserialize)]
        struct Known {
            id: String,
            namespace: String,
            name: String,
        }
        let Known { id, namespace, name } = serde_json::from_slice(json).ok()?;
        Some(PlanFile { id, namespace, name, json: json.into() })
    }
}

/// Plans by the UID of their destination.
pub type Files = BTreeMap<String, PlanFile>;

/// What a pool should hold.
#[derive(Clone, Debug, Default)]
struct Pool {
    plans: BTreeMap<String, Seat>,
    /// Of its last change.
    revision: u64,
    /// The revision that is written; `None` if it must be written in any case.
    written: Option<u64>,
}

#[derive(Clone, Debug)]
struct Seat {
    file: PlanFile,
    /// The pool's revision that this file came with.
    since: u64,
}

/// All pools.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    pools: BTreeMap<u32, Pool>,
    /// UID → the pool it belongs into.
    homes: HashMap<String, u32>,
    /// Of the last change of any pool; grows for ever, so that a pool that is made again is not taken for the one before.
    revision: u64,
}

/// What is to be written of a pool.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Names this version of it.
    pub revision: u64,
    /// All its plans. None: the pool goes away.
    pub files: Files,
    /// Those that have changed since it was last written.
    pub changed: Vec<String>,
}

impl Placement {
    /// What was found in the pools' Secrets. A plan that is in several stays in all of them until its home is written.
    pub fn load(found: impl IntoIterator<Item = (u32, Files)>) -> Placement {
        let mut placement = Placement::default();
        for (number, files) in found {
            placement.pools.entry(number).or_default();
            placement.touch(number);
            for (uid, file) in files {
                placement.homes.entry(uid.clone()).or_insert(number);
                placement.seat(number, &uid, file);
            }
        }
        placement
    }

    /// Takes a plan, or a newer version of it, and returns its pool.
    pub fn put(&mut self, uid: &str, file: PlanFile) -> u32 {
        let size = file.json.len();
        let home = self.homes.get(uid).copied().filter(|home| self.has_room(*home, uid, size));
        let number =
            home.or_else(|| self.pools.keys().copied().find(|number| self.has_room(*number, uid, size))).unwrap_or_else(|| self.unused());
        self.homes.insert(uid.to_owned(), number);
        if self.pools.get(&number).and_then(|pool| pool.plans.get(uid)).is_none_or(|seat| seat.file != file) {
            self.seat(number, uid, file);
        }
        number
    }

    /// Takes a plan out of all pools. Whether there was one.
    pub fn remove(&mut self, uid: &str) -> bool {
        let numbers: Vec<u32> = self.pools.iter().filter(|(_, pool)| pool.plans.contains_key(uid)).map(|(number, _)| *number).collect();
        for number in &numbers {
            self.unseat(*number, uid);
        }
        self.homes.remove(uid);
        !numbers.is_empty()
    }

    /// The pool of a destination.
    pub fn home(&self, uid: &str) -> Option<u32> {
        self.homes.get(uid).copied()
    }

    /// Whether the pool of a destination was written with its present plan.
    pub fn is_written(&self, uid: &str) -> bool {
        self.home(uid).and_then(|home| self.pools.get(&home)).is_some_and(|pool| pool.has_written(uid))
    }

    /// All plans, by UID.
    pub fn plans(&self) -> impl Iterator<Item = (&str, &PlanFile)> {
        self.homes.iter().filter_map(|(uid, home)| Some((uid.as_str(), &self.pools.get(home)?.plans.get(uid)?.file)))
    }

    /// The pools that must be written.
    pub fn due(&self) -> impl Iterator<Item = u32> {
        self.pools.iter().filter(|(_, pool)| pool.written != Some(pool.revision)).map(|(number, _)| *number)
    }

    /// What to write of a pool; `None` if there is no such pool any more.
    pub fn contents(&self, number: u32) -> Option<Contents> {
        let pool = self.pools.get(&number)?;
        let changed = pool.plans.iter().filter(|(_, seat)| pool.written.is_none_or(|written| seat.since > written));
        Some(Contents {
            revision: pool.revision,
            changed: changed.map(|(uid, _)| uid.clone()).collect(),
            files: pool.plans.iter().map(|(uid, seat)| (uid.clone(), seat.file.clone())).collect(),
        })
    }

    /// A pool was written.
    pub fn written(&mut self, number: u32, revision: u64) {
        if let Some(pool) = self.pools.get_mut(&number) {
            pool.written = Some(revision);
        }
    }

    /// An empty pool was deleted. If it was given a plan meanwhile it must be made again.
    pub fn deleted(&mut self, number: u32) {
        if let Some(pool) = self.pools.get_mut(&number) {
            pool.written = None;
            if pool.plans.is_empty() {
                self.pools.remove(&number);
            }
        }
    }

    /// Someone else changed what a pool is made of: it must be written again.
    pub fn touch(&mut self, number: u32) {
        let revision = self.next_revision();
        if let Some(pool) = self.pools.get_mut(&number) {
            pool.revision = revision;
        }
    }

    /// Takes plans away from where they were before, if their home is written and `runs`.
    pub fn leave(&mut self, runs: impl Fn(u32) -> bool) {
        let strays = self.pools.iter().flat_map(|(number, pool)| pool.plans.keys().map(move |uid| (*number, uid)));
        let strays: Vec<(u32, String)> = strays
            .filter(|(number, uid)| self.homes.get(*uid).is_none_or(|home| home != number && self.is_written(uid) && runs(*home)))
            .map(|(number, uid)| (number, uid.clone()))
            .collect();
        for (number, uid) in strays {
            self.unseat(number, &uid);
        }
    }

    fn has_room(&self, number: u32, uid: &str, size: usize) -> bool {
        let Some(pool) = self.pools.get(&number) else { return false };
        let others = pool.plans.iter().filter(|(other, _)| *other != uid);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), (_, seat)| (count + 1, bytes + seat.file.json.len()));
        count == 0 || (count < MOST_PLANS && bytes + size <= MOST_BYTES)
    }

    /// Begins a pool with the lowest number that is free.
    fn unused(&mut self) -> u32 {
        let number = (0..).find(|number| !self.pools.contains_key(number)).expect("there are fewer pools than numbers");
        self.pools.insert(number, Pool::default());
        number
    }

    fn seat(&mut self, number: u32, uid: &str, file: PlanFile) {
        let since = self.next_revision();
        let pool = self.pools.entry(number).or_default();
        pool.revision = since;
        pool.plans.insert(uid.to_owned(), Seat { file, since });
    }

    fn unseat(&mut self, number: u32, uid: &str) {
        let revision = self.next_revision();
        if let Some(pool) = self.pools.get_mut(&number) {
            pool.plans.remove(uid);
            pool.revision = revision;
        }
    }

    fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }
}

impl Pool {
    fn has_written(&self, uid: &str) -> bool {
        self.plans.get(uid).zip(self.written).is_some_and(|(seat, written)| seat.since <= written)
    }
}

#[cfg(test)]
mod tests;
