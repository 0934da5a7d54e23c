//! How much of Redis a bus may take: retention, quotas, shedding, old dead letters.

use super::{End, Session};
use crate::bus::cursor::{self, Filled, Routed};
use crate::bus::safety::{self, Memory};
use crate::event::Sequence;
use crate::settings::{Size, WhenFull};
use std::time::Duration;
use tokio::time::Instant;

/// How often space is looked after.
const TICK: Duration = Duration::from_secs(1);
/// How often old dead letters are looked for.
const EXPIRE: Duration = Duration::from_secs(60);
/// A detached queue is filled again below this share of its quota, percent.
const REFILL_BELOW: u64 = 90;
/// Calls of `trim` in one tick, about 10,000 events each.
const TRIMS: usize = 10;

/// What is known of the space.
pub struct Space {
    memory: Option<Memory>,
    quota: u64,
    trimmed: Sequence,
    ticked: Option<Instant>,
    expired: Option<Instant>,
}

impl Space {
    /// Nothing is known yet but what was trimmed.
    pub fn new(trimmed: Sequence) -> Space {
        Space { memory: None, quota: u64::MAX, trimmed, ticked: None, expired: None }
    }

    /// Most bytes that one queue may hold.
    pub fn quota(&self) -> u64 {
        self.quota
    }
}

fn bytes(size: Size, memory: &Memory) -> u64 {
    match size {
        Size::Bytes(bytes) => bytes,
        Size::Percent(percent) => memory.share(percent),
    }
}

impl Session<'_> {
    /// Each second, or at once where Redis was found full.
    pub(super) async fn tend_space(&mut self, now: bool) -> Result<(), End> {
        if !now && self.space.ticked.is_some_and(|ticked| ticked.elapsed() < TICK) {
            return Ok(());
        }
        self.space.ticked = Some(Instant::now());
        let memory = safety::memory(&self.link).await?;
        self.space.memory = Some(memory);
        self.space.quota = bytes(self.router.settings.backlog_quota, &memory);
        self.measure().await?;
        let sheds = self.router.settings.when_full == WhenFull::Shed && (now || memory.is_above(self.router.settings.watermark));
        if sheds {
            self.shed(&memory).await?;
        }
        let bound = if sheds { self.position } else { self.retention_bound(&memory).await? };
        self.forget(bound).await?;
        self.refill_where_there_is_room().await?;
        self.expire_dead_letters().await
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
        Ok(bound.min(self.position))
    }

    async fn forget(&mut self, bound: Sequence) -> Result<(), End> {
        if bound <= self.space.trimmed {
            return Ok(());
        }
        self.drop_up_to(bound).await?;
        for _ in 0..TRIMS {
            match cursor::trim(&self.link, self.bus(), &self.token, bound, self.table.generation).await? {
                Routed::Done((held, removed)) => {
                    self.space.trimmed = held;
                    if removed == 0 {
                        break;
                    }
                }
                Routed::Fenced => return Err(End::Fenced),
                Routed::Stale { .. } => return Err(End::Moved),
            }
        }
        Ok(())
    }

    /// Above the watermark every queue larger than its fair share is detached: its newest events wait in the log, and are dropped, counted, as the
    /// log is cut.
    async fn shed(&mut self, memory: &Memory) -> Result<(), End> {
        let sizes = cursor::sizes(&self.link, self.bus()).await?;
        let fair = memory.share(self.router.settings.watermark) / u64::try_from(sizes.len().max(1)).unwrap_or(u64::MAX);
        for (uid, size) in sizes {
            if size <= fair || self.table.live(&uid).is_none() {
                continue;
            }
            match cursor::detach(&self.link, self.bus(), &self.token, &uid, self.table.generation).await? {
                Routed::Done(Filled { position, generation }) => {
                    tracing::warn!(
                        bus = self.bus(),
                        uid,
                        bytes = size,
                        "memory runs short: the newest events of the largest backlog are shed"
                    );
                    self.router.metrics.detached.inc();
                    self.table.set_fill(&uid, position, generation);
                    self.detached(&uid);
                }
                Routed::Fenced => return Err(End::Fenced),
                Routed::Stale { .. } => return self.reload_table().await,
            }
        }
        Ok(())
    }

    async fn refill_where_there_is_room(&mut self) -> Result<(), End> {
        let full: Vec<String> = self.table.fills().filter(|(_, _, live)| live.is_full).map(|(uid, _, _)| uid.to_owned()).collect();
        if full.is_empty() {
            return Ok(());
        }
        let sizes: std::collections::HashMap<String, u64> = cursor::sizes(&self.link, self.bus()).await?.into_iter().collect();
        let limit = self.refill_limit(sizes.len());
        for uid in full {
            if sizes.get(&uid).copied().unwrap_or(0) < limit
                && let Some(live) = self.table.get_mut(&uid)
            {
                live.is_full = false;
            }
        }
        Ok(())
    }

    /// Bytes below which a detached queue is filled again: 90 % of its quota, or of its fair share while memory is short.
    fn refill_limit(&self, queues: usize) -> u64 {
        let mut limit = self.space.quota;
        if let Some(memory) = self.space.memory
            && memory.is_above(self.router.settings.watermark)
        {
            limit = limit.min(memory.share(self.router.settings.watermark) / u64::try_from(queues.max(1)).unwrap_or(u64::MAX));
        }
        limit / 100 * REFILL_BELOW
    }

    async fn expire_dead_letters(&mut self) -> Result<(), End> {
        if self.space.expired.is_some_and(|expired| expired.elapsed() < EXPIRE) {
            return Ok(());
        }
        self.space.expired = Some(Instant::now());
        let ages: Vec<(String, Duration)> = self.table.all().map(|(uid, live)| (uid.to_owned(), live.dead_letter_max_age)).collect();
        for (uid, age) in ages {
            self.renew().await?;
            match cursor::expire(&self.link, self.bus(), &self.token, &uid, age).await? {
                Routed::Done(removed) if removed > 0 => tracing::info!(bus = self.bus(), uid, removed, "removed old dead letters"),
                Routed::Done(_) => {}
                Routed::Fenced | Routed::Stale { .. } => return Err(End::Fenced),
            }
        }
        Ok(())
    }
}
