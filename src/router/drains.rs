//! How fast each queue is emptied: who is merely busy, and who does not keep up. Pure.

use crate::bus::cursor::Backlog;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A queue that would take longer than this to be emptied does not keep up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is measured.
const PERIOD: Duration = Duration::from_secs(1);
/// The best of so many measurements counts: a pause is not yet a failure.
const MEASUREMENTS: usize = 3;

/// What was measured of every queue that is not empty.
#[derive(Debug, Default)]
pub struct Drains {
    at: Option<Instant>,
    queues: HashMap<String, Drain>,
}

/// Of one queue.
#[derive(Debug)]
struct Drain {
    done: u64,
    /// Events a second, the newest measurement last.
    rates: Vec<f64>,
}

impl Drains {
    /// Whether it is time to measure.
    pub fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now.duration_since(at) >= PERIOD)
    }

    /// Takes what was read of all queues just now.
    pub fn measure(&mut self, backlogs: &[Backlog], now: Instant) {
        let elapsed = self.at.map(|at| now.duration_since(at).as_secs_f64()).filter(|elapsed| *elapsed > 0.0);
        self.at = Some(now);
        let mut before = std::mem::take(&mut self.queues);
        for Backlog { uid, done, .. } in backlogs {
            let mut rates = Vec::new();
            if let (Some(drain), Some(elapsed)) = (before.remove(uid), elapsed) {
                rates = drain.rates;
                rates.push(done.saturating_sub(drain.done) as f64 / elapsed);
                rates.drain(..rates.len().saturating_sub(MEASUREMENTS));
            }
            self.queues.insert(uid.clone(), Drain { done: *done, rates });
        }
    }

    /// Whether a queue does not keep up. One that was not measured yet does.
    pub fn is_slow(&self, backlog: &Backlog) -> bool {
        let Some(drain) = self.queues.get(&backlog.uid).filter(|drain| !drain.rates.is_empty()) else { return false };
        let best = drain.rates.iter().copied().fold(0.0, f64::max);
        backlog.events as f64 > best * PATIENCE.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(events: u64, done: u64) -> Backlog {
        Backlog { uid: "u".into(), bytes: events, events, done }
    }

    /// Measured each second, with these numbers of events done.
    fn measured(done: &[u64]) -> Drains {
        let (mut drains, start) = (Drains::default(), Instant::now());
        for (second, done) in done.iter().enumerate() {
            let now = start + Duration::from_secs(second as u64);
            assert!(drains.is_due(now));
            drains.measure(&[backlog(100, *done)], now);
            assert!(!drains.is_due(now + PERIOD / 2));
        }
        drains
    }

    #[test]
    fn a_queue_that_nothing_leaves_is_slow_once_that_is_known() {
        assert!(!measured(&[]).is_slow(&backlog(100, 7)));
        assert!(!measured(&[7]).is_slow(&backlog(100, 7)));
        assert!(measured(&[7, 7]).is_slow(&backlog(1, 7)));
    }

    #[test]
    fn a_queue_that_will_soon_be_empty_is_not_slow() {
        let drains = measured(&[0, 20]);
        assert!(!drains.is_slow(&backlog(200, 20)));
        assert!(drains.is_slow(&backlog(201, 20)));
    }

    #[test]
    fn a_pause_is_not_yet_a_failure() {
        assert!(!measured(&[0, 20, 20, 20]).is_slow(&backlog(200, 20)));
        assert!(measured(&[0, 20, 20, 20, 20]).is_slow(&backlog(200, 20)));
    }

    #[test]
    fn a_queue_that_was_empty_meanwhile_begins_anew() {
        let mut drains = measured(&[7, 7]);
        drains.measure(&[], Instant::now() + Duration::from_secs(2));
        assert!(!drains.is_slow(&backlog(100, 7)));
    }
}
