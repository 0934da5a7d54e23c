//! Which held event may start next. Pure.
//!
//! A lane is what is delivered in order: the whole destination (`Strict`), one value of an attribute (`PerKey`), or nothing (`Unordered`: new
//! events lie in one lane that holds up nobody, and each event that is tried again has one of its own). A lane has one request in progress.
//!
//! Lanes take turns. Bodies are kept only so far: the rest of a lane is held as IDs, and [`Lanes::lacking`] says what to read again.

mod listing;
#[cfg(test)]
mod tests;

use crate::event::Sequence;
use listing::Listing;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Bodies kept of one lane (or twice what a batch may have), and bytes of all bodies.
const BODIES: usize = 256;
const BYTES: usize = 32 << 20;
/// Most events held in `PerKey`, and most that wait for a retry in `Unordered`; then no more are read.
pub const MAX_HELD: usize = 10_000;
const MAX_RETRYING: usize = 1_024;
/// Events read ahead, or twice what a batch may have.
const AHEAD: usize = 64;
/// Bodies read again at once, or as many as a batch may have.
const AGAIN: usize = 64;

/// Bytes of a batch beside its events: n events have n − 1 commas and two brackets.
const ENDS: u64 = 1;

/// What is delivered in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Everything.
    Strict,
    /// What has the same key.
    PerKey,
    /// Nothing.
    Unordered,
}

/// Most of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Events.
    pub events: usize,
    /// Bytes of the body; a single larger event goes alone.
    pub bytes: u64,
    /// How long the first event waits for others, milliseconds.
    pub wait: u64,
}

impl Most {
    /// One event a request.
    pub const ONE: Most = Most { events: 1, bytes: 0, wait: 0 };
}

/// Names a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The whole destination; in `PerKey` the events without the attribute, in `Unordered` the new ones.
    Common,
    /// The events with this value of the attribute.
    Value(Arc<str>),
    /// One event that had trouble, in `Unordered`.
    Event(Sequence),
}

/// What is known of a held event.
pub trait Body {
    /// Its place in the order.
    fn id(&self) -> Sequence;
    /// When it may be tried, milliseconds since the epoch; 0 for now.
    fn next(&self) -> u64;
    /// Attempts made.
    fn attempts(&self) -> u32;
    /// Memory that it takes, bytes.
    fn size(&self) -> usize;
    /// Bytes that it adds to a batch.
    fn weight(&self) -> u64;
    /// It must not share a request.
    fn is_single(&self) -> bool;
    /// It must not share a request from now on.
    fn make_single(&mut self);
    /// It has all its attempts again, and may be tried at once.
    fn start_over(&mut self);
}

/// An event that waits.
#[derive(Debug)]
struct Waiting<B> {
    id: Sequence,
    next: u64,
    attempts: u32,
    single: bool,
    /// When it was read, milliseconds since the epoch.
    since: u64,
    body: Option<B>,
}

#[derive(Debug)]
struct Lane<B> {
    waiting: VecDeque<Waiting<B>>,
    /// Being sent, with the attempts made before.
    flying: Vec<(Sequence, u32)>,
    blocked: bool,
    listed: Listing,
    /// The last one that was delivered.
    done: Sequence,
}

impl<B> Default for Lane<B> {
    fn default() -> Lane<B> {
        Lane { waiting: VecDeque::new(), flying: Vec::new(), blocked: false, listed: Listing::Nowhere, done: Sequence::ZERO }
    }
}

/// An event that a person named.
#[derive(Debug, PartialEq, Eq)]
pub enum Named<B> {
    /// It was the first of its lane and is taken.
    Taken(B),
    /// It is the first of its lane; its body is read again.
    Lacking,
    /// Not the first of a lane, or not waiting.
    Not,
}

/// See the module.
#[derive(Debug)]
pub struct Lanes<B> {
    order: Order,
    /// Most requests in progress.
    most_flying: usize,
    most: Most,
    lanes: HashMap<Key, Lane<B>>,
    /// Every event held, waiting or being sent.
    held: BTreeMap<Sequence, Key>,
    lists: listing::Lists,
    flying: usize,
    blocked: usize,
    bytes: usize,
    /// An event whose body is wanted though its lane does not move.
    wanted: Option<Sequence>,
}

impl<B: Body> Lanes<B> {
    /// Empty.
    pub fn new(order: Order, most_flying: usize, most: Most) -> Lanes<B> {
        let (lanes, held, lists) = (HashMap::new(), BTreeMap::new(), listing::Lists::default());
        Lanes { order, most_flying, most, lanes, held, lists, flying: 0, blocked: 0, bytes: 0, wanted: None }
    }

    /// Events held, those being sent included.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Events being sent.
    pub fn flying(&self) -> usize {
        self.flying
    }

    /// Most events being sent.
    pub fn most_flying(&self) -> usize {
        self.most_flying * self.most.events
    }

    /// Whether a lane waits for a person.
    pub fn is_blocked(&self) -> bool {
        self.blocked > 0
    }

    /// Whether it is held.
    pub fn contains(&self, id: Sequence) -> bool {
        self.held.contains_key(&id)
    }

    /// The oldest event held, and the attempts made of it.
    pub fn oldest(&self) -> Option<(Sequence, u32)> {
        let (id, key) = self.held.first_key_value()?;
        let lane = self.lanes.get(key)?;
        let first = lane.waiting.front().map(|first| (first.id, first.attempts));
        lane.flying.iter().copied().chain(first).find(|(other, _)| other == id)
    }

    /// How many more events may be read.
    pub fn room(&self) -> usize {
        let (ahead, held) = (AHEAD.max(2 * self.most.events), self.held.len());
        let common = self.lanes.get(&Key::Common).map_or(0, |lane| lane.waiting.len());
        match self.order {
            Order::Strict if common > ahead / 2 => 0,
            Order::Strict => ahead - common,
            Order::Unordered if common > ahead / 2 || self.retrying() >= MAX_RETRYING => 0,
            Order::Unordered => ahead - common,
            // more of them only help where a request could start
            Order::PerKey if self.lists.ready() > ahead / 2 || self.is_full() => 0,
            Order::PerKey if self.flying >= self.most_flying() && held - self.flying > ahead / 2 => 0,
            Order::PerKey => ahead.min(MAX_HELD - held),
        }
    }

    /// Whether so many are held that no more are read.
    pub fn is_full(&self) -> bool {
        self.order == Order::PerKey && self.held.len() + AHEAD / 2 > MAX_HELD
    }

    fn retrying(&self) -> usize {
        self.lanes.len() - usize::from(self.lanes.contains_key(&Key::Common))
    }

    /// Takes an event that was read into its place; false if it was there.
    pub fn insert(&mut self, now: u64, key: Key, body: B) -> bool {
        let id = body.id();
        if self.held.contains_key(&id) {
            return false;
        }
        let trouble = body.attempts() > 0 || body.next() > 0 || body.is_single();
        let key = if self.order == Order::Unordered && trouble { Key::Event(id) } else { key };
        self.held.insert(id, key.clone());
        self.place(&key, now, body);
        true
    }

    /// The event that was sent waits again, as its body says. `now`: for a batch that waits for others.
    pub fn put_back(&mut self, now: u64, body: B) {
        let id = body.id();
        let Some(mut key) = self.land(id) else { return };
        if self.order == Order::Unordered && key == Key::Common {
            let common = std::mem::replace(&mut key, Key::Event(id));
            self.held.insert(id, key.clone());
            self.list(&common);
        }
        self.place(&key, now, body);
        // it may be the last one of a batch
        self.list(&key);
    }

    /// The event that was sent is delivered, buried or gone.
    pub fn finish(&mut self, id: Sequence, delivered: bool) {
        let Some(key) = self.land(id) else { return };
        self.held.remove(&id);
        if let Some(lane) = self.lanes.get_mut(&key).filter(|_| delivered) {
            lane.done = lane.done.max(id);
        }
        self.list(&key);
    }

    /// The lane of this event waits for a person.
    pub fn block(&mut self, id: Sequence) {
        let Some(key) = self.held.get(&id).cloned() else { return };
        if let Some(lane) = self.lanes.get_mut(&key).filter(|lane| !lane.blocked) {
            lane.blocked = true;
            self.blocked += 1;
        }
        self.list(&key);
    }

    /// Whether it would be delivered behind a later one of its lane.
    pub fn is_late(&self, id: Sequence) -> bool {
        let lane = self.held.get(&id).and_then(|key| self.lanes.get(key));
        self.order != Order::Unordered && lane.is_some_and(|lane| lane.done >= id)
    }

    /// Takes what makes up the next request: from one lane, in order; empty if nothing may start.
    pub fn start(&mut self, now: u64) -> Vec<B> {
        let mut batch = Vec::new();
        self.promote(now);
        while let Some(key) = self.lists.first_ready().cloned() {
            self.take(&key, now, &mut batch);
            // events of their own lanes that are tried again may share a request
            let more = matches!(key, Key::Event(_)) && self.fits_another(&batch);
            if !more || !self.lists.first_ready().is_some_and(|key| matches!(key, Key::Event(_)) && self.may_join(key, now, &batch)) {
                break;
            }
        }
        batch
    }

    /// Takes the oldest event that waits and is not blocked, alone. Nothing else may be in progress.
    pub fn start_oldest(&mut self, now: u64) -> Option<B> {
        let (id, next) = self.oldest_free()?;
        if next > now {
            return None;
        }
        match self.take_named(id) {
            Named::Taken(body) => Some(body),
            Named::Lacking | Named::Not => None,
        }
    }

    /// When [`Lanes::start`] has something.
    pub fn due(&self) -> Option<u64> {
        self.lists.due()
    }

    /// When [`Lanes::start_oldest`] has something.
    pub fn oldest_due(&self) -> Option<u64> {
        let (id, next) = self.oldest_free()?;
        (self.wanted != Some(id)).then_some(next)
    }

    fn oldest_free(&self) -> Option<(Sequence, u64)> {
        let free = self.held.iter().filter_map(|(id, key)| {
            let lane = self.lanes.get(key).filter(|lane| !lane.blocked && lane.flying.is_empty())?;
            lane.waiting.front().filter(|first| first.id == *id).map(|first| (*id, first.next))
        });
        free.into_iter().next()
    }

    /// Takes this event if it is the first of a lane with nothing in progress; in `Unordered` any that waits.
    pub fn take_named(&mut self, id: Sequence) -> Named<B> {
        let Some(key) = self.held.get(&id).cloned() else { return Named::Not };
        let Some(lane) = self.lanes.get_mut(&key) else { return Named::Not };
        let Ok(place) = lane.waiting.binary_search_by_key(&id, |waiting| waiting.id) else { return Named::Not };
        if self.order != Order::Unordered && (place > 0 || !lane.flying.is_empty()) {
            return Named::Not;
        }
        let Some(body) = lane.waiting[place].body.take() else {
            self.wanted = Some(id);
            return Named::Lacking;
        };
        lane.waiting.remove(place);
        if std::mem::take(&mut lane.blocked) {
            self.blocked -= 1;
        }
        lane.flying.push((id, body.attempts()));
        self.flying += 1;
        self.bytes -= body.size();
        self.list(&key);
        Named::Taken(body)
    }

    /// First events of lanes that wait for a retry or for a person.
    pub fn troubled(&self) -> Vec<Sequence> {
        let heads = self.lanes.values().filter_map(|lane| Some((lane, lane.waiting.front()?)));
        let troubled = heads.filter(|(lane, head)| lane.blocked || head.attempts > 0 || head.next > 0);
        troubled.map(|(_, head)| head.id).collect()
    }

    /// The first events of all lanes have all their attempts again.
    pub fn start_over(&mut self) {
        let keys: Vec<Key> = self.lanes.keys().cloned().collect();
        for key in keys {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.blocked = false;
            if let Some(head) = lane.waiting.front_mut() {
                (head.next, head.attempts) = (0, 0);
                head.body.iter_mut().for_each(B::start_over);
            }
            self.list(&key);
        }
        self.blocked = 0;
    }

    /// Events whose bodies are needed next.
    pub fn lacking(&self) -> Vec<Sequence> {
        let lanes = self.lists.lacking().filter_map(|key| self.lanes.get(key));
        let missing = lanes.flat_map(|lane| lane.waiting.iter().take_while(|waiting| waiting.body.is_none()).map(|waiting| waiting.id));
        self.wanted.into_iter().chain(missing).take(AGAIN.max(self.most.events)).collect()
    }

    /// First events of lanes that wait for a person, at most so many.
    pub fn blocked(&self, most: usize) -> Vec<Sequence> {
        if self.blocked == 0 {
            return Vec::new();
        }
        let blocked = self.lanes.values().filter(|lane| lane.blocked);
        blocked.filter_map(|lane| lane.waiting.front()).map(|first| first.id).take(most).collect()
    }

    /// The body of an event was read again; `None`: it is no longer in the queue.
    pub fn restore(&mut self, id: Sequence, body: Option<B>) {
        self.wanted = self.wanted.filter(|wanted| *wanted != id);
        let Some(key) = self.held.get(&id).cloned() else { return };
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let Ok(place) = lane.waiting.binary_search_by_key(&id, |waiting| waiting.id) else { return };
        match body {
            Some(mut body) if lane.waiting[place].body.is_none() => {
                if lane.waiting[place].single {
                    body.make_single();
                }
                self.bytes += body.size();
                lane.waiting[place].body = Some(body);
            }
            Some(_) => {}
            None => {
                let body = lane.waiting.remove(place).and_then(|gone| gone.body);
                self.bytes -= body.map_or(0, |body| body.size());
                self.held.remove(&id);
                if place == 0 && std::mem::take(&mut lane.blocked) {
                    self.blocked -= 1;
                }
            }
        }
        self.list(&key);
    }

    /// It is sent no longer; its lane.
    fn land(&mut self, id: Sequence) -> Option<Key> {
        let key = self.held.get(&id)?.clone();
        let lane = self.lanes.get_mut(&key)?;
        let place = lane.flying.iter().position(|(flying, _)| *flying == id)?;
        lane.flying.swap_remove(place);
        self.flying -= 1;
        Some(key)
    }

    fn place(&mut self, key: &Key, now: u64, body: B) {
        let (id, size) = (body.id(), body.size());
        let lane = self.lanes.entry(key.clone()).or_default();
        let keep = lane.waiting.len() < BODIES.max(2 * self.most.events) && self.bytes + size <= BYTES;
        let waiting =
            Waiting { id, next: body.next(), attempts: body.attempts(), single: body.is_single(), since: now, body: keep.then_some(body) };
        self.bytes += if keep { size } else { 0 };
        let place = lane.waiting.partition_point(|other| other.id < id);
        lane.waiting.insert(place, waiting);
        if place == 0 || lane.listed.is_later() {
            self.list(key);
        }
    }

    fn take(&mut self, key: &Key, now: u64, batch: &mut Vec<B>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let mut bytes = ENDS + batch.iter().map(B::weight).sum::<u64>();
        while let Some(first) = lane.waiting.front() {
            let Some(body) = &first.body else { break };
            let alone = first.single || body.is_single() || batch.first().is_some_and(B::is_single);
            let joins = !alone && batch.len() < self.most.events && bytes + body.weight() <= self.most.bytes && first.next <= now;
            if !batch.is_empty() && !joins {
                break;
            }
            let Some(body) = lane.waiting.pop_front().and_then(|first| first.body) else { break };
            (self.bytes, bytes) = (self.bytes - body.size(), bytes + body.weight());
            lane.flying.push((body.id(), body.attempts()));
            self.flying += 1;
            batch.push(body);
        }
        self.list(key);
    }

    fn fits_another(&self, batch: &[B]) -> bool {
        batch.len() < self.most.events && !batch.first().is_some_and(B::is_single)
    }

    fn may_join(&self, key: &Key, now: u64, batch: &[B]) -> bool {
        let bytes = ENDS + batch.iter().map(B::weight).sum::<u64>();
        let first = self.lanes.get(key).and_then(|lane| lane.waiting.front());
        let body = first.filter(|first| !first.single && first.next <= now).and_then(|first| first.body.as_ref());
        body.is_some_and(|body| !body.is_single() && bytes + body.weight() <= self.most.bytes)
    }
}
