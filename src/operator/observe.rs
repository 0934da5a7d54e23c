//! Looks at Redis: at a destination at once when something of it changed, at each every 10 s, at all when the connection is new.

use super::board::{Board, Look, Safety, Storage};
use super::metrics::OperatorMetrics;
use crate::bus::safety::{self, Concern};
use crate::bus::states::States;
use crate::bus::{Error, Link, Links, Servers, state};
use crate::settings::{Fsync, Settings};
use crate::shutdown::Shutdown;
use futures::StreamExt;
use jiff::Timestamp;
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
    servers: Servers,
    links: Links,
    metrics: OperatorMetrics,
}

impl Observer {
    /// `links` keep a command connection to each of the servers.
    pub fn new(board: Board, settings: Arc<Settings>, servers: Servers, links: Links, metrics: OperatorMetrics) -> Observer {
        Observer { board, settings, servers, links, metrics }
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let servers = self.servers.iter().map(|server| async {
            let states = States::start(server.url.clone());
            tokio::join!(listen(&states, &self.board, &server.buses), self.follow(&server.buses));
        });
        tokio::select! {
            _ = futures::future::join_all(servers) => {}
            () = self.work() => {}
            () = shutdown.begun() => {}
        }
    }

    /// Looks at all that are due, each on the connection of its bus.
    async fn work(&self) {
        loop {
            self.board.looks_due().await;
            let looks = self.board.take_looks(AT_ONCE * 4);
            futures::stream::iter(looks).for_each_concurrent(AT_ONCE, |look| self.look_at(look)).await;
        }
    }

    async fn look_at(&self, look: Look) {
        let snapshot = match self.links.of(&look.bus).current() {
            Ok(link) => state::snapshot(&link, &look.bus, &look.uid).await,
            Err(error) => Err(error),
        };
        match snapshot {
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

    /// Knows whether the server of these buses is there, and keeps what they accept.
    async fn follow(&self, buses: &[String]) {
        let Some(first) = buses.first() else { return };
        let mut away: Option<Instant> = None;
        loop {
            match self.links.of(first).current() {
                Ok(link) => {
                    self.board.look_at_all(buses);
                    away = self.check_until_closed(&link, buses).await.then(Instant::now).or(away);
                }
                Err(error) => self.is_away(buses, *away.get_or_insert_with(Instant::now), &error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Says so once it has been away for a while.
    fn is_away(&self, buses: &[String], since: Instant, error: &Error) {
        let told = |bus: &String| matches!(self.board.storage(bus), Storage::Unreachable { .. });
        if since.elapsed() < PATIENCE || buses.iter().all(told) {
            return;
        }
        tracing::warn!(buses = buses.join(","), %error, "redis does not answer; statuses say so");
        for bus in buses {
            self.board.set_storage(bus, Storage::Unreachable { message: error.to_string(), since: Timestamp::now() });
        }
    }

    /// Whether it has answered at all.
    async fn check_until_closed(&self, link: &Link, buses: &[String]) -> bool {
        let mut answered = false;
        while !link.is_closed() {
            answered |= self.check(link, buses).await;
            tokio::select! {
                () = link.closed() => {}
                () = tokio::time::sleep(CHECK) => {}
            }
        }
        answered
    }

    /// What the present connection finds; what an earlier one found stays where it is refused. Buses that declare the same share one check.
    async fn check(&self, link: &Link, buses: &[String]) -> bool {
        let mut found: Vec<(Fsync, Option<Safety>)> = Vec::new();
        for bus in buses {
            let Some(declared) = self.settings.buses.get(bus).map(|settings| settings.durability.fsync) else { continue };
            let known = found.iter().find(|(fsync, _)| *fsync == declared).map(|(_, safety)| safety.clone());
            let safety = match known {
                Some(safety) => safety,
                None => {
                    let safety = read_safety(link, declared).await;
                    found.push((declared, safety.clone()));
                    safety
                }
            };
            if link.is_closed() {
                return false;
            }
            self.is_there(bus, safety);
        }
        !found.is_empty()
    }

    fn is_there(&self, bus: &str, found: Option<Safety>) {
        let (former, since) = match self.board.storage(bus) {
            Storage::Reachable { safety, since } => (safety, Some(since)),
            Storage::Unknown | Storage::Unreachable { .. } => (None, None),
        };
        let safety = found.or_else(|| former.clone());
        let since = since.filter(|_| safety == former).unwrap_or_else(Timestamp::now);
        self.board.set_storage(bus, Storage::Reachable { safety, since });
    }
}

/// `None`: it could not be checked.
async fn read_safety(link: &Link, declared: Fsync) -> Option<Safety> {
    let concerns = safety::check(link, declared).await;
    let told = concerns.inspect_err(|error| tracing::debug!(%error, "whether redis keeps what it accepts cannot be checked"));
    told.ok().map(|concerns| safety_of(&concerns))
}

async fn listen(states: &States, board: &Board, buses: &[String]) {
    loop {
        let heard = states.next().await;
        if heard.all {
            board.look_at_all(buses);
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
