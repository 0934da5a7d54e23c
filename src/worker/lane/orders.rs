//! What ends a tenure from outside: the end of the lane, or a new plan.

use super::End;
use crate::plan::Plan;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Orders to one lane, since its plan was looked at last.
pub(super) struct Orders<'a> {
    plans: &'a mut watch::Receiver<Arc<Plan>>,
    stop: &'a CancellationToken,
    new_plan: bool,
}

impl<'a> Orders<'a> {
    pub(super) fn new(plans: &'a mut watch::Receiver<Arc<Plan>>, stop: &'a CancellationToken) -> Orders<'a> {
        Orders { plans, stop, new_plan: false }
    }

    /// How the tenure is to end, if it is.
    pub(super) fn pending(&self) -> Option<End> {
        if self.stop.is_cancelled() {
            Some(End::Stopped)
        } else {
            (self.new_plan || self.plans.has_changed().unwrap_or(true)).then_some(End::NewPlan)
        }
    }

    /// Waits until the tenure is to end.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn arrive(&mut self) {
        if self.pending().is_some() {
            return;
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = self.plans.changed() => self.new_plan = true,
        }
    }

    /// Waits so long; ended by an order, or by a wake-up.
    pub(super) async fn pause(&mut self, time: Duration, wake: &Notify) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = wake.notified() => {}
            () = self.arrive() => {}
        }
    }
}
