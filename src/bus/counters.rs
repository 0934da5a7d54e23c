//! What the connections of this process have met, counted where it is judged. For the metrics.

use super::connection::Error;
use std::sync::atomic::{AtomicU64, Ordering};

/// Classes of failed calls, with their words as labels.
pub const CLASSES: [&str; 5] = ["Full", "Refused", "Unavailable", "Unknown", "Protocol"];

static OPENED: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static ERRORS: [AtomicU64; CLASSES.len()] = [const { AtomicU64::new(0) }; CLASSES.len()];

/// All of it at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections opened since the start of the process.
    pub opened: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Failed calls by class, in the order of [`CLASSES`].
    pub errors: [u64; CLASSES.len()],
}

/// Reads the counters.
pub fn counts() -> Counts {
    let ended = ENDED.load(Ordering::Relaxed);
    let opened = OPENED.load(Ordering::Relaxed);
    Counts { opened, open: opened.saturating_sub(ended), errors: std::array::from_fn(|class| ERRORS[class].load(Ordering::Relaxed)) }
}

/// One open connection, counted for as long as it lives.
pub(super) struct Open(());

impl Open {
    pub(super) fn new() -> Open {
        OPENED.fetch_add(1, Ordering::Relaxed);
        Open(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn failed(error: &Error) {
    let class = match error {
        Error::Full(_) => 0,
        Error::Refused(_) => 1,
        Error::Unavailable(_) => 2,
        Error::Unknown(_) => 3,
        Error::Protocol(_) | Error::TooNew { .. } => 4,
    };
    ERRORS[class].fetch_add(1, Ordering::Relaxed);
}
