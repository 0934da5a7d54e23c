//! The lease: one operator leads, the others stand by warm.

use crate::worker::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether this process leads. Cheap to clone; asked before each write.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<AtomicU64>);

impl Leadership {
    /// Whether the lease is ours and not about to end, by the boot clock.
    pub fn leads(&self) -> bool {
        u64::try_from(clock::boot().as_millis()).is_ok_and(|now| now < self.0.load(Ordering::Acquire))
    }
}
