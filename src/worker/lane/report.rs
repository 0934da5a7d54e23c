//! What is shown of a lane: its state in Redis, its gauges.

use super::shift::Shift;
use super::{End, done};
use crate::admin::DeliveryState;
use std::time::Duration;
use tokio::time::Instant;

/// State is reported at most so often, gauges are set so often.
const REPORT: Duration = Duration::from_secs(1);

/// Blocked lanes whose events are looked for in the queue at once.
const LOOKED_AT: usize = 16;

/// Said with the state KeyBacklogFull.
const BACKLOG_FULL: &str =
    "10000 events of keys that wait are held; events behind them are not read until some of those are delivered or given up";

impl Shift<'_, '_> {
    fn state(&self) -> DeliveryState {
        if self.plan.suspend {
            DeliveryState::Suspended
        } else if self.halted.is_some() {
            DeliveryState::Halted
        } else if self.feed.is_full() {
            DeliveryState::KeyBacklogFull
        } else if self.feed.lanes.is_blocked() {
            DeliveryState::Blocked
        } else if self.feed.lanes.oldest().is_some_and(|(_, attempts)| attempts >= 2) {
            DeliveryState::Retrying
        } else if self.feed.backlog() > 0 && self.held_up.is_some_and(|at| at.elapsed() < REPORT) {
            DeliveryState::RateLimited
        } else if self.feed.backlog() > 0 {
            DeliveryState::Active
        } else {
            DeliveryState::Idle
        }
    }

    /// When the present state is to be reported, if it was not.
    pub(super) fn report_due(&self) -> Option<Instant> {
        match self.reported {
            Some((state, at)) if state != self.state() => Some(at + REPORT),
            _ => None,
        }
    }

    /// Says what this lane does: at a change of state, at most once a second, or now.
    pub(super) async fn report(&mut self, now: bool) -> Result<(), End> {
        let state = self.state();
        let due = self.reported.is_none_or(|(reported, at)| reported != state && at.elapsed() >= REPORT);
        if !due && !now {
            return Ok(());
        }
        let message = match state {
            DeliveryState::KeyBacklogFull => BACKLOG_FULL,
            DeliveryState::Halted | DeliveryState::Retrying | DeliveryState::Blocked => self.message.as_str(),
            _ => "",
        };
        done(self.feed.tenure().report(state.as_str(), message, &self.plan.id, self.plan.ordering.as_str(), self.asked.as_deref()).await?)?;
        self.reported = Some((state, Instant::now()));
        Ok(())
    }

    /// Each second, whatever goes on.
    pub(super) async fn look_after(&mut self) -> Result<(), End> {
        if self.measured.is_some_and(|measured| measured.elapsed() < REPORT) {
            return Ok(());
        }
        self.measured = Some(Instant::now());
        self.measure();
        self.free_lanes().await
    }

    /// An event that waits for a person may have been dropped by a limit: then its lane goes on.
    async fn free_lanes(&mut self) -> Result<(), End> {
        for id in self.feed.lanes.blocked(LOOKED_AT) {
            if done(self.feed.tenure().abort(id).await?)?.is_none() {
                self.begun.remove(&id);
                self.feed.lanes.restore(id, None);
            }
        }
        Ok(())
    }

    fn measure(&mut self) {
        self.metrics.set_state(self.state());
        self.metrics.backlog.set(i64::try_from(self.feed.backlog()).unwrap_or(i64::MAX));
        let oldest = self.feed.lanes.oldest();
        self.metrics.backlog_oldest.set(oldest.map_or(0.0, |(id, _)| self.feed.clock().since(id.ms).as_secs_f64()));
        self.metrics.head_attempts.set(oldest.map_or(0, |(_, attempts)| i64::from(attempts)));
    }
}
