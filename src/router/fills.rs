//! Destinations that are behind the cursor: started in the past, or detached because their queue was full.

use super::batch::wanted_by;
use super::table::Table;
use super::{End, READ_BYTES, READ_ENTRIES, Session};
use crate::bus::Error;
use crate::bus::cursor::{self, FillCall, Filled, Room, Routed};
use crate::bus::entry::Entry;
use crate::event::Sequence;
use std::time::Duration;
use tokio::time::Instant;

/// While live events are behind, filling gets at most this share of the time: one part in so many.
const SHARE: u32 = 5;

/// Whose turn it is, and how the time was shared.
#[derive(Default)]
pub struct Fills {
    last: String,
    live: Duration,
    filling: Duration,
}

impl Fills {
    /// Live events took so long.
    pub fn live_took(&mut self, time: Duration) {
        self.live += time;
    }

    /// Whether somebody waits for room.
    pub fn is_waiting(&self, table: &Table) -> bool {
        table.fills().any(|(_, _, live)| live.is_full)
    }

    /// Whether a step would move anything.
    pub fn has_work(&self, table: &Table) -> bool {
        table.fills().any(|(_, _, live)| !live.is_full)
    }

    fn may_run(&mut self, behind: bool) -> bool {
        if !behind {
            (self.live, self.filling) = (Duration::ZERO, Duration::ZERO);
            return true;
        }
        self.filling * (SHARE - 1) <= self.live
    }

    /// The next destination in turn, and every other one at the same position: they share the read.
    fn turn(&mut self, table: &Table) -> Option<(Sequence, Vec<String>)> {
        let ready: Vec<(&str, Sequence)> = table.fills().filter(|(_, _, live)| !live.is_full).map(|(uid, at, _)| (uid, at)).collect();
        let (uid, at) = *ready.iter().find(|(uid, _)| **uid > *self.last).or(ready.first())?;
        self.last = uid.to_owned();
        Some((at, ready.iter().filter(|(_, other)| *other == at).map(|(uid, _)| (*uid).to_owned()).collect()))
    }
}

impl Session<'_> {
    /// One read of the log for one position behind the cursor.
    pub(super) async fn fill_step(&mut self, behind: bool) -> Result<(), End> {
        if !self.fills.may_run(behind) {
            return Ok(());
        }
        let Some((at, uids)) = self.fills.turn(&self.table) else { return Ok(()) };
        let started = Instant::now();
        let entries = cursor::scan(&self.link, self.bus(), at, READ_ENTRIES, READ_BYTES).await?;
        for uid in uids {
            let went_on = self.fill(&uid, at, &entries).await?;
            if !went_on || self.space.is_due() {
                break;
            }
        }
        self.fills.filling += started.elapsed();
        Ok(())
    }

    /// False if the others have to wait: the table was read again, or Redis is full.
    async fn fill(&mut self, uid: &str, expected: Sequence, entries: &[Entry]) -> Result<bool, End> {
        let Some(live) = self.table.get(uid) else { return Ok(true) };
        // the read went past the cursor, or to the end of the log: caught up
        let reached = match entries.last() {
            Some(last) if last.sequence < self.position => last.sequence,
            _ => self.position,
        };
        let mut wanted = wanted_by(entries, uid, live, reached);
        let cut = cut_off(&mut wanted, self.space.limits().bytes);
        let new = if cut { wanted.last().map_or(reached, |entry| entry.sequence) } else { reached };
        let step = FillCall { token: &self.token, uid, expected, new, generation: self.table.generation, entries: &wanted };
        let room = Room { quota: self.space.room(), limit: live.limit };
        let filled = match self.space.is_stuck() {
            true => cursor::fill_beyond_memory(&self.link, self.bus(), &step, room).await,
            false => cursor::fill(&self.link, self.bus(), &step, room).await,
        };
        match filled {
            Ok(Routed::Done(Filled { position, generation })) => {
                self.space.grew(wanted.iter().map(|entry| entry.size()).sum());
                self.table.set_fill(uid, position, generation);
                if position.is_some_and(|position| position < new) {
                    self.detached(uid);
                }
                Ok(true)
            }
            Ok(Routed::Fenced) => Err(End::Fenced),
            Ok(Routed::Stale { .. }) => self.reload_table().await.map(|()| false),
            // live routing makes room; this one waits
            Err(Error::Full(_)) => {
                self.detached(uid);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Counts as dropped what these destinations, behind the cursor, wanted of the events up to `bound`: the bus is about to forget them.
    pub(super) async fn drop_up_to(&mut self, bound: Sequence, whose: impl Fn(&str) -> bool) -> Result<(), End> {
        while let Some((at, uids)) = first_below(&self.table, bound, &whose) {
            self.renew().await?;
            let entries = cursor::scan(&self.link, self.bus(), at, READ_ENTRIES, READ_BYTES).await?;
            let new = match entries.last() {
                Some(last) if last.sequence < bound => last.sequence,
                _ => bound,
            };
            for uid in uids {
                if !self.drop_step(&uid, at, new, &entries).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// False if the table had to be read again.
    async fn drop_step(&mut self, uid: &str, expected: Sequence, new: Sequence, entries: &[Entry]) -> Result<bool, End> {
        let Some(live) = self.table.get(uid) else { return Ok(true) };
        let wanted = wanted_by(entries, uid, live, new);
        let step = FillCall { token: &self.token, uid, expected, new, generation: self.table.generation, entries: &wanted };
        match cursor::fill_drop(&self.link, self.bus(), &step).await? {
            Routed::Done(Filled { position, generation }) => {
                if !wanted.is_empty() {
                    self.space.dropped(wanted.len());
                    let (namespace, name) = &live.name;
                    self.router.metrics.destinations.dropped(namespace, name, wanted.len() as u64);
                }
                self.table.set_fill(uid, position, generation);
                Ok(true)
            }
            Routed::Fenced => Err(End::Fenced),
            Routed::Stale { .. } => self.reload_table().await.map(|()| false),
        }
    }
}

/// Keeps the first entries, as many as make up so many bytes but at least one; true if that is not all.
fn cut_off(entries: &mut Vec<&Entry>, bytes: usize) -> bool {
    let mut sum = 0;
    let fit = entries.iter().take_while(|entry| {
        sum += entry.size();
        sum <= bytes
    });
    let (kept, all) = (fit.count().max(1), entries.len());
    entries.truncate(kept);
    kept < all
}

/// A position below `bound` where destinations wait, and who waits there: they share the read.
fn first_below(table: &Table, bound: Sequence, whose: impl Fn(&str) -> bool) -> Option<(Sequence, Vec<String>)> {
    let (_, at, _) = table.fills().find(|(uid, at, _)| *at < bound && whose(uid))?;
    let there = table.fills().filter(|(uid, other, _)| *other == at && whose(uid));
    Some((at, there.map(|(uid, _, _)| uid.to_owned()).collect()))
}
