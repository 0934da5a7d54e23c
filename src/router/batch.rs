//! Which queues want which entries, and how that is cut into calls. Pure but for the entry type.

use super::table::{Live, Table};
use crate::bus::entry::Entry;
use crate::event::{Attributes, Sequence};
use crate::filter::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries read from the log, with who wants them.
pub struct Batch {
    entries: Vec<Read>,
}

struct Read {
    entry: Entry,
    subject: Subject,
    /// The one destination it is meant for, without filter.
    to: Option<String>,
    /// uids of those who want it and have not had it yet, rising.
    wanting: Vec<Arc<str>>,
    /// A call has given it to some already.
    begun: bool,
}

/// Most that one call of `route` takes. A single append is never too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: usize,
    /// Appends: an entry that three queues want counts three times.
    pub appends: usize,
    /// Bytes appended.
    pub bytes: usize,
}

/// One call of `route`, as positions in the batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Slice {
    /// Positions of the entries that somebody wants.
    pub entries: Vec<usize>,
    /// uid → positions in [`Slice::entries`].
    pub queues: BTreeMap<Arc<str>, Vec<usize>>,
    /// Position of the last entry that this call covers.
    pub end: usize,
    /// The call completes that entry: the cursor may move to it.
    pub complete: bool,
    /// Entries covered that nobody wants.
    pub unmatched: u64,
    /// Bytes that it appends.
    pub bytes: usize,
}

impl Limits {
    /// 2,000 appends of 1 KiB keep Redis busy for about 17 ms.
    pub const CALL: Limits = Limits { entries: usize::MAX, appends: 2000, bytes: 4 << 20 };

    /// A single append.
    pub const ONE: Limits = Limits { entries: 1, appends: 1, bytes: 1 };

    /// Half of them, of a batch of so many entries.
    pub fn halved(self, entries: usize) -> Limits {
        let half = |value: usize| (value / 2).max(1);
        Limits { entries: half(self.entries.min(entries)), appends: half(self.appends), bytes: half(self.bytes) }
    }

    /// The smaller of each.
    pub fn min(self, other: Limits) -> Limits {
        Limits { entries: self.entries.min(other.entries), appends: self.appends.min(other.appends), bytes: self.bytes.min(other.bytes) }
    }

    /// How many queues an entry of this size may go to.
    fn width(self, size: usize) -> usize {
        self.appends.min(self.bytes / size.max(1)).max(1)
    }
}

impl Batch {
    /// Decides for each entry who wants it.
    pub fn new(entries: Vec<Entry>, table: &Table) -> Batch {
        let read = |entry: Entry| {
            let to = entry.text("to").map(str::to_owned);
            let subject = if to.is_some() { Subject::of_attributes(Attributes::default()) } else { entry.subject() };
            Read { entry, subject, to, wanting: Vec::new(), begun: false }
        };
        let mut batch = Batch { entries: entries.into_iter().map(read).collect() };
        batch.decide_all(table);
        batch
    }

    /// Decides again for every destination.
    pub fn decide_all(&mut self, table: &Table) {
        self.entries.iter_mut().for_each(|read| read.wanting.clear());
        for (uid, target) in table.all().filter(|(_, target)| target.fill.is_none()) {
            let name: Arc<str> = Arc::from(uid);
            for read in &mut self.entries {
                if read.is_for(uid, target) {
                    read.wanting.push(Arc::clone(&name));
                }
            }
        }
    }

    /// Decides again for one destination, whose route has changed.
    pub fn decide(&mut self, uid: &str, table: &Table) {
        let (target, name) = (table.live(uid), Arc::from(uid));
        for read in &mut self.entries {
            let wants = target.is_some_and(|target| read.is_for(uid, target));
            match (read.wanting.binary_search(&name), wants) {
                (Ok(at), false) => drop(read.wanting.remove(at)),
                (Err(at), true) => read.wanting.insert(at, Arc::clone(&name)),
                _ => {}
            }
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

    /// The next call: as many entries as fit; an entry that more queues want than fit is cut into several calls.
    pub fn slice(&self, limits: Limits) -> Slice {
        let mut slice = Slice { entries: Vec::new(), queues: BTreeMap::new(), end: 0, complete: true, unmatched: 0, bytes: 0 };
        let mut appends = 0;
        for (index, read) in self.entries.iter().enumerate().take(limits.entries) {
            let (size, uids) = (read.entry.size(), &read.wanting);
            if index > 0 && (appends + uids.len() > limits.appends || slice.bytes + uids.len() * size > limits.bytes) {
                break;
            }
            let given = uids.len().min(limits.width(size));
            slice.take(index, read, given);
            slice.complete = given == uids.len();
            appends += given;
            if !slice.complete {
                break;
            }
        }
        slice
    }

    /// Forgets what a call has done.
    pub fn advance(&mut self, slice: &Slice) {
        if slice.complete {
            self.entries.drain(..=slice.end);
        } else if let Some(first) = self.entries.first_mut() {
            first.wanting.drain(..slice.queues.len());
            first.begun = true;
        }
    }
}

impl Slice {
    /// Covers an entry, and gives it to so many of those who want it.
    fn take(&mut self, index: usize, read: &Read, given: usize) {
        self.end = index;
        if read.wanting.is_empty() {
            self.unmatched += u64::from(!read.begun);
            return;
        }
        self.entries.push(index);
        self.bytes += given * read.entry.size();
        for uid in &read.wanting[..given] {
            self.queues.entry(Arc::clone(uid)).or_default().push(self.entries.len() - 1);
        }
    }
}

impl Read {
    fn is_for(&self, uid: &str, target: &Live) -> bool {
        target.is_above_start(self.entry.sequence)
            && match &self.to {
                Some(to) => to == uid,
                None => target.wants(&self.subject),
            }
    }
}

/// The entries of a log read that one destination wants, up to a position: for a destination that is behind the cursor.
pub fn wanted_by<'a>(entries: &'a [Entry], uid: &str, target: &Live, upto: Sequence) -> Vec<&'a Entry> {
    let wants = |entry: &&Entry| {
        entry.sequence <= upto
            && target.is_above_start(entry.sequence)
            && match entry.text("to") {
                Some(to) => to == uid,
                None => target.wants(&entry.subject()),
            }
    };
    entries.iter().filter(wants).collect()
}

#[cfg(test)]
mod tests;
