//! How long an object that fails waits for its next reconcile, and what is told of it.

use super::board::Key;
use super::error::{Class, Error};
use super::metrics::OperatorMetrics;
use crate::random::random;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::Level;

/// The objects that fail now. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backoff {
    failing: Arc<Mutex<HashMap<Key, Failing>>>,
    metrics: OperatorMetrics,
}

/// What is known of one that fails.
#[derive(Debug, Default)]
struct Failing {
    failures: u32,
    /// Classes that were logged since it last succeeded.
    told: Vec<Class>,
    /// Of these the one that is the same for all objects: the API server or Redis does not answer.
    silence: Option<Class>,
}

impl Backoff {
    /// None fails yet.
    pub fn new(metrics: OperatorMetrics) -> Backoff {
        Backoff { failing: Arc::default(), metrics }
    }

    /// A reconcile of the object failed: counts it, logs it once for each class (that nobody answers: once for all objects), and says how long to wait.
    pub fn failed(&self, key: &Key, error: &Error) -> Duration {
        let class = error.class();
        self.metrics.reconcile_failed(class);
        let (failures, first) = {
            let mut failing = self.failing();
            let silence = error.is_silence().then_some(class);
            let others = silence.is_some() && failing.values().any(|other| other.silence == silence);
            let failing = failing.entry(key.clone()).or_default();
            failing.failures = failing.failures.saturating_add(1);
            let first = !others && !failing.told.contains(&class);
            if first {
                failing.told.push(class);
                failing.silence = failing.silence.or(silence);
            }
            (failing.failures, first)
        };
        let delay = delay(class.delays(), failures, random());
        tell(key, error, delay, if first { class.level() } else { Level::DEBUG });
        delay
    }

    /// A reconcile of the object succeeded.
    pub fn succeeded(&self, key: &Key) {
        let Some(failing) = self.failing().remove(key) else { return };
        if failing.told.iter().any(|class| class.level() <= Level::WARN) {
            let Key { namespace, name } = key;
            tracing::info!(%namespace, destination = %name, failures = failing.failures, "reconciled again");
        }
    }

    /// The object is gone.
    pub fn forget(&self, key: &Key) {
        self.failing().remove(key);
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<Key, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What doubles with each of so many failures in a row (from 1), from the first up to the longest.
pub fn grown((first, longest): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(longest)
}

/// The wait after failure number `failures` (from 1) in a row: half fixed, half random of what it has [`grown`] to. `random` is from 0 to 1.
pub fn delay(pauses: (Duration, Duration), failures: u32, random: f64) -> Duration {
    let half = grown(pauses, failures) / 2;
    half + half.mul_f64(random.clamp(0.0, 1.0))
}

fn tell(key: &Key, error: &Error, delay: Duration, level: Level) {
    let Key { namespace, name } = key;
    let (class, retry_seconds) = (error.class().word(), delay.as_secs_f32());
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(%namespace, destination = %name, class, %error, retry_seconds, "cannot be reconciled; tried again")
        };
    }
    match level {
        Level::ERROR => log!(error),
        Level::WARN => log!(warn),
        Level::INFO => log!(info),
        _ => log!(debug),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::connection;

    fn key() -> Key {
        Key { namespace: "shop".into(), name: "billing".into() }
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest_of_the_class() {
        let seconds = |class: Class, failures| delay(class.delays(), failures, 1.0).as_secs_f64();
        let table = [
            (Class::Unavailable, 1, 1.0),
            (Class::Unavailable, 2, 2.0),
            (Class::Unavailable, 6, 32.0),
            (Class::Unavailable, 7, 60.0),
            (Class::Unavailable, u32::MAX, 60.0),
            (Class::Conflict, 1, 0.2),
            (Class::Redis, 9, 30.0),
            (Class::Forbidden, 1, 10.0),
            (Class::Forbidden, 3, 40.0),
            (Class::Invalid, 40, 600.0),
        ];
        for (class, failures, expected) in table {
            assert!((seconds(class, failures) - expected).abs() < 0.001, "{class:?} {failures}: {}", seconds(class, failures));
        }
    }

    #[test]
    fn half_of_the_wait_is_random() {
        assert_eq!(delay(Class::Unavailable.delays(), 2, 0.0), Duration::from_secs(1));
        assert_eq!(delay(Class::Unavailable.delays(), 2, 0.5), Duration::from_millis(1_500));
    }

    #[test]
    fn success_begins_anew() {
        let backoff = Backoff::new(OperatorMetrics::default());
        let error = Error::Redis(connection::Error::Unavailable("gone".into()));
        let waits: Vec<Duration> = (0..6).map(|_| backoff.failed(&key(), &error)).collect();
        assert!(waits[5] >= Duration::from_secs(15), "{waits:?}");
        backoff.succeeded(&key());
        assert!(backoff.failed(&key(), &error) <= Duration::from_secs(1));
        backoff.forget(&key());
        assert!(backoff.failing().is_empty());
    }

    #[test]
    fn that_nobody_answers_is_told_once_for_all() {
        let (backoff, other) = (Backoff::new(OperatorMetrics::default()), Key { name: "other".into(), ..key() });
        let error = Error::Redis(connection::Error::Unavailable("gone".into()));
        let told = |key: &Key| backoff.failing()[key].told.len();
        backoff.failed(&key(), &error);
        backoff.failed(&other, &error);
        assert_eq!((told(&key()), told(&other)), (1, 0));
        backoff.succeeded(&key());
        backoff.failed(&other, &error);
        assert_eq!(told(&other), 1);
    }

    #[test]
    fn a_class_is_told_once_until_success() {
        let backoff = Backoff::new(OperatorMetrics::default());
        for _ in 0..3 {
            backoff.failed(&key(), &Error::NotLeading);
            backoff.failed(&key(), &Error::Timeout(Duration::from_secs(30)));
        }
        assert_eq!(backoff.failing()[&key()].told, [Class::NotLeading, Class::Unavailable]);
        assert_eq!(backoff.failing()[&key()].failures, 6);
    }
}
