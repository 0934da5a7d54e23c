//! Looks at Redis: at a destination at once when something of it changed, at each every 10 s, at all when the connection is new.

use super::board::{Board, Look, Safety, Storage};
use super::metrics::OperatorMetrics;
use crate::bus::safety::{self, Concern};
use crate::bus::states::States;
use crate::bus::{Error, Link, RedisUrl, Supervisor, state};
use crate::settings::{Fsync, Settings};
use crate::shutdown::Shutdown;
use futures::StreamExt;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long Redis may be away before anybody is told.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is checked whether Redis keeps what it accepts.
const CHECK: Duration = Duration::from_secs(60);
/// Destinations looked at at once, on one connection.
const AT_ONCE: usize = 64;
/// How often a connection is looked for while there is none.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks at Redis.
pub struct Observer {
    board: Board,
    settings: Arc<Settings>,
    url: RedisUrl,
    links: Supervisor,
    metrics: OperatorMetrics,
    /// Since when there is no connection.
    away: Option<Instant>,
}

impl Observer {
    /// `links` keeps a command connection to `url`.
    pub fn new(board: Board, settings: Arc<Settings>, url: RedisUrl, links: Supervisor, metrics: OperatorMetrics) -> Observer {
        Observer { board, settings, url, links, metrics, away: None }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        let (states, board) = (States::start(self.url.clone()), self.board.clone());
        tokio::select! {
            () = listen(&states, &board) => {}
            () = self.work() => {}
            () = shutdown.begun() => {}
        }
    }

    async fn work(&mut self) {
        loop {
            match self.links.current() {
                Ok(link) => self.work_on(&link).await,
                Err(error) => self.is_away(&error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Says so once it has been away for a while.
    fn is_away(&mut self, error: &Error) {
        let since = *self.away.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE && !matches!(self.board.storage(), Storage::Unreachable { .. }) {
            tracing::warn!(%error, "redis does not answer; statuses say so");
            self.board.set_storage(Storage::Unreachable { message: error.to_string(), since: Timestamp::now() });
        }
    }

    /// Looks until the connection ends.
    async fn work_on(&mut self, link: &Link) {
        let mut buses = BTreeMap::new();
        self.check(link, &mut buses).await;
        let mut checked = Instant::now();
        self.board.look_at_all();
        while !link.is_closed() {
            if checked.elapsed() >= CHECK {
                self.check(link, &mut buses).await;
                checked = Instant::now();
            }
            self.look(link).await;
            tokio::select! {
                () = self.board.looks_due() => {}
                () = link.closed() => {}
                () = tokio::time::sleep_until(checked + CHECK) => {}
            }
        }
    }

    /// What the present connection finds; what an earlier one found stays where it is refused.
    async fn check(&mut self, link: &Link, buses: &mut BTreeMap<String, Safety>) {
        let mut found: Vec<(Fsync, Safety)> = Vec::new();
        for (name, bus) in &self.settings.buses {
            let declared = bus.durability.fsync;
            if let Some((_, known)) = found.iter().find(|(fsync, _)| *fsync == declared) {
                buses.insert(name.clone(), known.clone());
                continue;
            }
            match safety::check(link, declared).await {
                Ok(concerns) => {
                    let safety = safety_of(&concerns);
                    found.push((declared, safety.clone()));
                    buses.insert(name.clone(), safety);
                }
                Err(error) => tracing::debug!(%error, "whether redis keeps what it accepts cannot be checked"),
            }
        }
        if link.is_closed() {
            return;
        }
        self.away = None;
        let since = match self.board.storage() {
            Storage::Reachable { buses: known, since } if known == *buses => since,
            _ => Timestamp::now(),
        };
        self.board.set_storage(Storage::Reachable { buses: buses.clone(), since });
    }

    /// Looks at all that are due.
    async fn look(&self, link: &Link) {
        loop {
            let looks = self.board.take_looks(AT_ONCE * 4);
            if looks.is_empty() || link.is_closed() {
                looks.iter().for_each(|look| self.board.not_observed(look));
                return;
            }
            futures::stream::iter(looks).for_each_concurrent(AT_ONCE, |look| self.look_at(link, look)).await;
        }
    }

    async fn look_at(&self, link: &Link, look: Look) {
        match state::snapshot(link, &look.bus, &look.uid).await {
            Ok(snapshot) => {
                self.metrics.looks.inc();
                self.board.observed(&look, snapshot);
            }
            Err(error) => {
                tracing::debug!(destination = %look.key, %error, "a destination cannot be looked at; soon again");
                self.board.not_observed(&look);
            }
        }
    }
}

async fn listen(states: &States, board: &Board) {
    loop {
        let heard = states.next().await;
        if heard.all {
            board.look_at_all();
        }
        heard.changed.iter().for_each(|(_, uid)| board.told(uid));
    }
}

/// The worst of all, with what to do about each.
fn safety_of(concerns: &[Concern]) -> Safety {
    let message = concerns.iter().map(Concern::to_string).collect::<Vec<_>>().join("; ");
    match concerns.iter().find(|concern| concern.is_fatal()) {
        Some(worst) => Safety::Unsafe { reason: worst.reason(), message },
        None if concerns.is_empty() => Safety::Safe,
        None => Safety::Unverified { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_concern_is_the_reason_and_all_are_told() {
        assert_eq!(safety_of(&[]), Safety::Safe);
        assert!(matches!(safety_of(&[Concern::Unverified]), Safety::Unverified { .. }));
        let found = safety_of(&[Concern::Unverified, Concern::NoAppendOnlyFile, Concern::Evicts("allkeys-lru".into())]);
        let Safety::Unsafe { reason: "NoAppendOnlyFile", message } = found else { panic!("{found:?}") };
        assert!(message.contains("appendonly") && message.contains("noeviction") && message.contains("CONFIG GET"), "{message}");
    }
}
