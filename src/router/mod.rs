//! Puts each accepted event into the queue of every destination whose filter matches.
//!
//! ```text
//! take the lease; read cursor, routes and fills
//! loop: read above the cursor ─▶ decide ─▶ route (one atomic script: append to the queues, move the cursor)
//!       between batches: one step for a destination that is behind the cursor (`fills`)
//!       each second: retention, quotas, shedding, old dead letters (`space`)
//! ```
//!
//! The lease saves work; what makes two routers harmless is that every change names the cursor position and the routing generation it was
//! decided for, and that a queue refuses an ID that it has had.

mod batch;
mod drains;
mod fills;
mod space;
mod table;

use crate::admin::metrics::{Metrics, RouterMetrics};
use crate::bus::cursor::{self, Loaded, Room, RouteCall, Routed};
use crate::bus::entry::Entry;
use crate::bus::lease::{self, Tokens};
use crate::bus::{Error, Link, Servers, Supervisor};
use crate::event::Sequence;
use crate::settings::{BusSettings, Settings};
use crate::shutdown::Shutdown;
use crate::telemetry::Throttle;
use batch::{Batch, Limits, Slice};
use std::sync::Arc;
use std::time::Duration;
use table::{Failed, Table};
use tokio::time::Instant;

/// So many refusals in a row, the batch halved at each, are no burst of changes.
const MAX_STALE: u32 = 64;
/// Entries read in one go, and about how many bytes of them.
const READ_ENTRIES: usize = 256;
const READ_BYTES: usize = 4 << 20;
/// How long an empty log is waited on; also how long a standby waits before it asks for the lease again.
const WAIT: Duration = Duration::from_secs(1);
/// Pause while Redis is full, after room was made.
const FULL_PAUSE: Duration = Duration::from_millis(200);

/// What a router needs.
pub struct RouterConfig {
    /// Where Redis is.
    pub servers: Servers,
    /// The buses.
    pub settings: Arc<Settings>,
    /// Tokens of this process.
    pub tokens: Arc<Tokens>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// Routes every bus until told to stop.
pub async fn run(config: RouterConfig, stop: Shutdown) {
    let commands = config.servers.connect("router");
    let tasks = config.settings.buses.iter().map(|(name, settings)| {
        let router = Router {
            bus: name.clone(),
            settings: settings.clone(),
            commands: commands.of(name).clone(),
            blocking: Supervisor::start_blocking(config.servers.of(name), "router-wait", WAIT),
            tokens: config.tokens.clone(),
            metrics: config.metrics.router(name),
            stop: stop.clone(),
        };
        tokio::spawn(router.run())
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        if let Err(panic) = task.await {
            tracing::error!(error = %panic, "the router of a bus ended; this is a defect");
        }
    }
}

/// The router of one bus.
struct Router {
    bus: String,
    settings: BusSettings,
    commands: Supervisor,
    blocking: Supervisor,
    tokens: Arc<Tokens>,
    metrics: RouterMetrics,
    stop: Shutdown,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("another router took over")]
    Fenced,
    #[error("the bus is not as it was")]
    Moved,
    #[error(transparent)]
    Redis(#[from] Error),
}

/// What lives as long as one lease on one connection.
struct Session<'a> {
    router: &'a Router,
    link: Link,
    token: String,
    renewed: Instant,
    position: Sequence,
    table: Table,
    fills: fills::Fills,
    space: space::Space,
}

impl Router {
    async fn run(self) {
        while !self.stop.has_begun() {
            let link = tokio::select! {
                link = self.commands.link() => link,
                () = self.stop.begun() => return,
            };
            match self.lease(&link).await {
                Ok(Some(token)) => self.route(link, token).await,
                Ok(None) => self.pause(WAIT).await,
                Err(error) => {
                    tracing::warn!(bus = self.bus, %error, "cannot take the lease for routing; trying again");
                    self.pause(WAIT).await;
                }
            }
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.stop.begun() => {}
        }
    }

    async fn lease(&self, link: &Link) -> Result<Option<String>, Error> {
        link.hello(&self.bus).await?;
        let token = self.tokens.next();
        Ok(lease::lease_router(link, &self.bus, &token).await?.then_some(token))
    }

    async fn route(&self, link: Link, token: String) {
        tracing::info!(bus = self.bus, "routing");
        self.metrics.lead();
        let end = match Session::open(self, link.clone(), token.clone()).await {
            Ok(mut session) => session.run().await,
            Err(error) => Err(error),
        };
        self.metrics.stand_by();
        match end {
            Ok(()) => {
                // best effort: an unreleased lease ends by itself
                let _ = lease::release(&link, &self.bus, "router", &token).await;
            }
            Err(end) => {
                tracing::warn!(bus = self.bus, reason = %end, "routing was interrupted; beginning again from the cursor");
                self.pause(Duration::from_millis(100)).await;
            }
        }
    }
}

impl<'a> Session<'a> {
    async fn open(router: &'a Router, link: Link, token: String) -> Result<Session<'a>, End> {
        let loaded = cursor::load(&link, &router.bus, None).await?;
        let position = loaded.position;
        let mut table = Table::default();
        let space = space::Space::new(loaded.trimmed, &router.settings);
        table.apply(loaded);
        Ok(Session { router, link, token, renewed: Instant::now(), position, table, fills: fills::Fills::default(), space })
    }

    async fn run(&mut self) -> Result<(), End> {
        while !self.router.stop.has_begun() {
            self.renew().await?;
            self.tend_space().await?;
            self.refill_where_there_is_room().await?;
            let started = Instant::now();
            let entries = self.read().await?;
            let behind = entries.len() >= READ_ENTRIES;
            if entries.is_empty() {
                // where nothing is routed, nothing else would tell of a destination that was made or changed
                self.reload_table().await?;
            } else {
                self.route_all(Batch::new(entries, &self.table)).await?;
            }
            self.fills.live_took(started.elapsed());
            self.fill_step(behind).await?;
        }
        Ok(())
    }

    fn bus(&self) -> &'a str {
        &self.router.bus
    }

    async fn renew(&mut self) -> Result<(), End> {
        if self.renewed.elapsed() < lease::RENEW {
            return Ok(());
        }
        let asked = Instant::now();
        if !lease::lease_router(&self.link, self.bus(), &self.token).await? {
            return Err(End::Fenced);
        }
        self.renewed = asked;
        Ok(())
    }

    /// Entries above the cursor; waits a while for one where there is nothing else to do.
    async fn read(&mut self) -> Result<Vec<Entry>, End> {
        let entries = cursor::scan(&self.link, self.bus(), self.position, READ_ENTRIES, READ_BYTES).await?;
        if !entries.is_empty() || self.fills.has_work(&self.table) {
            return Ok(entries);
        }
        let Ok(blocking) = self.router.blocking.current() else {
            self.router.pause(Duration::from_millis(50)).await;
            return Ok(entries);
        };
        let wait = if self.fills.is_waiting(&self.table) { space::REFILL } else { WAIT };
        tokio::select! {
            found = cursor::wait(&blocking, self.bus(), self.position, wait) => match found {
                Ok(found) => Ok(found),
                // that connection heals by itself; this one decides whether the session goes on
                Err(_) => Ok(entries),
            },
            () = self.router.stop.begun() => Ok(entries),
        }
    }

    async fn route_all(&mut self, mut batch: Batch) -> Result<(), End> {
        let (mut limits, mut stale) = (Limits::CALL, 0);
        while batch.len() > 0 {
            let slice = batch.slice(limits.min(self.space.limits()));
            match self.route_slice(&batch, &slice).await {
                Ok(Routed::Done(routed)) => {
                    stale = 0;
                    self.routed(&mut batch, &slice, routed);
                    self.between_calls(&mut batch).await?;
                }
                Ok(Routed::Fenced) => return Err(End::Fenced),
                Ok(Routed::Stale { position }) if position == self.position => {
                    stale += 1;
                    if stale > MAX_STALE {
                        // not the routes: somebody deleted the entries from the log; read again
                        return Err(End::Moved);
                    }
                    if stale > 1 {
                        limits = limits.halved(batch.len());
                    }
                    self.reload(&mut batch).await?;
                }
                Ok(Routed::Stale { .. }) => return Err(End::Moved),
                Err(Error::Full(_)) => {
                    // the call itself takes memory too
                    limits = limits.halved(batch.len());
                    self.wait_for_room(&mut batch).await?;
                    if self.router.stop.has_begun() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn route_slice(&self, batch: &Batch, slice: &Slice) -> Result<Routed<cursor::Batch>, Error> {
        let entries: Vec<&Entry> = slice.entries.iter().map(|index| batch.entry(*index)).collect();
        let room = |uid: &str| Room { quota: self.space.quota(), limit: self.table.get(uid).and_then(|live| live.limit) };
        let queues: Vec<_> = slice.queues.iter().map(|(uid, indices)| (&**uid, room(uid), indices.clone())).collect();
        let call = RouteCall {
            token: &self.token,
            expected: self.position,
            new: batch.entry(slice.end).sequence,
            generation: self.table.generation,
            last: slice.complete,
            unmatched: slice.unmatched,
            entries: &entries,
            queues: &queues,
            beyond_memory: self.space.is_stuck(),
        };
        cursor::route(&self.link, self.bus(), &call).await
    }

    /// Counts what a call did and follows the cursor.
    fn routed(&mut self, batch: &mut Batch, slice: &Slice, routed: cursor::Batch) {
        let appends: usize = slice.queues.values().map(Vec::len).sum();
        self.router.metrics.routed.inc_by(appends as u64);
        self.router.metrics.unmatched.inc_by(slice.unmatched);
        self.space.grew(slice.bytes);
        if slice.complete {
            self.position = batch.entry(slice.end).sequence;
        }
        batch.advance(slice);
        for (uid, dropped) in routed.dropped {
            self.dropped(&uid, dropped, "the backlog limits of destinations were reached; events beyond them are dropped");
        }
        for (uid, position) in routed.detached {
            tracing::warn!(bus = self.bus(), uid, %position, "a queue is at its quota; later events wait in the bus");
            self.router.metrics.detached.inc();
            self.table.set_fill(&uid, Some(position), routed.generation);
            self.detached(&uid);
            batch.decide(&uid, &self.table);
        }
    }

    /// What cannot wait for the end of a large batch: the lease, and room.
    async fn between_calls(&mut self, batch: &mut Batch) -> Result<(), End> {
        self.renew().await?;
        let before = self.table.generation;
        self.tend_space().await?;
        if self.table.generation != before {
            batch.decide_all(&self.table);
        }
        Ok(())
    }

    async fn wait_for_room(&mut self, batch: &mut Batch) -> Result<(), End> {
        self.renew().await?;
        self.find_full().await?;
        self.router.pause(FULL_PAUSE).await;
        self.reload_table().await?;
        // some were detached, others changed meanwhile
        batch.decide_all(&self.table);
        Ok(())
    }

    /// Learns what the control plane changed, and decides again for those destinations only.
    async fn reload(&mut self, batch: &mut Batch) -> Result<(), End> {
        let loaded = cursor::load(&self.link, self.bus(), Some(self.table.generation)).await?;
        if loaded.position != self.position {
            return Err(End::Moved);
        }
        for uid in self.learn(loaded) {
            batch.decide(&uid, &self.table);
        }
        Ok(())
    }

    /// The same outside of a batch.
    async fn reload_table(&mut self) -> Result<(), End> {
        let loaded = cursor::load(&self.link, self.bus(), Some(self.table.generation)).await?;
        if loaded.position != self.position {
            return Err(End::Moved);
        }
        self.learn(loaded);
        Ok(())
    }

    /// Takes over what changed; answers the uids.
    fn learn(&mut self, loaded: Loaded) -> Vec<String> {
        // what is replaced takes its counts with it
        self.note_filter_errors();
        let former = loaded.destinations.iter().filter(|(_, target)| target.is_none());
        let former = former.filter_map(|(uid, _)| Some(&self.table.get(uid)?.name));
        former.for_each(|(namespace, name)| self.router.metrics.destinations.forget(namespace, name));
        self.table.apply(loaded)
    }

    /// Events of a destination were dropped.
    fn dropped(&self, uid: &str, events: u64, why: &'static str) {
        static DROPPED: Throttle = Throttle::new(Duration::from_secs(10));
        let Some(live) = self.table.get(uid).filter(|_| events > 0) else { return };
        let (namespace, name) = &live.name;
        self.router.metrics.destinations.dropped(namespace, name, events);
        if DROPPED.pass().is_some() {
            tracing::warn!(bus = self.bus(), namespace, destination = name, events, "{why}");
        }
    }

    /// Counts the filters that failed since the last time, and tells of one now and then. What an event held is never told.
    fn note_filter_errors(&self) {
        for (_, live) in self.table.all() {
            let Some(Failed { events, reason, is_told }) = live.take_failures() else { continue };
            let (namespace, name) = &live.name;
            self.router.metrics.destinations.filter_errors(namespace, name, events);
            if is_told {
                tracing::warn!(
                    bus = self.bus(),
                    namespace,
                    destination = name,
                    events,
                    reason,
                    "an expression of a filter failed, so it did not match"
                );
            }
        }
    }

    /// Its queue is full: it waits until there is room again.
    fn detached(&mut self, uid: &str) {
        if let Some(live) = self.table.get_mut(uid) {
            live.is_full = true;
        }
    }
}
