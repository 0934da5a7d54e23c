//! Who is due when.

use super::Key;
use std::collections::{BTreeSet, HashMap};
use tokio::time::Instant;

/// Keys with the time at which each is due.
#[derive(Debug, Default)]
pub struct Schedule {
    times: HashMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
}

impl Schedule {
    /// It is due then, and not at the time that was set before.
    pub fn set(&mut self, key: &Key, at: Instant) {
        self.remove(key);
        self.times.insert(key.clone(), at);
        self.order.insert((at, key.clone()));
    }

    /// It is due then, or earlier if it was to be.
    pub fn set_at_latest(&mut self, key: &Key, at: Instant) {
        if self.times.get(key).is_none_or(|present| at < *present) {
            self.set(key, at);
        }
    }

    /// It is not due at all.
    pub fn remove(&mut self, key: &Key) {
        if let Some((key, at)) = self.times.remove_entry(key) {
            self.order.remove(&(at, key));
        }
    }

    /// Takes the one that is due longest, if one is due by now.
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.times.remove(&key);
        Some(key)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(name: &str) -> Key {
        Key { namespace: "default".into(), name: name.into() }
    }

    #[test]
    fn the_one_that_is_due_longest_comes_first_and_once() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        schedule.set(&key("a"), at(5));
        schedule.set(&key("b"), at(3));
        schedule.set_at_latest(&key("a"), at(9));
        schedule.set_at_latest(&key("a"), at(2));
        schedule.set(&key("c"), at(1));
        schedule.remove(&key("c"));
        assert_eq!((schedule.next(), schedule.take(at(1))), (Some(at(2)), None));
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take(at(9))).map(|key| key.name).collect();
        assert_eq!(taken, ["a", "b"]);
        assert_eq!(schedule.next(), None);
    }
}
