//! Which queues want which entries, and how that is cut into calls. Pure but for the entry type.

use super::table::Table;
use crate::bus::entry::Entry;
use crate::event::{Attributes, Sequence};
use std::collections::BTreeMap;

/// Most appends in one call of `route`: 2,000 of 1 KiB keep Redis busy for about 17 ms.
const MAX_APPENDS: usize = 2000;
/// Most bytes of entries in one call, each counted once.
const MAX_BYTES: usize = 4 << 20;

/// Entries read from the log, with who wants them.
pub struct Batch {
    entries: Vec<Read>,
    /// uid → positions in `entries`, rising.
    wanted: BTreeMap<String, Vec<usize>>,
}

struct Read {
    entry: Entry,
    attributes: Attributes,
    /// The one destination it is meant for, without filter.
    to: Option<String>,
}

/// One call of `route`, as positions in the batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Slice {
    /// Positions of the entries that somebody wants.
    pub entries: Vec<usize>,
    /// uid → positions in [`Slice::entries`].
    pub queues: BTreeMap<String, Vec<usize>>,
    /// Position of the last entry that this call covers.
    pub end: usize,
    /// The call completes that entry: the cursor may move to it.
    pub complete: bool,
    /// Entries covered that nobody wants.
    pub unmatched: u64,
}

impl Batch {
    /// Decides for each entry who wants it.
    pub fn new(entries: Vec<Entry>, table: &Table) -> Batch {
        let read = |entry: Entry| {
            let to = entry.text("to").map(str::to_owned);
            let attributes = if to.is_some() { Attributes::default() } else { entry.attributes() };
            Read { entry, attributes, to }
        };
        let mut batch = Batch { entries: entries.into_iter().map(read).collect(), wanted: BTreeMap::new() };
        batch.decide_all(table);
        batch
    }

    /// Decides again for every destination.
    pub fn decide_all(&mut self, table: &Table) {
        self.wanted.clear();
        for uid in table.uids() {
            self.decide(uid, table);
        }
    }

    /// Decides again for one destination, whose route has changed.
    pub fn decide(&mut self, uid: &str, table: &Table) {
        let indices: Vec<usize> = match table.live(uid) {
            Some(target) => self.entries.iter().enumerate().filter(|(_, read)| read.is_for(uid, target)).map(|(index, _)| index).collect(),
            None => Vec::new(),
        };
        if indices.is_empty() {
            self.wanted.remove(uid);
        } else {
            self.wanted.insert(uid.to_owned(), indices);
        }
    }

    /// The entry at a position.
    pub fn entry(&self, index: usize) -> &Entry {
        &self.entries[index].entry
    }

    /// Entries in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the entries up to and with a position: they are routed.
    pub fn advance(&mut self, end: usize) {
        let done = end + 1;
        self.entries.drain(..done);
        self.wanted.retain(|_, indices| {
            indices.retain_mut(|index| match index.checked_sub(done) {
                Some(left) => {
                    *index = left;
                    true
                }
                None => false,
            });
            !indices.is_empty()
        });
    }

    /// The next call: as many entries, at most `limit`, as fit; an entry that more than 2,000 queues want is cut into several calls, of which
    /// `done` queues have had theirs.
    pub fn slice(&self, limit: usize, done: usize) -> Slice {
        let count = self.entries.len().min(limit);
        let mut wanting: Vec<Vec<&str>> = vec![Vec::new(); count];
        for (uid, indices) in &self.wanted {
            for index in indices.iter().take_while(|index| **index < count) {
                wanting[*index].push(uid);
            }
        }
        let mut slice = Slice { entries: Vec::new(), queues: BTreeMap::new(), end: 0, complete: true, unmatched: 0 };
        let (mut appends, mut bytes) = (0, 0);
        for (index, uids) in wanting.iter().enumerate() {
            let skip = if index == 0 { done } else { 0 };
            let uids = &uids[skip.min(uids.len())..];
            let size = if uids.is_empty() { 0 } else { self.entries[index].entry.size() };
            if index > 0 && (appends + uids.len() > MAX_APPENDS || bytes + size > MAX_BYTES) {
                break;
            }
            slice.end = index;
            slice.take(index, &uids[..uids.len().min(MAX_APPENDS)], skip);
            slice.complete = uids.len() <= MAX_APPENDS;
            appends += uids.len();
            bytes += size;
            if !slice.complete {
                break;
            }
        }
        slice
    }
}

impl Slice {
    fn take(&mut self, index: usize, uids: &[&str], skipped: usize) {
        if uids.is_empty() {
            self.unmatched += u64::from(skipped == 0);
            return;
        }
        self.entries.push(index);
        for uid in uids {
            self.queues.entry((*uid).to_owned()).or_default().push(self.entries.len() - 1);
        }
    }
}

impl Read {
    fn is_for(&self, uid: &str, target: &super::table::Live) -> bool {
        target.is_above_start(self.entry.sequence)
            && match &self.to {
                Some(to) => to == uid,
                None => target.wants(&self.attributes),
            }
    }
}

/// The entries of a log read that one destination wants, up to a position: for a destination that is behind the cursor.
pub fn wanted_by<'a>(entries: &'a [Entry], uid: &str, target: &super::table::Live, upto: Sequence) -> Vec<&'a Entry> {
    let wants = |entry: &&Entry| {
        entry.sequence <= upto
            && target.is_above_start(entry.sequence)
            && match entry.text("to") {
                Some(to) => to == uid,
                None => target.wants(&entry.attributes()),
            }
    };
    entries.iter().filter(wants).collect()
}
