//! Which destination looked at which object, and at which version of it: whose turn it is when the object changes.
//!
//! A destination is entered *before* the object is fetched, so no change falls between the two. A change to the version that was seen means
//! nothing, so the listing that every watch begins with, and its repetition after a break, wakes only those who missed something.

use super::board::Key;
use super::kinds::Kinds;
use kube::api::GroupVersionKind;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A kind of object that destinations refer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A Service of Kubernetes.
    Service,
    /// A ReferenceGrant of the Gateway API, in whichever version is served.
    ReferenceGrant,
    /// Anything that publishes its address.
    Addressable(GroupVersionKind),
}

/// What a destination looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name; `None` for all of that kind in the namespace.
    pub name: Option<String>,
}

/// What was found there: names, each with its `resourceVersion`. Empty if nothing was.
pub type Versions = BTreeMap<String, String>;

/// The index. Cheap to clone. Bounded by what the specs of the present destinations refer to.
#[derive(Clone, Debug, Default)]
pub struct References(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    index: Mutex<Index>,
    new_kind: Notify,
    kinds: Kinds,
}

#[derive(Debug, Default)]
struct Index {
    looks: HashMap<Target, HashMap<Key, Look>>,
    by_key: HashMap<Key, HashSet<Target>>,
    lists: HashMap<Kind, Lists>,
}

/// How often all objects of a kind were listed.
#[derive(Clone, Copy, Debug, Default)]
struct Lists {
    begun: u64,
    done: u64,
}

/// What one destination knows of one target.
#[derive(Debug)]
enum Look {
    /// It is being fetched, or that failed.
    Pending,
    /// By name.
    Seen(BTreeMap<String, Seen>),
}

#[derive(Debug)]
struct Seen {
    version: String,
    /// The last listing that is known to have had it.
    listed: u64,
}

impl References {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the API server serves the kinds.
    pub fn served(&self) -> &Kinds {
        &self.0.kinds
    }

    /// A destination is about to look at a target. From now on each change of it wakes the destination.
    pub fn looking(&self, key: &Key, target: Target) {
        let mut index = self.index();
        if !index.looks.keys().any(|known| known.kind == target.kind) {
            self.0.new_kind.notify_one();
        }
        index.by_key.entry(key.clone()).or_default().insert(target.clone());
        index.looks.entry(target).or_default().insert(key.clone(), Look::Pending);
    }

    /// What a destination saw, which is all that it looks at from now on.
    pub fn looked(&self, key: &Key, seen: Vec<(Target, Versions)>) {
        let mut index = self.index();
        let targets: HashSet<Target> = seen.iter().map(|(target, _)| target.clone()).collect();
        let before = index.by_key.insert(key.clone(), targets).unwrap_or_default();
        for (target, versions) in seen {
            // A listing that is under way may be older than what was seen, so only one that begins later says that it is gone.
            let listed = index.lists.get(&target.kind).map_or(0, |lists| lists.done);
            let versions = versions.into_iter().map(|(name, version)| (name, Seen { version, listed })).collect();
            index.looks.entry(target).or_default().insert(key.clone(), Look::Seen(versions));
        }
        index.drop_unused(key, before);
    }

    /// Forgets a destination.
    pub fn forget(&self, key: &Key) {
        let mut index = self.index();
        let before = index.by_key.remove(key).unwrap_or_default();
        index.drop_unused(key, before);
    }

    /// The kinds that are looked at.
    pub fn kinds(&self) -> HashSet<Kind> {
        self.index().looks.keys().map(|target| target.kind.clone()).collect()
    }

    /// Waits until one more kind is looked at. For one caller.
    pub async fn new_kind(&self) {
        self.0.new_kind.notified().await;
    }

    /// An object is as of this version, or gone: who has to look again.
    pub fn changed(&self, kind: &Kind, namespace: &str, name: &str, version: Option<&str>) -> Vec<Key> {
        let mut index = self.index();
        let begun = index.lists.get(kind).map_or(0, |lists| lists.begun);
        let mut woken = Vec::new();
        for of in [Some(name.to_owned()), None] {
            let target = Target { kind: kind.clone(), namespace: namespace.to_owned(), name: of };
            for (key, look) in index.looks.get_mut(&target).into_iter().flatten() {
                if look.misses(name, version, begun) {
                    woken.push(key.clone());
                }
            }
        }
        woken
    }

    /// All objects of a kind are going to be listed.
    pub fn listing(&self, kind: &Kind) {
        self.index().lists.entry(kind.clone()).or_default().begun += 1;
    }

    /// They were listed: who looked at one that was not among them.
    pub fn listed(&self, kind: &Kind) -> Vec<Key> {
        let mut index = self.index();
        let lists = index.lists.entry(kind.clone()).or_default();
        lists.done = lists.begun;
        let done = lists.done;
        let looks = index.looks.iter().filter(|(target, _)| target.kind == *kind).flat_map(|(_, looks)| looks);
        looks.filter(|(_, look)| look.lacks(done)).map(|(key, _)| key.clone()).collect()
    }

    /// Everyone who looks at a kind.
    pub fn all(&self, kind: &Kind) -> Vec<Key> {
        let index = self.index();
        let looks = index.looks.iter().filter(|(target, _)| target.kind == *kind);
        looks.flat_map(|(_, looks)| looks.keys().cloned()).collect()
    }
}

impl Index {
    /// Takes out a destination where it was before and is no more.
    fn drop_unused(&mut self, key: &Key, before: HashSet<Target>) {
        for target in before {
            if self.by_key.get(key).is_some_and(|now| now.contains(&target)) {
                continue;
            }
            if let Some(looks) = self.looks.get_mut(&target) {
                looks.remove(key);
                if looks.is_empty() {
                    self.looks.remove(&target);
                }
            }
        }
    }
}

impl Look {
    /// Whether something else than this was seen.
    fn misses(&mut self, name: &str, version: Option<&str>, listing: u64) -> bool {
        let Look::Seen(seen) = self else { return true };
        match (seen.get_mut(name), version) {
            (Some(seen), Some(version)) if seen.version == version => {
                seen.listed = listing;
                false
            }
            (None, None) => false,
            _ => true,
        }
    }

    /// Whether something was seen that a listing did not have.
    fn lacks(&self, listing: u64) -> bool {
        match self {
            Look::Pending => false, // it is looking anyway
            Look::Seen(seen) => seen.values().any(|seen| seen.listed < listing),
        }
    }
}

#[cfg(test)]
mod tests;
