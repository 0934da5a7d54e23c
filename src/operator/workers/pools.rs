//! Writes the pools: each at most once a second, however many destinations change.

use super::Inner;
use super::build::{Destination, Worker, uid_of_file};
use super::placement::{Contents, Files, Placement, PlanFile};
use crate::operator::error::Error;
use crate::operator::{api, backoff};
use futures::StreamExt as _;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

/// Shortest time between two writes of a pool.
const PACE: Duration = Duration::from_secs(1);
/// Longest wait before a write that failed is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Pools that are written at the same time.
const AT_ONCE: usize = 8;

/// What pools hold, and when each may be written.
#[derive(Default)]
pub struct Pools {
    state: Mutex<State>,
    /// Something is to be written, or a Deployment does better.
    pub wake: Notify,
}

#[derive(Default)]
struct State {
    placement: Placement,
    paces: HashMap<u32, Pace>,
}

/// How a pool's last write went.
struct Pace {
    not_before: Instant,
    failures: u32,
    complaint: Option<String>,
}

impl Pools {
    /// Begins with what was found in the pools' Secrets.
    pub fn load(&self, found: Vec<(u32, Files)>) {
        self.state().placement = Placement::load(found);
        self.wake.notify_one();
    }

    /// Takes a plan, or a newer version of it, and returns its pool.
    pub fn put(&self, uid: &str, file: PlanFile) -> u32 {
        let number = self.state().placement.put(uid, file);
        self.wake.notify_one();
        number
    }

    /// Takes a plan out of all pools.
    pub fn remove(&self, uid: &str) {
        if self.state().placement.remove(uid) {
            self.wake.notify_one();
        }
    }

    /// The pool of a destination.
    pub fn home(&self, uid: &str) -> Option<u32> {
        self.state().placement.home(uid)
    }

    /// Whether the pool of a destination was written with its present plan.
    pub fn is_written(&self, uid: &str) -> bool {
        self.state().placement.is_written(uid)
    }

    /// Someone else changed an object of a pool.
    pub fn touch(&self, number: u32) {
        self.state().placement.touch(number);
        self.wake.notify_one();
    }

    /// The destinations that have a plan in a pool: UID, namespace, name.
    pub fn destinations(&self) -> Vec<Destination> {
        let state = self.state();
        let plans = state.placement.plans();
        plans.map(|(uid, file)| Destination { uid: uid.to_owned(), namespace: file.namespace.clone(), name: file.name.clone() }).collect()
    }

    /// Why a pool cannot be written.
    pub fn complaint(&self, number: u32) -> Option<String> {
        self.state().paces.get(&number)?.complaint.clone()
    }

    /// The pools that may be written now, and when the next may.
    fn due(&self) -> (BTreeSet<u32>, Option<Instant>) {
        let (state, now) = (self.state(), Instant::now());
        let not_before = |number: &u32| state.paces.get(number).map(|pace| pace.not_before).filter(|not_before| *not_before > now);
        let (later, due): (BTreeSet<u32>, BTreeSet<u32>) = state.placement.due().partition(|number| not_before(number).is_some());
        (due, later.iter().filter_map(not_before).min())
    }

    fn contents(&self, number: u32) -> Option<Contents> {
        self.state().placement.contents(number)
    }

    /// Notes how a write went. Whether that is to be told: it began to fail, fails for another reason, or works again.
    fn went(&self, number: u32, complaint: Option<String>) -> bool {
        let mut state = self.state();
        let failures = state.paces.get(&number).map_or(0, |pace| pace.failures);
        let failures = if complaint.is_some() { failures.saturating_add(1) } else { 0 };
        let pause = backoff::grown((PACE, LONGEST_PAUSE), failures);
        let pace = Pace { not_before: Instant::now() + pause, failures, complaint: complaint.clone() };
        state.paces.insert(number, pace).and_then(|before| before.complaint) != complaint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes pools until [`Workers::finish`](super::Workers::finish).
pub async fn write(inner: &Inner) {
    let pools = &inner.pools;
    while !inner.ending.has_begun() {
        pools.state().placement.leave(|number| inner.runs(&Worker::Pool(number).name()));
        let (due, next) = pools.due();
        if due.is_empty() {
            tokio::select! {
                () = pools.wake.notified() => {}
                () = inner.ending.begun() => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            continue;
        }
        futures::stream::iter(due).for_each_concurrent(AT_ONCE, |number| write_one(inner, number)).await;
        inner.moved();
    }
    inner.ended.begin();
}

async fn write_one(inner: &Inner, number: u32) {
    let Some(contents) = inner.pools.contents(number) else { return };
    let pool = Worker::Pool(number).name();
    let result = if contents.files.is_empty() { delete(inner, number).await } else { apply(inner, number, contents).await };
    let (complaint, class) = match &result {
        Ok(()) => (None, None),
        Err(error) => (Some(error.to_string()), Some(error.class())),
    };
    class.into_iter().for_each(|class| inner.metrics.pool_failed(class));
    if !inner.pools.went(number, complaint) {
        return;
    }
    (inner.changed)(&pool);
    match result {
        Ok(()) => info!(pool, "pool written again"),
        // the one who leads will do it
        Err(Error::NotLeading) => {}
        Err(error) => warn!(pool, class = error.class().word(), %error, "pool cannot be written; tried again"),
    }
}

async fn apply(inner: &Inner, number: u32, contents: Contents) -> Result<(), Error> {
    let Contents { revision, files, changed } = contents;
    let plans = files.iter().map(|(uid, file)| (uid.as_str(), file)).collect();
    inner.apply(&Worker::Pool(number), &plans, changed, 1).await?;
    inner.pools.state().placement.written(number, revision);
    Ok(())
}

async fn delete(inner: &Inner, number: u32) -> Result<(), Error> {
    let name = Worker::Pool(number).name();
    inner.objects.delete(&name).await?;
    inner.nudges.forget(&name);
    inner.pools.state().placement.deleted(number);
    info!(pool = name, "pool removed, nothing is left in it");
    Ok(())
}

/// Reads what the pools' Secrets hold: found by label, read by name.
///
/// # Errors
/// If the API server refuses or does not answer.
pub async fn read(inner: &Inner) -> Result<Vec<(u32, Files)>, Error> {
    let mut pools = BTreeSet::new();
    for (_, _, worker) in inner.objects.memory().objects() {
        if let Worker::Pool(number) = worker {
            pools.insert(*number);
        }
    }
    let mut found = Vec::new();
    for number in pools {
        let name = Worker::Pool(number).name();
        let secret = api::call(format!("get Secret {name}"), inner.objects.secrets.get_opt(&name)).await?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let files = data.iter().filter_map(|(file, json)| Some((uid_of_file(file)?.to_owned(), PlanFile::read(&json.0)?)));
        found.push((number, files.collect()));
    }
    Ok(found)
}
