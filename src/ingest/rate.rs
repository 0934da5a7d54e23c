//! A token bucket.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets so many events through in a period, all at once if they come at once.
#[derive(Debug)]
pub(super) struct Bucket {
    size: f64,
    per_second: f64,
    level: Mutex<(f64, Option<Instant>)>,
}

impl Bucket {
    /// `events` in each `period`; full at first.
    pub(super) fn new(events: u32, period: Duration) -> Bucket {
        let size = f64::from(events);
        Bucket { size, per_second: size / period.as_secs_f64(), level: Mutex::new((size, None)) }
    }

    /// Takes `events`, or tells how long until there is room. More than the bucket holds pass when it is full, and are paid off afterwards.
    pub(super) fn take(&self, events: usize, now: Instant) -> Result<(), Duration> {
        let wanted = events as f64;
        let mut state = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, last) = *state;
        let passed = last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let level = (level + passed.as_secs_f64() * self.per_second).min(self.size);
        let missing = wanted.min(self.size) - level;
        // a rounding error is no reason to refuse
        let granted = missing <= 1e-6;
        *state = (if granted { level - wanted } else { level }, Some(now));
        if granted { Ok(()) } else { Err(Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_empties_and_fills_again() {
        let bucket = Bucket::new(10, Duration::from_secs(1));
        let start = Instant::now();
        for _ in 0..10 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        let wait = bucket.take(1, start).unwrap_err();
        assert_eq!(bucket.take(1, start + wait + Duration::from_micros(1)), Ok(()));
        assert!(bucket.take(10, start + Duration::from_millis(500)).is_err());
        assert_eq!(bucket.take(10, start + Duration::from_secs(100)), Ok(()));
    }

    #[test]
    fn a_batch_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() {
        let bucket = Bucket::new(10, Duration::from_secs(1));
        let start = Instant::now();
        assert_eq!(bucket.take(25, start), Ok(()));
        assert!(bucket.take(1, start + Duration::from_millis(1_500)).is_err());
        assert_eq!(bucket.take(1, start + Duration::from_millis(1_700)), Ok(()));
    }
}
