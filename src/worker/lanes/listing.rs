//! Where each lane stands: ready, later, or in want of a body. Pure.

use super::{Body, Key, Lane, Lanes, Most, Order};
use std::collections::{BTreeMap, BTreeSet};

/// Where a lane is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// It has nothing to start: empty, blocked, or a request of it is in progress.
    Nowhere,
    /// It may start; its turn. What had trouble comes first.
    Ready(bool, u64),
    /// It may start at that time (milliseconds since the epoch).
    Later(u64, u64),
    /// It could start, but the body of its first event was not kept.
    Lacking(u64),
}

impl Listing {
    pub(super) fn is_later(self) -> bool {
        matches!(self, Listing::Later(..))
    }
}

/// The lists. A turn is given when a lane is put into one, so each waits for those before it and no longer.
#[derive(Debug, Default)]
pub(super) struct Lists {
    turn: u64,
    ready: BTreeMap<(bool, u64), Key>,
    later: BTreeSet<(u64, u64, Key)>,
    lacking: BTreeMap<u64, Key>,
}

impl Lists {
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn first_ready(&self) -> Option<&Key> {
        self.ready.first_key_value().map(|(_, key)| key)
    }

    pub(super) fn lacking(&self) -> impl Iterator<Item = &Key> {
        self.lacking.values()
    }

    pub(super) fn due(&self) -> Option<u64> {
        if self.ready.is_empty() { self.later.first().map(|(due, ..)| *due) } else { Some(0) }
    }

    fn remove(&mut self, listed: Listing, key: &Key) {
        match listed {
            Listing::Nowhere => {}
            Listing::Ready(new, turn) => drop(self.ready.remove(&(new, turn))),
            Listing::Later(due, turn) => drop(self.later.remove(&(due, turn, key.clone()))),
            Listing::Lacking(turn) => drop(self.lacking.remove(&turn)),
        }
    }

    fn add(&mut self, listed: Listing, key: &Key) {
        match listed {
            Listing::Nowhere => {}
            Listing::Ready(new, turn) => drop(self.ready.insert((new, turn), key.clone())),
            Listing::Later(due, turn) => drop(self.later.insert((due, turn, key.clone()))),
            Listing::Lacking(turn) => drop(self.lacking.insert(turn, key.clone())),
        }
    }
}

impl<B: Body> Lanes<B> {
    /// Lists a lane where it belongs now; an empty one is forgotten.
    pub(super) fn list(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        self.lists.remove(lane.listed, key);
        self.lists.turn += 1;
        lane.listed = listing(lane, key, self.order, self.most, self.lists.turn);
        self.lists.add(lane.listed, key);
        // the one that is always there remembers what was delivered last
        if lane.waiting.is_empty() && lane.flying.is_empty() && *key != Key::Common {
            self.blocked -= usize::from(lane.blocked);
            self.lanes.remove(key);
        }
    }

    /// What is due by now becomes ready.
    pub(super) fn promote(&mut self, now: u64) {
        while let Some((_, turn, key)) = self.lists.later.first().filter(|(due, ..)| *due <= now).cloned() {
            self.lists.later.pop_first();
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.listed = startable(lane, &key, turn);
            self.lists.add(lane.listed, &key);
        }
    }
}

fn listing<B: Body>(lane: &Lane<B>, key: &Key, order: Order, most: Most, turn: u64) -> Listing {
    let shared = order == Order::Unordered && *key == Key::Common;
    let Some(first) = lane.waiting.front().filter(|_| !lane.blocked && (shared || lane.flying.is_empty())) else {
        return Listing::Nowhere;
    };
    if first.next > 0 {
        return Listing::Later(first.next, turn);
    }
    if most.wait > 0 && first.attempts == 0 && !first.single && !is_full(lane, most) {
        return Listing::Later(first.since.saturating_add(most.wait), turn);
    }
    startable(lane, key, turn)
}

fn startable<B: Body>(lane: &Lane<B>, key: &Key, turn: u64) -> Listing {
    match lane.waiting.front() {
        Some(first) if first.body.is_none() => Listing::Lacking(turn),
        Some(_) => Listing::Ready(!matches!(key, Key::Event(_)), turn),
        None => Listing::Nowhere,
    }
}

/// Whether waiting longer would make its next batch no larger.
fn is_full<B: Body>(lane: &Lane<B>, most: Most) -> bool {
    let bytes = || lane.waiting.iter().take(most.events).filter_map(|waiting| waiting.body.as_ref()).map(B::weight).sum::<u64>();
    lane.waiting.len() >= most.events || bytes() >= most.bytes
}
