//! When which status may be written: at once on a transition, numbers now and then, all within one budget.

use crate::operator::backoff;
use crate::operator::board::{Key, Schedule};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// An object is written at most so often.
const TRANSITIONS: Duration = Duration::from_secs(1);
/// Its numbers are written at most so often.
const NUMBERS: Duration = Duration::from_secs(10);

/// How a status differs from the one that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    None,
    /// In what changes all the time.
    Numbers,
    /// In what somebody may wait for.
    Transition,
}

/// So many writes a second, twice as many at once after a calm.
#[derive(Debug)]
struct Budget {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(per_second: u32, now: Instant) -> Budget {
        let per_second = f64::from(per_second.max(1));
        Budget { per_second, left: 2.0 * per_second, at: now }
    }

    /// When the next write may be.
    fn next(&mut self, now: Instant) -> Instant {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + grown).min(2.0 * self.per_second);
        self.at = now;
        if self.left >= 1.0 { now } else { now + Duration::from_secs_f64((1.0 - self.left) / self.per_second) }
    }

    fn spend(&mut self) {
        self.left -= 1.0;
    }
}

#[derive(Debug, Default)]
struct Object {
    /// When it was written last.
    wrote: Option<Instant>,
    /// Failures since the last success.
    failures: u32,
    /// Not before this, after a failure.
    not_before: Option<Instant>,
    writing: bool,
}

/// When which status may be written.
#[derive(Debug)]
pub struct Pace {
    budget: Budget,
    objects: HashMap<Key, Object>,
    transitions: Schedule,
    numbers: Schedule,
}

impl Pace {
    /// `per_second`: most writes per second of all objects together.
    pub fn new(per_second: u32, now: Instant) -> Pace {
        Pace {
            budget: Budget::new(per_second, now),
            objects: HashMap::new(),
            transitions: Schedule::default(),
            numbers: Schedule::default(),
        }
    }

    /// The status of an object would now differ so. While it is being written nothing is planned: say it again after that.
    pub fn plan(&mut self, key: &Key, change: Change, now: Instant) {
        let object = self.objects.entry(key.clone()).or_default();
        if object.writing {
            return;
        }
        let after = |pause| [object.wrote.map(|wrote| wrote + pause), object.not_before].into_iter().flatten().fold(now, Instant::max);
        self.transitions.remove(key);
        self.numbers.remove(key);
        match change {
            Change::None => {}
            Change::Transition => self.transitions.set(key, after(TRANSITIONS)),
            Change::Numbers => self.numbers.set(key, after(NUMBERS)),
        }
    }

    /// Takes an object that is to be written now, transitions first; it is being written from here.
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        if self.budget.next(now) > now {
            return None;
        }
        let key = self.transitions.take(now).or_else(|| self.numbers.take(now))?;
        self.budget.spend();
        self.objects.entry(key.clone()).or_default().writing = true;
        Some(key)
    }

    /// When to look again for one that may be written; `None`: nothing is planned.
    pub fn next(&mut self, now: Instant) -> Option<Instant> {
        let due = [self.transitions.next(), self.numbers.next()].into_iter().flatten().min()?;
        Some(due.max(self.budget.next(now)))
    }

    /// It was written; or there was nothing to write after all (`wrote` false).
    pub fn done(&mut self, key: &Key, wrote: bool, now: Instant) {
        if let Some(object) = self.objects.get_mut(key) {
            let before = object.wrote;
            *object = Object { wrote: if wrote { Some(now) } else { before }, ..Object::default() };
        }
    }

    /// It could not be written. `pauses`: the one after the first failure, doubled with each, and the longest.
    pub fn failed(&mut self, key: &Key, pauses: (Duration, Duration), now: Instant) {
        if let Some(object) = self.objects.get_mut(key) {
            object.failures = object.failures.saturating_add(1);
            object.not_before = Some(now + backoff::grown(pauses, object.failures));
            object.writing = false;
        }
    }

    /// It is gone.
    pub fn forget(&mut self, key: &Key) {
        self.objects.remove(key);
        self.transitions.remove(key);
        self.numbers.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "default".into(), name: name.into() }
    }

    fn taken(pace: &mut Pace, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| pace.take(now)).map(|key| key.name).collect()
    }

    #[test]
    fn a_transition_is_written_at_once_and_the_next_a_second_later() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(20, start);
        let a = key("a");
        pace.plan(&a, Change::Transition, start);
        assert_eq!(taken(&mut pace, start), ["a"]);
        pace.plan(&a, Change::Transition, start);
        assert_eq!(pace.next(start), None, "it is being written");
        pace.done(&a, true, at(100));
        pace.plan(&a, Change::Transition, at(200));
        assert_eq!((taken(&mut pace, at(1099)), pace.next(at(1099))), (vec![], Some(at(1100))));
        assert_eq!(taken(&mut pace, at(1100)), ["a"]);
    }

    #[test]
    fn numbers_are_written_at_once_after_a_calm_and_then_every_ten_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(20, start);
        let a = key("a");
        pace.plan(&a, Change::Numbers, start);
        assert_eq!(taken(&mut pace, start), ["a"]);
        pace.done(&a, true, start);
        pace.plan(&a, Change::Numbers, at(1));
        assert_eq!(pace.next(at(1)), Some(at(10)));
        pace.plan(&a, Change::Transition, at(2));
        assert_eq!(taken(&mut pace, at(2)), ["a"], "a transition does not wait for them");
        pace.done(&a, true, at(2));
        pace.plan(&a, Change::Numbers, at(3));
        pace.plan(&a, Change::None, at(4));
        assert_eq!(pace.next(at(4)), None, "it is as it was");
    }

    #[test]
    fn the_budget_holds_for_all_together_and_transitions_come_first() {
        let start = Instant::now();
        let mut pace = Pace::new(2, start);
        for name in ["n1", "n2", "n3", "n4"] {
            pace.plan(&key(name), Change::Numbers, start);
        }
        for name in ["t1", "t2", "t3"] {
            pace.plan(&key(name), Change::Transition, start);
        }
        assert_eq!(taken(&mut pace, start), ["t1", "t2", "t3", "n1"], "twice the rate at once");
        let next = pace.next(start).expect("some are left");
        assert_eq!(next, start + Duration::from_millis(500));
        assert_eq!(taken(&mut pace, next), ["n2"]);
        pace.plan(&key("t4"), Change::Transition, next);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(1)), ["t4"]);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(60)).len(), 2);
    }

    #[test]
    fn failures_pause_longer_and_longer_until_a_success() {
        let start = Instant::now();
        let mut pace = Pace::new(20, start);
        let a = key("a");
        let mut now = start;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            pace.plan(&a, Change::Transition, now);
            assert_eq!(taken(&mut pace, now), ["a"]);
            pace.failed(&a, (Duration::from_secs(1), Duration::from_secs(60)), now);
            pace.plan(&a, Change::Transition, now);
            let next = pace.next(now).expect("it is tried again");
            assert_eq!(next, now + Duration::from_secs(pause));
            now = next;
        }
        assert_eq!(taken(&mut pace, now), ["a"]);
        pace.done(&a, true, now);
        pace.plan(&a, Change::Transition, now + Duration::from_secs(1));
        assert_eq!(taken(&mut pace, now + Duration::from_secs(1)), ["a"]);
        pace.forget(&a);
        assert_eq!(pace.next(now), None);
    }
}
