//! How much of Redis a bus may take: retention, quotas, shedding, old dead letters.

use super::batch::Limits;
use super::drains::Drains;
use super::{End, Session};
use crate::bus::cursor::{self, Backlog, Filled, Routed};
use crate::bus::safety::{self, Memory};
use crate::event::Sequence;
use crate::plan::BacklogLimit;
use crate::settings::{BusSettings, Size, WhenFull};
use crate::telemetry::Throttle;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// How often space is looked after.
const TICK: Duration = Duration::from_secs(1);
/// Old dead letters of all destinations are looked for in so many ticks.
const EXPIRE_IN: usize = 60;
/// How often it is looked whether a full queue has room again.
pub(super) const REFILL: Duration = Duration::from_millis(50);
/// A detached queue is filled again below this share of its quota, percent.
const REFILL_BELOW: u64 = 90;
/// Calls of `trim` in one tick, about 10,000 events each.
const TRIMS: usize = 10;

/// Space is made from this share of the watermark on, percent: ingest stops at the watermark itself, and shall not have to.
const SHORT_ABOVE: u64 = 90;
/// Memory is looked at again when the queues have grown by this share of it, one part in so many.
const GROWTH: u64 = 50;
/// Redis that refuses to route for so long does not get better by itself.
const STUCK: Duration = Duration::from_secs(2);

/// Redis that uses less than this, percent, is not full.
const ROOM_BELOW: u8 = 95;

/// What is known of the space.
pub struct Space {
    memory: Option<Memory>,
    quota: u64,
    drains: Drains,
    /// While memory is short: most bytes that a queue may have.
    fair: Option<u64>,
    /// Bytes appended since memory was looked at.
    grown: u64,
    trimmed: Sequence,
    /// The last `trim` may have left some.
    trims: bool,
    /// The generation up to which destinations that are gone were forgotten.
    tidied: u64,
    ticked: Option<Instant>,
    /// Whose dead letters were looked at last.
    expired: String,
    refilled: Option<Instant>,
    sheds: bool,
    /// Since when Redis refuses to route.
    full_since: Option<Instant>,
    /// Events dropped that nobody was told of yet.
    dropped: u64,
}

impl Space {
    /// Nothing is known yet but what was trimmed.
    pub fn new(trimmed: Sequence, settings: &BusSettings) -> Space {
        Space {
            memory: None,
            quota: u64::MAX,
            drains: Drains::default(),
            fair: None,
            grown: 0,
            trimmed,
            trims: false,
            tidied: 0,
            ticked: None,
            expired: String::new(),
            refilled: None,
            sheds: settings.when_full == WhenFull::Shed,
            full_since: None,
            dropped: 0,
        }
    }

    /// Most bytes that one queue may hold.
    pub fn quota(&self) -> u64 {
        self.quota
    }

    /// Most bytes to which a queue may be filled.
    pub fn room(&self) -> u64 {
        self.fair.unwrap_or(u64::MAX).min(self.quota)
    }

    /// What one call may take: of a small Redis only a small part, or it would be full before anybody looks.
    pub fn limits(&self) -> Limits {
        if self.is_stuck() {
            return Limits::ONE;
        }
        let part = self.memory.and_then(|memory| usize::try_from(memory.max / GROWTH).ok()).unwrap_or(usize::MAX);
        Limits { bytes: Limits::CALL.bytes.min(part), ..Limits::CALL }
    }

    /// Queues have grown by so many bytes: Redis was not full.
    pub fn grew(&mut self, bytes: usize) {
        self.grown += bytes as u64;
        if !self.is_stuck() {
            self.full_since = None;
        }
    }

    /// So many events were counted as dropped.
    pub fn dropped(&mut self, events: usize) {
        self.dropped += events as u64;
    }

    /// Nothing gets any further unless what is accepted is routed beyond the limit, a little at a time, and so makes room in the log.
    pub fn is_stuck(&self) -> bool {
        self.sheds && self.full_since.is_some_and(|since| since.elapsed() > STUCK)
    }

    /// Whether it is time to look.
    pub fn is_due(&self) -> bool {
        let growth = self.memory.map_or(0, |memory| memory.max / GROWTH);
        self.is_stuck() || self.grown > growth || self.ticked.is_none_or(|ticked| ticked.elapsed() >= TICK)
    }
}

fn bytes(size: Size, memory: &Memory) -> u64 {
    match size {
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => memory.share(percent),
    }
}

/// A place below the last routed event, so that who waits there goes on waiting.
fn below(position: Sequence) -> Sequence {
    match position.seq {
        0 => Sequence { ms: position.ms.saturating_sub(1), seq: 0 },
        seq => Sequence { ms: position.ms, seq: seq - 1 },
    }
}

/// Whether a queue that holds something is below 90 % of what it may.
fn has_room(backlog: &Backlog, quota: u64, limit: Option<BacklogLimit>) -> bool {
    let (events, bytes) = limit.map_or((None, None), |limit| (limit.max_events, limit.max_bytes));
    let below = |held: u64, most: u64| held < most.saturating_mul(REFILL_BELOW) / 100;
    below(backlog.bytes, quota.min(bytes.unwrap_or(u64::MAX))) && events.is_none_or(|most| below(backlog.events, most))
}

impl Session<'_> {
    /// Each second, and when much was appended since the last time.
    pub(super) async fn tend_space(&mut self) -> Result<(), End> {
        if !self.space.is_due() {
            return Ok(());
        }
        let is_short = self.look().await?;
        if self.space.memory.is_some_and(|memory| memory.used < memory.share(ROOM_BELOW)) {
            self.space.full_since = None;
        }
        if self.space.ticked.is_some_and(|ticked| ticked.elapsed() < TICK) {
            return Ok(());
        }
        self.space.ticked = Some(Instant::now());
        self.measure().await?;
        if !is_short {
            self.retain().await?;
        }
        self.tell_dropped();
        self.note_filter_errors();
        self.expire_dead_letters().await
    }

    /// Redis refused to route for want of memory.
    pub(super) async fn find_full(&mut self) -> Result<(), End> {
        self.space.full_since.get_or_insert_with(Instant::now);
        self.look().await.map(drop)
    }

    /// Looks at memory and makes room where it is short; answers whether it was.
    async fn look(&mut self) -> Result<bool, End> {
        let memory = self.read_memory().await?;
        self.measure_drains(&memory).await?;
        self.space.fair = None;
        if !self.is_short(&memory) {
            return Ok(false);
        }
        let backlogs = cursor::sizes(&self.link, self.bus(), &[]).await?;
        let slow = self.slow_of(&backlogs);
        self.forget_routed(&slow).await?;
        let memory = self.read_memory().await?;
        if self.is_short(&memory) && self.space.sheds {
            self.shed(&memory, &backlogs, &slow).await?;
        }
        Ok(true)
    }

    fn is_short(&self, memory: &Memory) -> bool {
        self.space.full_since.is_some() || memory.used > self.short_above(memory)
    }

    /// Who keeps up, and who does not: once that may matter.
    async fn measure_drains(&mut self, memory: &Memory) -> Result<(), End> {
        let now = std::time::Instant::now();
        let may_matter = memory.used > self.short_above(memory) / 2 || self.table.fills().next().is_some();
        if may_matter && self.space.drains.is_due(now) {
            let backlogs = cursor::sizes(&self.link, self.bus(), &[]).await?;
            self.space.drains.measure(&backlogs, now);
        }
        Ok(())
    }

    async fn read_memory(&mut self) -> Result<Memory, End> {
        let memory = safety::memory(&self.link).await?;
        self.router.metrics.memory(&memory, self.router.settings.watermark);
        self.space.memory = Some(memory);
        self.space.grown = 0;
        self.space.quota = bytes(self.router.settings.backlog_quota, &memory);
        Ok(memory)
    }

    fn short_above(&self, memory: &Memory) -> u64 {
        memory.share(self.router.settings.watermark) / 100 * SHORT_ABOVE
    }

    /// Forgets all that was routed, but for what those wait for who keep up; where nothing is shed, for what anybody waits for.
    async fn forget_routed(&mut self, slow: &BTreeSet<String>) -> Result<(), End> {
        let bound = below(self.position);
        if self.space.sheds {
            self.drop_up_to(bound, |uid| slow.contains(uid)).await?;
        }
        self.trim(bound).await
    }

    /// Forgets what is older, or more bytes, than the bus keeps, but for what those wait for who keep up. Redis looks at 10,000 events in one
    /// call.
    async fn retain(&mut self) -> Result<(), End> {
        for _ in 0..TRIMS {
            let memory = self.space.memory.expect("it was just read");
            let bound = self.retention_bound(&memory).await?;
            if self.is_trimmed(bound) {
                return Ok(());
            }
            if self.table.fills().any(|(_, at, _)| at < bound) {
                let slow = self.slow().await?;
                self.drop_up_to(bound, |uid| slow.contains(uid)).await?;
            }
            self.trim(bound).await?;
        }
        Ok(())
    }

    /// Those who do not keep up.
    async fn slow(&self) -> Result<BTreeSet<String>, End> {
        let backlogs = cursor::sizes(&self.link, self.bus(), &[]).await?;
        Ok(self.slow_of(&backlogs))
    }

    fn slow_of(&self, backlogs: &[Backlog]) -> BTreeSet<String> {
        let slow = backlogs.iter().filter(|backlog| self.space.drains.is_slow(backlog));
        slow.map(|backlog| backlog.uid.clone()).collect()
    }

    fn is_trimmed(&self, bound: Sequence) -> bool {
        bound <= self.space.trimmed && !self.space.trims && self.space.tidied == self.table.generation
    }

    async fn trim(&mut self, bound: Sequence) -> Result<(), End> {
        if self.is_trimmed(bound) {
            return Ok(());
        }
        for _ in 0..TRIMS {
            match cursor::trim(&self.link, self.bus(), &self.token, bound, self.table.generation).await? {
                Routed::Done((held, removed)) => {
                    self.space.trimmed = self.space.trimmed.max(held);
                    self.space.trims = removed > 0;
                    self.space.tidied = self.table.generation;
                    if removed == 0 {
                        return Ok(());
                    }
                }
                Routed::Fenced => return Err(End::Fenced),
                Routed::Stale { .. } => return Err(End::Moved),
            }
        }
        Ok(())
    }

    fn tell_dropped(&mut self) {
        static DROPPED: Throttle = Throttle::new(Duration::from_secs(10));
        if self.space.dropped > 0 && DROPPED.pass().is_some() {
            let dropped = std::mem::take(&mut self.space.dropped);
            tracing::warn!(bus = self.bus(), dropped, "the bus no longer keeps events that full destinations were waiting for");
        }
    }

    async fn measure(&self) -> Result<(), End> {
        let waiting = cursor::scan(&self.link, self.bus(), self.position, 1, 1).await?;
        let now = cursor::now(&self.link).await?;
        let lag = waiting.first().map_or(0, |entry| now.saturating_sub(entry.sequence.ms));
        self.router.metrics.lag.set(lag as f64 / 1000.0);
        self.router.metrics.position.set(self.position.ms as f64 / 1000.0);
        Ok(())
    }

    /// Accepted events at or below this are older, or more bytes, than the bus keeps.
    async fn retention_bound(&mut self, memory: &Memory) -> Result<Sequence, End> {
        let settings = &self.router.settings;
        let now = cursor::now(&self.link).await?;
        let age = u64::try_from(settings.retention_age.as_millis()).unwrap_or(u64::MAX);
        let mut bound = Sequence { ms: now.saturating_sub(age), seq: 0 };
        let (held, most) = (cursor::log_bytes(&self.link, self.bus()).await?, bytes(settings.retention_bytes, memory));
        if held > most {
            let oldest = cursor::oldest(&self.link, self.bus(), self.space.trimmed, held - most).await?;
            bound = bound.max(oldest.unwrap_or_default());
        }
        Ok(bound.min(below(self.position)))
    }

    /// Every queue larger than its fair share is detached: its newest events wait in the log, as long as memory allows. Where nothing else
    /// helps, every slow one is.
    async fn shed(&mut self, memory: &Memory, backlogs: &[Backlog], slow: &BTreeSet<String>) -> Result<(), End> {
        let (fair, is_stuck) = (self.fair_share(memory, backlogs), self.space.is_stuck());
        self.space.fair = Some(fair);
        for Backlog { uid, bytes, .. } in backlogs {
            let sheds = if is_stuck { slow.contains(uid) } else { *bytes > fair };
            if !sheds || self.table.live(uid).is_none() {
                continue;
            }
            match cursor::detach(&self.link, self.bus(), &self.token, uid, self.table.generation).await? {
                Routed::Done(Filled { position, generation }) => {
                    tracing::warn!(
                        bus = self.bus(),
                        uid,
                        bytes,
                        "memory runs short: the largest backlogs grow no more; their newest events wait in the bus, or are dropped"
                    );
                    self.router.metrics.detached.inc();
                    self.table.set_fill(uid, position, generation);
                    self.detached(uid);
                }
                Routed::Fenced => return Err(End::Fenced),
                Routed::Stale { .. } => return self.reload_table().await,
            }
        }
        Ok(())
    }

    /// What is left for the queues, shared by those that are not empty. Where it is something else that takes the memory, a queue may have a
    /// quarter of what it could have if it were not.
    fn fair_share(&self, memory: &Memory, backlogs: &[Backlog]) -> u64 {
        let (most, queues) = (self.short_above(memory), backlogs.len().max(1) as u64);
        let others = memory.used.saturating_sub(backlogs.iter().map(|backlog| backlog.bytes).sum());
        (most.saturating_sub(others) / queues).max(most / 4 / queues)
    }

    /// Queues that were full are filled again below 90 % of what they may have, or when they are empty.
    pub(super) async fn refill_where_there_is_room(&mut self) -> Result<(), End> {
        let full: Vec<String> = self.table.fills().filter(|(_, _, live)| live.is_full).map(|(uid, _, _)| uid.to_owned()).collect();
        if full.is_empty() || self.space.refilled.is_some_and(|refilled| refilled.elapsed() < REFILL) {
            return Ok(());
        }
        self.space.refilled = Some(Instant::now());
        let uids: Vec<&str> = full.iter().map(String::as_str).collect();
        let held = cursor::sizes(&self.link, self.bus(), &uids).await?;
        let quota = self.space.room();
        let held: HashMap<&str, &Backlog> = held.iter().map(|backlog| (backlog.uid.as_str(), backlog)).collect();
        for uid in &uids {
            if let Some(live) = self.table.get_mut(uid) {
                live.is_full = held.get(uid).is_some_and(|backlog| !has_room(backlog, quota, live.limit));
            }
        }
        Ok(())
    }

    /// Old dead letters of the next few destinations in turn, so that each has its turn once a minute and routing goes on.
    async fn expire_dead_letters(&mut self) -> Result<(), End> {
        let all: Vec<(String, Duration)> = self.table.all().map(|(uid, live)| (uid.to_owned(), live.dead_letter_max_age)).collect();
        let count = all.len().div_ceil(EXPIRE_IN);
        let after = all.partition_point(|(uid, _)| *uid <= self.space.expired);
        let (link, bus, token) = (&self.link, self.bus(), &self.token);
        let turn: Vec<_> = all[after..].iter().chain(&all[..after]).take(count).collect();
        let calls = turn.iter().map(|(uid, age)| cursor::expire(link, bus, token, uid, *age));
        for (answer, (uid, _)) in futures::future::join_all(calls).await.into_iter().zip(&turn) {
            match answer? {
                Routed::Done(removed) if removed > 0 => tracing::info!(bus, uid, removed, "removed old dead letters"),
                Routed::Done(_) => {}
                Routed::Fenced | Routed::Stale { .. } => return Err(End::Fenced),
            }
        }
        self.space.expired = turn.last().map(|(uid, _)| uid.clone()).unwrap_or_default();
        Ok(())
    }
}
