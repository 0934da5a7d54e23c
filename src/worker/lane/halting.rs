//! The rest that a destination is given, and its probes.

use super::shift::Shift;
use super::{End, done};
use crate::random::random;
use crate::worker::halt::HaltReason;
use std::time::Duration;
use tokio::time::Instant;

impl Shift<'_, '_> {
    /// What an earlier tenure left: `reason time`. The rest goes on, no request is made before its end.
    pub(super) fn was_halted(&mut self, recorded: Option<&String>) {
        let Some(recorded) = recorded else { return };
        let mut words = recorded.split_whitespace();
        self.halted = words.next().map(str::to_owned);
        let since: u64 = words.next().and_then(|at| at.parse().ok()).unwrap_or(0);
        let interval = self.interval();
        let end = |interval: Duration| since.saturating_add(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        self.probe = interval.map(|interval| Instant::now() + self.feed.clock().until(end(interval)));
    }

    /// Ends a halt: the destination is tried again as if it had not failed.
    pub(super) async fn resume(&mut self) -> Result<(), End> {
        if self.halted.is_some() {
            done(self.feed.tenure().unhalt().await?)?;
            (self.halted, self.probe) = (None, None);
        }
        Ok(())
    }

    pub(super) async fn halt(&mut self, reason: HaltReason) -> Result<(), End> {
        done(self.feed.tenure().halt(reason.as_str()).await?)?;
        self.is_halted(reason.as_str());
        Ok(())
    }

    pub(super) fn is_halted(&mut self, reason: &str) {
        if self.halted.as_deref() != Some(reason) {
            tracing::warn!(
                namespace = self.plan.namespace,
                destination = self.plan.name,
                reason,
                error = self.message,
                "halted: the backlog is kept"
            );
        }
        self.halted = Some(reason.to_owned());
        self.probe_next();
    }

    /// A probe failed. One that a person asked for after a 410, and that failed in another way, says that the receiver is back.
    pub(super) async fn still_halted(&mut self) -> Result<(), End> {
        if self.halted.as_deref() == Some(HaltReason::Gone.as_str()) {
            return self.halt(HaltReason::DestinationFailing).await;
        }
        self.probe_next();
        Ok(())
    }

    /// Plans the next probe of a halted destination.
    pub(super) fn probe_next(&mut self) {
        self.probe = self.interval().map(|interval| Instant::now() + interval);
    }

    /// The next probe is due after this time, where it is halted.
    pub(super) fn probe_after(&mut self, wait: Duration) {
        if self.halted.is_some() {
            self.probe = Some(Instant::now() + wait);
        }
    }

    pub(super) fn until_probe(&self) -> Option<Duration> {
        self.probe.map(|probe| probe.saturating_duration_since(Instant::now()))
    }

    /// From one probe to the next; `None` if it is not halted, or never probed.
    fn interval(&self) -> Option<Duration> {
        let reason = self.halted.as_ref()?.parse::<HaltReason>();
        reason.map_or(Some(self.context.probe), |reason| reason.next_probe(self.context.probe, random()))
    }
}
