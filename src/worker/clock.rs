//! Time that goes on while a machine sleeps, and the clock of Redis as far as it is known.

use std::time::Duration;
use tokio::time::Instant;

/// Time since boot, suspended time included where the system tells it (Linux: CLOCK_BOOTTIME). Leases are measured by it.
pub fn boot() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(CLOCK);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The clock of Redis: what it said last, and how long ago.
#[derive(Clone, Copy, Debug)]
pub struct RedisClock {
    millis: u64,
    heard: Instant,
}

impl RedisClock {
    /// It said so now.
    pub fn heard(millis: u64) -> RedisClock {
        RedisClock { millis, heard: Instant::now() }
    }

    /// Milliseconds since the epoch.
    pub fn now(&self) -> u64 {
        self.millis + u64::try_from(self.heard.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// How long until a time of that clock; zero if it is past.
    pub fn until(&self, millis: u64) -> Duration {
        Duration::from_millis(millis.saturating_sub(self.now()))
    }

    /// How long since a time of that clock; zero if it is still to come.
    pub fn since(&self, millis: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(millis))
    }
}
