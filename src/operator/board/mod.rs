//! What is known of each destination at this moment. Everyone writes their part here, the status is made from it.
//!
//! Reconcile writes the outcome ([`Board::set`]), [`super::observe`] what Redis holds ([`Board::observed`]), [`super::status`] what it has
//! written to the object ([`Board::written`]). Whatever changes marks its object, so that its status is made again.

pub mod entry;
mod schedule;

pub use entry::{Applied, Entry, Key, Outcome, REDIS_UNAVAILABLE, Reconciled, Safety, Storage};
pub use schedule::Schedule;

use crate::api::EventDestinationStatus;
use crate::bus::state::Snapshot;
use crate::operator::metrics::ObjectState;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often each destination is looked at.
pub const LOOK: Duration = Duration::from_secs(10);
/// At most so often at hints: a worker that begins gives two of them, one after the other.
pub const HINT: Duration = Duration::from_millis(100);
/// Pause after a look that failed.
const FAILED: Duration = Duration::from_secs(1);

/// All destinations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The buses that are configured; only these are looked at.
    buses: HashSet<String>,
    began: Instant,
    state: Mutex<State>,
    /// Somebody is due to be looked at earlier than before.
    looks: Notify,
    /// Somebody's status may be another now.
    changes: Notify,
    /// Somebody is to be reconciled.
    repairs: Notify,
}

#[derive(Debug, Default)]
struct State {
    slots: HashMap<Key, Slot>,
    uids: HashMap<String, Key>,
    /// By bus.
    storage: HashMap<String, Storage>,
    looks: Schedule,
    changed: HashSet<Key>,
    repairs: Vec<Key>,
    epoch: u64,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    /// Another one after each reconcile: a look that began before one tells nothing of what it did.
    epoch: u64,
    /// What was reconciled has not been looked at since.
    unseen: bool,
    looked: Option<Instant>,
    /// Reconcile was told that Redis holds something else.
    repairing: bool,
}

/// An order to look at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The object.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// Its bus.
    pub bus: String,
    epoch: u64,
}

impl Board {
    /// An empty one. `buses` are those that are configured.
    pub fn new(buses: impl IntoIterator<Item = String>) -> Board {
        Board(Arc::new(Inner {
            buses: buses.into_iter().collect(),
            began: Instant::now(),
            state: Mutex::default(),
            looks: Notify::new(),
            changes: Notify::new(),
            repairs: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what became of a reconcile. It is looked at at once, its status follows. The status that the object has counts only where
    /// it is new here: later we know better what we wrote.
    pub fn set(&self, key: Key, told: Reconciled) {
        let Reconciled { uid, generation, bus, outcome, status } = told;
        let now = Instant::now();
        let mut guard = self.state();
        let state = &mut *guard;
        state.epoch += 1;
        let former = match state.slots.remove(&key) {
            Some(slot) if slot.entry.uid != uid => {
                state.uids.remove(&slot.entry.uid);
                None
            }
            former => former,
        };
        let bus = match &former {
            Some(slot) if bus.is_empty() => slot.entry.bus.clone(),
            _ => bus,
        };
        let known_bus = self.0.buses.contains(&bus);
        let same = former.as_ref().is_some_and(|slot| slot.entry.outcome == outcome && slot.entry.generation == generation);
        let applied = match &outcome {
            Outcome::Applied(applied) => Some(applied.clone()),
            _ => former.as_ref().and_then(|slot| slot.entry.applied.clone()),
        };
        let (since, unseen, looked) = match &former {
            Some(slot) if same => (slot.entry.since, slot.unseen, slot.looked),
            Some(slot) => (Timestamp::now(), known_bus, slot.looked),
            None => (Timestamp::now(), known_bus, None),
        };
        let (snapshot, status) = match former {
            Some(slot) => (slot.entry.snapshot, slot.entry.status),
            None => (None, status),
        };
        let entry = Entry { uid: uid.clone(), generation, bus, outcome, since, applied, snapshot, status };
        state.uids.insert(uid, key.clone());
        state.slots.insert(key.clone(), Slot { entry, epoch: state.epoch, unseen, looked, repairing: false });
        if known_bus {
            state.looks.set_at_latest(&key, now);
        }
        if !same {
            state.changed.insert(key);
        }
        drop(guard);
        self.0.looks.notify_one();
        self.0.changes.notify_one();
    }

    /// Forgets an object that is gone.
    pub fn remove(&self, key: &Key) {
        let mut state = self.state();
        if let Some(slot) = state.slots.remove(key) {
            state.uids.remove(&slot.entry.uid);
        }
        state.looks.remove(key);
        state.changed.insert(key.clone());
        drop(state);
        self.0.changes.notify_one();
    }

    /// What is known of an object.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.state().slots.get(key).map(|slot| slot.entry.clone())
    }

    /// The plan that the worker of a destination reports to run.
    pub fn reported_plan(&self, uid: &str) -> Option<String> {
        let state = self.state();
        let slot = state.slots.get(state.uids.get(uid)?)?;
        slot.entry.snapshot.as_ref()?.plan.clone()
    }

    /// The state of each object: the reason of the condition Delivering, as written.
    pub fn states(&self) -> Vec<ObjectState> {
        let of = |slot: &Slot| {
            let delivering = slot.entry.status.conditions.iter().find(|condition| condition.r#type == "Delivering");
            delivering.map_or(ObjectState::Pending, |found| ObjectState::of(&found.reason))
        };
        self.state().slots.values().map(of).collect()
    }

    /// Waits for an object of which Redis does not hold what was applied, so that it is reconciled. Told once for each reconcile.
    pub async fn next_repair(&self) -> Key {
        loop {
            let found = self.state().repairs.pop();
            match found {
                Some(key) => return key,
                None => self.0.repairs.notified().await,
            }
        }
    }
}

/// For `observe`.
impl Board {
    /// Somebody said that the state of a destination changed.
    pub fn told(&self, uid: &str) {
        self.told_at(uid, Instant::now());
    }

    fn told_at(&self, uid: &str, now: Instant) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some((key, slot)) = state.uids.get(uid).and_then(|key| state.slots.get_key_value(key)) else { return };
        if !self.0.buses.contains(&slot.entry.bus) {
            return;
        }
        state.looks.set_at_latest(key, slot.looked.map_or(now, |looked| now.max(looked + HINT)));
        drop(guard);
        self.0.looks.notify_one();
    }

    /// All of some buses are to be looked at now.
    pub fn look_at_all(&self, buses: &[String]) {
        let mut guard = self.state();
        let (state, now) = (&mut *guard, Instant::now());
        for key in state.slots.iter().filter(|(_, slot)| buses.contains(&slot.entry.bus)).map(|(key, _)| key) {
            state.looks.set_at_latest(key, now);
        }
        drop(guard);
        self.0.looks.notify_one();
    }

    /// Takes those who are due, at most so many; each is due again after [`LOOK`].
    pub fn take_looks(&self, most: usize) -> Vec<Look> {
        self.take_looks_at(most, Instant::now())
    }

    fn take_looks_at(&self, most: usize, now: Instant) -> Vec<Look> {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut looks = Vec::new();
        while looks.len() < most
            && let Some(key) = state.looks.take(now)
        {
            let Some(slot) = state.slots.get_mut(&key) else { continue };
            slot.looked = Some(now);
            state.looks.set(&key, self.next_turn(&slot.entry.uid, now));
            looks.push(Look { key, uid: slot.entry.uid.clone(), bus: slot.entry.bus.clone(), epoch: slot.epoch });
        }
        looks
    }

    /// The turns of all are spread evenly, whatever makes some be looked at in between.
    fn next_turn(&self, uid: &str, now: Instant) -> Instant {
        let period = LOOK.as_millis();
        let mut hasher = DefaultHasher::new();
        uid.hash(&mut hasher);
        let offset = u128::from(hasher.finish()) % period;
        let since = (now - self.0.began).as_millis();
        let wait = period - (since + period - offset) % period;
        now + Duration::from_millis(u64::try_from(wait).expect("at most one period"))
    }

    /// Waits until somebody is due.
    pub async fn looks_due(&self) {
        loop {
            let next = self.state().looks.next();
            match next {
                Some(at) if at <= Instant::now() => return,
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => return,
                    () = self.0.looks.notified() => {}
                },
                None => self.0.looks.notified().await,
            }
        }
    }

    /// Writes down what was seen.
    pub fn observed(&self, look: &Look, snapshot: Snapshot) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(slot) = state.slots.get_mut(&look.key).filter(|slot| slot.epoch == look.epoch) else { return };
        let other = match &slot.entry.snapshot {
            Some(known) => Snapshot { now: known.now, ..snapshot.clone() } != *known,
            None => true,
        };
        if let Outcome::Applied(applied) = &slot.entry.outcome
            && snapshot.route.as_ref() != Some(&applied.route)
            && !std::mem::replace(&mut slot.repairing, true)
        {
            state.repairs.push(look.key.clone());
            self.0.repairs.notify_one();
        }
        if other || slot.unseen {
            slot.unseen = false;
            slot.entry.snapshot = Some(snapshot);
            state.changed.insert(look.key.clone());
            self.0.changes.notify_one();
        }
    }

    /// It could not be looked at: soon again.
    pub fn not_observed(&self, look: &Look) {
        let mut state = self.state();
        if state.slots.get(&look.key).is_some_and(|slot| slot.epoch == look.epoch) {
            state.looks.set_at_latest(&look.key, Instant::now() + FAILED);
        }
        drop(state);
        self.0.looks.notify_one();
    }

    /// Writes down what is known of the Redis of a bus now. It is shown on every object of the bus.
    pub fn set_storage(&self, bus: &str, storage: Storage) {
        let mut guard = self.state();
        let state = &mut *guard;
        let known = state.storage.entry(bus.to_owned()).or_default();
        if *known == storage {
            return;
        }
        *known = storage;
        state.changed.extend(state.slots.iter().filter(|(_, slot)| slot.entry.bus == bus).map(|(key, _)| key.clone()));
        drop(guard);
        self.0.changes.notify_one();
    }

    /// What is known of the Redis of a bus.
    pub fn storage(&self, bus: &str) -> Storage {
        self.state().storage.get(bus).cloned().unwrap_or_default()
    }
}

/// For `status`.
impl Board {
    /// Something is another with the Deployment of this name.
    pub fn worker_changed(&self, name: &str) {
        let mut guard = self.state();
        let state = &mut *guard;
        let runs_it = |slot: &Slot| slot.entry.applied.as_ref().is_some_and(|applied| applied.worker.name.as_deref() == Some(name));
        state.changed.extend(state.slots.iter().filter(|(_, slot)| runs_it(slot)).map(|(key, _)| key.clone()));
        drop(guard);
        self.0.changes.notify_one();
    }

    /// Waits until the status of some objects may be another, or they are gone, and takes them.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&self) -> HashSet<Key> {
        loop {
            let changed = std::mem::take(&mut self.state().changed);
            if !changed.is_empty() {
                return changed;
            }
            self.0.changes.notified().await;
        }
    }

    /// What the status of an object is made from; `None` if it is gone, or was not looked at since it was reconciled and soon will be.
    pub fn facts(&self, key: &Key) -> Option<(Entry, Storage)> {
        let state = self.state();
        let slot = state.slots.get(key)?;
        let storage = state.storage.get(&slot.entry.bus).cloned().unwrap_or_default();
        let looked_at = !slot.unseen || matches!(storage, Storage::Unreachable { .. });
        looked_at.then(|| (slot.entry.clone(), storage))
    }

    /// Writes down the status that an object has now. Its status is made again.
    pub fn written(&self, key: &Key, uid: &str, status: EventDestinationStatus) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(slot) = state.slots.get_mut(key).filter(|slot| slot.entry.uid == uid) else { return };
        slot.entry.status = status;
        state.changed.insert(key.clone());
        drop(guard);
        self.0.changes.notify_one();
    }
}

#[cfg(test)]
mod tests;
