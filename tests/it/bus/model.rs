//! A small model of the scripts: what the counters and the queue of a destination must be after each of them.

use posthorn::event::Sequence;
use posthorn::plan::{BacklogLimit, OnOverflow};
use std::collections::{BTreeMap, BTreeSet};

/// What is recorded of an event in trouble.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    pub n: u32,
    pub open: bool,
    pub solo: bool,
    pub deaths: u32,
}

/// One destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Destination {
    /// False once someone deleted the queue.
    pub has_queue: bool,
    pub queue: BTreeMap<Sequence, u64>,
    pub last: Sequence,
    pub start: Sequence,
    pub fill: Option<Sequence>,
    pub bytes: u64,
    pub routed: u64,
    pub settled: u64,
    pub buried: u64,
    pub dropped: u64,
    pub lost: u64,
    pub failed: u64,
    pub retried: u64,
    pub purged: u64,
    pub streak: u64,
    pub halted: bool,
    pub want: bool,
    pub dead: Vec<Sequence>,
    pub tries: BTreeMap<Sequence, Trial>,
    /// Where the group is.
    pub delivered: Sequence,
    pub pending: BTreeSet<Sequence>,
    /// Pending entries that a foreign consumer has.
    pub foreign: BTreeSet<Sequence>,
}

/// The bus.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub position: Sequence,
    pub generation: u64,
    pub trimmed: Sequence,
    /// Accepted events and their sizes.
    pub log: BTreeMap<Sequence, u64>,
    pub destinations: Vec<Option<Destination>>,
}

/// As many dead letters as are kept, and as many burials in a row as halt.
pub const MAX_DEAD: usize = 3;
pub const LIMIT: u64 = 3;

impl Destination {
    pub fn new(start: Sequence, position: Sequence) -> Destination {
        Destination { has_queue: true, start, last: start, fill: (start < position).then_some(start), ..Destination::default() }
    }

    /// What nobody counted was deleted by someone.
    fn balance(&mut self) {
        let known = self.settled + self.buried + self.dropped + self.lost + self.queue.len() as u64;
        self.lost += self.routed - known;
    }

    fn remake(&mut self, floor: Sequence) {
        self.balance();
        (self.has_queue, self.last, self.bytes, self.delivered) = (true, floor, 0, Sequence::ZERO);
        self.tries.clear();
        self.pending.clear();
        self.foreign.clear();
    }

    fn repair(&mut self, position: Sequence) {
        if !self.has_queue {
            self.remake(self.start.max(self.fill.unwrap_or(position)));
        }
    }

    /// False if it does not fit.
    pub fn append(&mut self, id: Sequence, size: u64, quota: u64, position: Sequence) -> bool {
        if self.has_queue && self.bytes + size > quota && !self.queue.is_empty() && id > self.last {
            return false;
        }
        self.repair(position);
        if id > self.last {
            self.queue.insert(id, size);
            self.last = id;
            self.bytes += size;
            self.routed += 1;
            self.want = false;
        }
        true
    }

    /// The same where the spec has a limit, too.
    pub fn append_within(&mut self, id: Sequence, size: u64, quota: u64, limit: Option<BacklogLimit>, position: Sequence) -> bool {
        let Some(BacklogLimit { max_events, max_bytes, on_overflow }) = limit else { return self.append(id, size, quota, position) };
        let (most_events, most_bytes) = (max_events.unwrap_or(u64::MAX), max_bytes.unwrap_or(u64::MAX));
        if self.queue.is_empty() && (id > self.last || !self.has_queue) {
            self.bytes = 0;
        }
        if (self.queue.len() as u64) < most_events && self.bytes + size <= most_bytes {
            return self.append(id, size, quota, position);
        }
        if on_overflow == OnOverflow::DropNewest || size > most_bytes {
            self.drop_new(id, position);
            return true;
        }
        self.append(id, size, u64::MAX, position);
        while self.queue.len() > 1 && (self.queue.len() as u64 > most_events || self.bytes > most_bytes) {
            let (oldest, size) = self.queue.pop_first().unwrap();
            self.bytes = self.bytes.saturating_sub(size);
            self.forget(oldest);
            self.foreign.remove(&oldest);
            self.dropped += 1;
        }
        true
    }

    pub fn drop_new(&mut self, id: Sequence, position: Sequence) {
        self.repair(position);
        if id > self.last {
            self.last = id;
            self.routed += 1;
            self.dropped += 1;
        }
    }

    pub fn lease(&mut self, position: Sequence) {
        self.repair(position);
        self.balance();
        if !self.foreign.is_empty() {
            let deleted: Vec<_> = self.pending.union(&self.foreign).filter(|id| !self.queue.contains_key(id)).copied().collect();
            self.pending.append(&mut self.foreign);
            deleted.iter().for_each(|id| self.forget(*id));
        }
    }

    fn forget(&mut self, id: Sequence) {
        self.pending.remove(&id);
        self.tries.remove(&id);
    }

    /// Removes an entry; false if it is gone.
    fn take(&mut self, id: Sequence) -> bool {
        let size = self.queue.remove(&id);
        self.bytes = if self.queue.is_empty() { 0 } else { self.bytes.saturating_sub(size.unwrap_or(0)) };
        self.forget(id);
        size.is_some()
    }

    pub fn read(&mut self, after: Sequence, max: usize, holds: bool, position: Sequence) -> Vec<Sequence> {
        self.repair(position);
        let mut found = Vec::new();
        let waiting: Vec<_> = self.pending.range(after.next()..).copied().collect();
        for id in waiting {
            if found.len() == max {
                return found;
            }
            if self.queue.contains_key(&id) {
                found.push(id);
            } else {
                self.forget(id);
            }
        }
        self.read_new(&mut found, max);
        if found.is_empty() && !holds && !self.queue.is_empty() {
            self.delivered = Sequence::ZERO;
            self.read_new(&mut found, max);
        }
        self.want |= found.len() < max;
        found
    }

    fn read_new(&mut self, found: &mut Vec<Sequence>, max: usize) {
        let new: Vec<_> = self.queue.range(self.delivered.next()..).map(|(id, _)| *id).take(max - found.len()).collect();
        for id in new {
            self.delivered = id;
            self.foreign.remove(&id);
            self.pending.insert(id);
            found.push(id);
        }
    }

    /// Deaths; `None` if the event is gone.
    pub fn begin(&mut self, id: Sequence, n: u32, solo: bool, mine: bool) -> Option<u32> {
        self.there(id)?;
        let trial = self.tries.entry(id).or_default();
        trial.deaths += u32::from(trial.open && trial.solo && !mine);
        (trial.n, trial.open, trial.solo) = (n, true, solo);
        Some(trial.deaths)
    }

    pub fn fail(&mut self, id: Sequence, n: u32) -> Option<()> {
        self.there(id)?;
        let trial = self.tries.entry(id).or_default();
        (trial.n, trial.open, trial.solo) = (n, false, false);
        self.failed += 1;
        self.retried += u64::from(n > 1);
        Some(())
    }

    pub fn abort(&mut self, id: Sequence) -> Option<()> {
        self.there(id)?;
        if let Some(trial) = self.tries.get_mut(&id).filter(|trial| trial.open) {
            (trial.n, trial.open, trial.solo) = (trial.n.saturating_sub(1), false, false);
        }
        Some(())
    }

    fn there(&mut self, id: Sequence) -> Option<()> {
        if self.queue.contains_key(&id) {
            return Some(());
        }
        self.forget(id);
        None
    }

    pub fn settle(&mut self, id: Sequence, n: u32) -> u64 {
        let there = u64::from(self.take(id));
        self.settled += there;
        self.retried += u64::from(n > 1);
        (self.streak, self.halted) = (0, false);
        there
    }

    /// What `bury` answers.
    pub fn bury(&mut self, id: Sequence, keep: bool, counts: bool) -> &'static str {
        if self.there(id).is_none() {
            return "gone";
        }
        if counts && self.streak >= LIMIT {
            self.halted = true;
            return "halted";
        }
        self.take(id);
        if keep {
            self.dead.push(id);
            self.buried += 1;
            if self.dead.len() > MAX_DEAD {
                self.dead.remove(0);
                self.purged += 1;
            }
        } else {
            self.dropped += 1;
        }
        self.streak += u64::from(counts);
        if counts && self.streak >= LIMIT {
            self.halted = true;
            return "then halted";
        }
        "done"
    }

    /// Someone deletes the queue.
    pub fn lose_queue(&mut self) {
        self.has_queue = false;
        self.queue.clear();
        self.pending.clear();
        self.foreign.clear();
    }

    /// Someone deletes the group; the next lease makes it again.
    pub fn lose_group(&mut self) {
        self.pending.clear();
        self.foreign.clear();
        self.delivered = Sequence::ZERO;
    }

    /// Its route is made again from its recorded start.
    pub fn recreate(&mut self, trimmed: Sequence, position: Sequence) {
        self.start = self.start.max(trimmed);
        if !self.has_queue {
            self.remake(self.start);
        }
        let reached = self.start.max(self.last);
        if reached < position {
            self.fill = Some(reached);
        }
    }
}
