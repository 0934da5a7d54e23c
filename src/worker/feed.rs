//! What a destination has read ahead, what it has yet to settle, and the lease that entitles it to both.
//!
//! Nothing here waits for Redis between two events: reading ahead, settling and renewing go on while a request is under way.

use super::clock::{self, RedisClock};
use super::held::Held;
use super::lanes::{Key, Lanes, Most, Order};
use crate::bus::lease::{MARGIN, Renewed, TTL};
use crate::bus::queue::{Answered, Owed, Settled, Tenure};
use crate::bus::routing::Ask;
use crate::bus::{Error, Supervisor};
use crate::event::Sequence;
use crate::event::json;
use crate::failpoint;
use crate::plan::{Format, Ordering, Plan, Sink};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Read ahead at once, about; where many events make one request, so much for each.
const AHEAD_BYTES: usize = 256 << 10;
/// Successes that a crash may repeat: so many, or twice as many as may be sent at once, and none older than this.
const UNSETTLED: usize = 64;
const UNSETTLED_AGE: Duration = Duration::from_secs(5);
/// While requests follow each other, so many successes or so much time make one settlement: one for each would double the trips to Redis.
const SETTLE_AT: usize = 16;
/// Most in one settlement.
const SETTLE_MOST: usize = 5000;
const SETTLE_AFTER: Duration = Duration::from_millis(5);
/// How often the lease is renewed, which also tells of a missed wake-up or a request of a person.
const LOOK: Duration = Duration::from_secs(1);

/// What a lane hears while it works or waits.
#[derive(Debug)]
pub enum News {
    /// Something went on: look again.
    Progress,
    /// A person asks for something; answer with the nonce.
    Asked(Ask, String),
    /// The tenure is over.
    Lost(String),
}

/// How long replicas are waited for before it is asked again.
pub const BARRIER: Duration = Duration::from_secs(1);

/// What must be confirmed, and by whom: nothing is sent before so many replicas have what was read and buried, else a failover takes back a
/// burial that a receiver already saw past.
pub struct Barrier {
    /// The connection for it.
    pub links: Supervisor,
    /// Replicas that must have confirmed.
    pub replicas: u32,
}

/// How a plan wants its events: in which lanes, in which requests.
struct Shape {
    /// `PerKey`: the attribute that says the lane.
    key: Option<String>,
    /// Requests are batches.
    batch: bool,
    /// Bytes read at once, about.
    bytes: usize,
}

impl Shape {
    fn of(plan: &Plan) -> (Shape, Lanes<Held>) {
        let (order, key) = match &plan.ordering {
            Ordering::Strict => (Order::Strict, None),
            Ordering::PerKey { key_attribute, .. } => (Order::PerKey, Some(key_attribute.clone())),
            Ordering::Unordered { .. } => (Order::Unordered, None),
        };
        let Sink::Http(http) = &plan.sink;
        let most = http.batch.filter(|_| http.format == Format::Batch).map_or(Most::ONE, |batch| Most {
            events: batch.max_events.max(1),
            bytes: batch.max_bytes,
            wait: u64::try_from(batch.max_wait.as_millis()).unwrap_or(u64::MAX),
        });
        let bytes = AHEAD_BYTES.max(usize::try_from(most.bytes).unwrap_or(usize::MAX));
        (Shape { key, batch: http.format == Format::Batch, bytes }, Lanes::new(order, plan.ordering.max_in_flight(), most))
    }

    fn key(&self, held: &Held) -> Key {
        let value = self.key.as_ref().and_then(|name| held.event.as_ref().ok()?.attributes.get(name));
        value.map_or(Key::Common, |value| Key::Value(value.into()))
    }

    /// What it adds to a batch: a bracket of the whole or a comma goes with each. One that cannot be encoded goes alone, and fails alone.
    fn weigh(&self, held: &mut Held) {
        let Some(event) = held.event.as_ref().ok().filter(|_| self.batch) else { return };
        match json::structured(event, held.id) {
            Ok(body) => held.weight = body.len() as u64 + 1,
            Err(_) => held.single = true,
        }
    }
}

/// Entries that were read again, and those that are gone.
type Fetched = Answered<(Vec<Owed>, Vec<Sequence>)>;

type Pending<T> = Option<BoxFuture<'static, Result<T, Error>>>;

/// See the module.
pub struct Feed {
    tenure: Tenure,
    wake: Arc<Notify>,
    /// What is held.
    pub lanes: Lanes<Held>,
    shape: Shape,
    after: Sequence,
    /// What was read so far had been read before.
    pending_until: Sequence,
    /// There is or may be more to read.
    more: bool,
    /// Events asked for at once.
    asked: usize,
    reading: Pending<Answered<Vec<Owed>>>,
    fetching: Pending<Fetched>,
    /// So many were held after the last read that no more are.
    full: bool,
    unsettled: Vec<Settled>,
    unsettled_since: Option<Instant>,
    flushing: bool,
    settling: Pending<Answered<u64>>,
    in_settle: Vec<Sequence>,
    settle_since: Option<Instant>,
    renewing: Pending<Option<Renewed>>,
    renewal_sent: (Instant, Duration),
    renew_at: Instant,
    /// Until when the lease is surely ours: for timers, and by the boot clock.
    until: (Instant, Duration),
    clock: RedisClock,
    backlog: u64,
    barrier: Option<Barrier>,
    /// Something is not yet known to be on the replicas.
    unconfirmed: bool,
    confirming: Pending<Option<bool>>,
}

impl Feed {
    /// A feed of a queue whose lease was asked for at `asked` (timers' clock, boot clock).
    pub fn new(plan: &Plan, tenure: Tenure, wake: Arc<Notify>, asked: (Instant, Duration), clock: RedisClock) -> Feed {
        let (shape, lanes) = Shape::of(plan);
        Feed {
            tenure,
            wake,
            lanes,
            shape,
            after: Sequence::ZERO,
            pending_until: Sequence::ZERO,
            more: true,
            asked: 0,
            reading: None,
            fetching: None,
            full: false,
            unsettled: Vec::new(),
            unsettled_since: None,
            flushing: false,
            settling: None,
            in_settle: Vec::new(),
            settle_since: None,
            renewing: None,
            renewal_sent: asked,
            renew_at: Instant::now(),
            until: lasts(asked),
            clock,
            backlog: 0,
            barrier: None,
            unconfirmed: false,
            confirming: None,
        }
    }

    /// Nothing is sent before the replicas have confirmed.
    pub fn with_barrier(self, barrier: Option<Barrier>) -> Feed {
        Feed { barrier, ..self }
    }

    /// The queue was changed in a way that the replicas must have before anything later is sent.
    fn unconfirm(&mut self) {
        self.unconfirmed = self.barrier.is_some();
    }

    /// The tenure, for changes that are awaited.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// The clock of Redis.
    pub fn clock(&self) -> RedisClock {
        self.clock
    }

    /// The event that was sent is delivered.
    pub fn settle(&mut self, settled: Settled) {
        self.lanes.finish(settled.id, true);
        self.unsettled.push(settled);
        self.unsettled_since.get_or_insert_with(Instant::now);
        self.backlog = self.backlog.saturating_sub(1);
    }

    /// The event that was sent waits again.
    pub fn put_back(&mut self, held: Held) {
        self.lanes.put_back(self.clock.now(), held);
    }

    /// The event that was sent is gone, buried or dropped: replicas must know before a receiver sees past it.
    pub fn forget(&mut self, id: Sequence) {
        self.lanes.finish(id, false);
        self.unconfirm();
    }

    /// Events that wait, as far as known.
    pub fn backlog(&self) -> u64 {
        self.backlog.max(self.lanes.len() as u64)
    }

    /// Whether more wait than are held, and no more are read.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether something may be sent: the lease is ours, and the replicas have what was read.
    pub fn may_send(&self) -> bool {
        clock::boot() < self.until.1 && !self.unconfirmed && self.confirming.is_none()
    }

    /// Whether a request may start: something may be sent, and the window of unsettled successes is open.
    pub fn may_start(&self) -> bool {
        let old = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > UNSETTLED_AGE);
        self.may_send()
            && self.unsettled.len() + self.in_settle.len() + self.lanes.flying() < UNSETTLED.max(2 * self.lanes.most_flying())
            && !old(self.unsettled_since)
            && !old(self.settle_since)
    }

    /// Waits until every success is settled.
    ///
    /// # Errors
    /// Why the tenure is over.
    pub async fn flush(&mut self) -> Result<(), String> {
        self.flushing = true;
        while self.settling.is_some() || !self.unsettled.is_empty() {
            if let News::Lost(why) = self.news().await {
                return Err(why);
            }
        }
        self.flushing = false;
        Ok(())
    }

    /// Goes on with everything that needs no decision until there is something to tell.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn news(&mut self) -> News {
        loop {
            self.start();
            let timer = tokio::time::sleep_until(self.timer());
            tokio::select! {
                biased;
                // before what was settled after it: an event that was read is known as held
                answer = ready(&mut self.reading) => {
                    self.reading = None;
                    return self.read(answer);
                }
                answer = ready(&mut self.fetching) => {
                    self.fetching = None;
                    return self.fetched(answer);
                }
                answer = ready(&mut self.settling) => {
                    self.settling = None;
                    return self.settled(answer);
                }
                answer = ready(&mut self.renewing) => {
                    self.renewing = None;
                    return self.renewed(answer);
                }
                answer = ready(&mut self.confirming) => {
                    self.confirming = None;
                    return self.confirmed(answer);
                }
                () = self.wake.notified() => self.woken(),
                () = timer => if Instant::now() >= self.until.0 {
                    return News::Lost("the lease could not be renewed in time".to_owned());
                },
                () = self.tenure.link.closed() => return News::Lost("the connection ended".to_owned()),
            }
        }
    }

    fn start(&mut self) {
        if self.settling.is_none() && self.settle_at().is_some_and(|at| at <= Instant::now()) {
            let rest = self.unsettled.split_off(self.unsettled.len().min(SETTLE_MOST));
            let batch = std::mem::replace(&mut self.unsettled, rest);
            self.in_settle = batch.iter().map(|settled| settled.id).collect();
            self.settle_since = self.unsettled_since;
            if self.unsettled.is_empty() {
                self.unsettled_since = None;
            }
            let tenure = self.tenure.clone();
            self.settling = Some(async move { tenure.settle(&batch).await }.boxed());
        }
        self.read_ahead();
        self.fetch();
        if self.renewing.is_none() && Instant::now() >= self.renew_at {
            self.renewal_sent = (Instant::now(), clock::boot());
            self.renew_at = self.renewal_sent.0 + LOOK;
            let tenure = self.tenure.clone();
            self.renewing = Some(async move { tenure.renew().await }.boxed());
        }
        self.confirm();
    }

    fn read_ahead(&mut self) {
        let max = if self.reading.is_none() && self.more { self.lanes.room() } else { 0 };
        if max > 0 {
            self.more = false;
            self.asked = max;
            let (tenure, after, bytes, held) = (self.tenure.clone(), self.after, self.shape.bytes, self.held());
            self.reading = Some(async move { tenure.read(after, max, bytes, held).await }.boxed());
        }
    }

    /// Reads bodies again that were not kept.
    fn fetch(&mut self) {
        let ids = if self.fetching.is_none() { self.lanes.lacking() } else { Vec::new() };
        if !ids.is_empty() {
            let (tenure, bytes) = (self.tenure.clone(), self.shape.bytes);
            self.fetching = Some(async move { tenure.fetch(&ids, bytes).await }.boxed());
        }
    }

    /// Asks the replicas on a connection of its own; waits for that connection, and a moment where it fails.
    fn confirm(&mut self) {
        let Some(Barrier { links, replicas }) = &self.barrier else { return };
        if !self.unconfirmed || self.confirming.is_some() {
            return;
        }
        self.unconfirmed = false;
        let (tenure, links, replicas) = (self.tenure.clone(), links.clone(), *replicas);
        let ask = async move {
            let met = tenure.barrier(&links.link().await, replicas, BARRIER).await.unwrap_or(Some(false));
            if met == Some(false) {
                tokio::time::sleep(BARRIER / 10).await;
            }
            Ok(met)
        };
        self.confirming = Some(ask.boxed());
    }

    fn confirmed(&mut self, answer: Result<Option<bool>, Error>) -> News {
        match answer {
            Ok(Some(true)) => News::Progress,
            Ok(None) => fenced(),
            // not met: again, and nothing is sent meanwhile
            Ok(Some(false)) | Err(_) => {
                self.unconfirmed = true;
                News::Progress
            }
        }
    }

    /// When the successes so far are settled: at once where nothing is sent, so that what is seen from outside is exact.
    fn settle_at(&self) -> Option<Instant> {
        let since = self.unsettled_since?;
        let now = self.lanes.flying() == 0 || self.flushing || self.unsettled.len() >= SETTLE_AT;
        Some(if now { since } else { since + SETTLE_AFTER })
    }

    /// The next time to look.
    fn timer(&self) -> Instant {
        let settle = if self.settling.is_none() { self.settle_at() } else { None };
        let renew = self.renewing.is_none().then_some(self.renew_at);
        [settle, renew, Some(self.until.0)].into_iter().flatten().min().unwrap_or(self.until.0)
    }

    fn held(&self) -> usize {
        self.lanes.len() + self.unsettled.len() + self.in_settle.len()
    }

    /// Whether an event is delivered and not yet settled.
    fn is_delivered(&self, id: Sequence) -> bool {
        self.in_settle.contains(&id) || self.unsettled.iter().any(|settled| settled.id == id)
    }

    fn held_of(&mut self, owed: Owed) -> Held {
        let mut held = Held::new(owed);
        held.counted |= held.id <= self.pending_until;
        self.shape.weigh(&mut held);
        held
    }

    /// Takes an event that was read into its place. One that is held already comes again where someone moved the group.
    fn hold(&mut self, owed: Owed) {
        let id = owed.entry.sequence;
        // what is above all that was read is new
        let known = id <= self.after && (self.lanes.contains(id) || self.is_delivered(id));
        self.after = self.after.max(id);
        if owed.pending {
            self.pending_until = self.pending_until.max(id);
        }
        if !known {
            let held = self.held_of(owed);
            self.lanes.insert(self.clock.now(), self.shape.key(&held), held);
        }
    }

    /// A wake-up tells of new events, or of a request of a person.
    fn woken(&mut self) {
        self.more = true;
        if !self.lanes.is_empty() {
            self.renew_at = Instant::now();
        }
    }

    fn fetched(&mut self, answer: Result<Fetched, Error>) -> News {
        let (entries, gone) = match answer {
            Ok(Answered::Done(answer)) => answer,
            Ok(_) => return fenced(),
            Err(error) => return News::Lost(error.to_string()),
        };
        for owed in entries {
            let held = self.held_of(owed);
            self.lanes.restore(held.id, Some(held));
        }
        if !gone.is_empty() {
            self.unconfirm();
        }
        gone.into_iter().for_each(|id| self.lanes.restore(id, None));
        News::Progress
    }

    fn settled(&mut self, answer: Result<Answered<u64>, Error>) -> News {
        failpoint::hit("worker.settled", "");
        self.in_settle.clear();
        self.settle_since = None;
        match answer {
            Ok(Answered::Fenced) => fenced(),
            Ok(_) => News::Progress,
            Err(error) => News::Lost(error.to_string()),
        }
    }

    fn read(&mut self, answer: Result<Answered<Vec<Owed>>, Error>) -> News {
        let entries = match answer {
            Ok(Answered::Done(entries)) => entries,
            Ok(_) => return fenced(),
            Err(error) => return News::Lost(error.to_string()),
        };
        let bytes: usize = entries.iter().map(|owed| owed.entry.size()).sum();
        self.more |= entries.len() >= self.asked || bytes >= self.shape.bytes;
        if entries.is_empty() {
            // the wake-up was for something else
            self.renew_at = self.renew_at.min(Instant::now() + LOOK / 10);
        }
        if !entries.is_empty() {
            self.unconfirm();
        }
        entries.into_iter().for_each(|owed| self.hold(owed));
        self.backlog = self.backlog.max(self.held() as u64);
        self.full = self.more && self.lanes.is_full();
        News::Progress
    }

    fn renewed(&mut self, answer: Result<Option<Renewed>, Error>) -> News {
        match answer {
            Ok(Some(renewed)) => {
                self.until = lasts(self.renewal_sent);
                self.clock = RedisClock::heard(renewed.now);
                self.backlog = renewed.backlog;
                if renewed.backlog > self.held() as u64 {
                    self.more = true;
                }
                renewed.ask.map_or(News::Progress, |(ask, nonce)| News::Asked(ask, nonce))
            }
            Ok(None) => fenced(),
            Err(error) => News::Lost(error.to_string()),
        }
    }
}

fn fenced() -> News {
    News::Lost("another worker holds the lease".to_owned())
}

/// A lease that was asked for at that time is surely ours for so long.
fn lasts((timer, boot): (Instant, Duration)) -> (Instant, Duration) {
    (timer + TTL - MARGIN, boot + TTL - MARGIN)
}

async fn ready<T>(pending: &mut Pending<T>) -> Result<T, Error> {
    match pending {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
