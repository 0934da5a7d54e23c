//! What a lane has read ahead, what it has yet to settle, and the lease that entitles it to both.
//!
//! Nothing here waits for Redis between two events: reading ahead, settling and renewing go on while a request is under way.

use super::clock::{self, RedisClock};
use super::held::Held;
use crate::bus::lease::{MARGIN, Renewed, TTL};
use crate::bus::queue::{Answered, Owed, Settled, Tenure};
use crate::bus::routing::Ask;
use crate::bus::{Error, Supervisor};
use crate::event::Sequence;
use crate::failpoint;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Events read ahead, and about how many bytes of them.
const AHEAD: usize = 64;
const AHEAD_BYTES: usize = 256 << 10;
/// Successes that a crash may repeat: so many, and none older than this.
const UNSETTLED: usize = 64;
const UNSETTLED_AGE: Duration = Duration::from_secs(5);
/// While requests follow each other, so many successes or so much time make one settlement: one for each would double the trips to Redis.
const SETTLE_AT: usize = 16;
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

type Pending<T> = Option<BoxFuture<'static, Result<T, Error>>>;

/// See the module.
pub struct Feed {
    tenure: Tenure,
    wake: Arc<Notify>,
    queue: VecDeque<Held>,
    taken: Option<Sequence>,
    after: Sequence,
    has_read: bool,
    /// There is or may be more to read.
    more: bool,
    reading: Pending<Answered<Vec<Owed>>>,
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
    pub fn new(tenure: Tenure, wake: Arc<Notify>, asked: (Instant, Duration), clock: RedisClock) -> Feed {
        Feed {
            tenure,
            wake,
            queue: VecDeque::new(),
            taken: None,
            after: Sequence::ZERO,
            has_read: false,
            more: true,
            reading: None,
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

    /// The first event of the lane.
    pub fn head(&self) -> Option<&Held> {
        self.queue.front()
    }

    /// The first event of the lane.
    pub fn head_mut(&mut self) -> Option<&mut Held> {
        self.queue.front_mut()
    }

    /// Takes the first event out, to be sent.
    pub fn take(&mut self) -> Option<Held> {
        let head = self.queue.pop_front();
        self.taken = head.as_ref().map(|head| head.id);
        head
    }

    /// The event that was taken stays first.
    pub fn put_back(&mut self, held: Held) {
        self.taken = None;
        self.queue.push_front(held);
    }

    /// The event that was taken is gone, buried or dropped: replicas must know before a receiver sees past it.
    pub fn forget_taken(&mut self) {
        self.taken = None;
        self.unconfirm();
    }

    /// IDs that were read and had trouble.
    pub fn troubled(&self) -> Vec<Sequence> {
        self.queue.iter().filter(|held| held.attempts > 0).map(|held| held.id).collect()
    }

    /// All read events have all their attempts again.
    pub fn reset(&mut self) {
        self.queue.iter_mut().for_each(Held::start_over);
    }

    /// Events that wait, as far as known.
    pub fn backlog(&self) -> u64 {
        self.backlog.max((self.queue.len() + usize::from(self.taken.is_some())) as u64)
    }

    /// Whether a request may start: the lease is ours and the window of unsettled successes is open.
    pub fn may_start(&self) -> bool {
        let old = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > UNSETTLED_AGE);
        clock::boot() < self.until.1
            && !self.unconfirmed
            && self.confirming.is_none()
            && self.unsettled.len() + self.in_settle.len() < UNSETTLED
            && !old(self.unsettled_since)
            && !old(self.settle_since)
    }

    /// The event that was taken was delivered.
    pub fn settle(&mut self, settled: Settled) {
        self.taken = None;
        self.unsettled.push(settled);
        self.unsettled_since.get_or_insert_with(Instant::now);
        self.backlog = self.backlog.saturating_sub(1);
    }

    /// Waits until what is owed was read for the first time.
    ///
    /// # Errors
    /// Why the tenure is over.
    pub async fn fill(&mut self) -> Result<(), String> {
        while !self.has_read {
            if let News::Lost(why) = self.news().await {
                return Err(why);
            }
        }
        Ok(())
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
            let batch = std::mem::take(&mut self.unsettled);
            self.in_settle = batch.iter().map(|settled| settled.id).collect();
            self.settle_since = self.unsettled_since.take();
            let tenure = self.tenure.clone();
            self.settling = Some(async move { tenure.settle(&batch).await }.boxed());
        }
        if self.reading.is_none() && self.more && self.queue.len() <= AHEAD / 2 {
            self.more = false;
            let (tenure, after, held) = (self.tenure.clone(), self.after, self.held());
            let max = AHEAD - self.queue.len();
            self.reading = Some(async move { tenure.read(after, max, AHEAD_BYTES, held).await }.boxed());
        }
        if self.renewing.is_none() && Instant::now() >= self.renew_at {
            self.renewal_sent = (Instant::now(), clock::boot());
            self.renew_at = self.renewal_sent.0 + LOOK;
            let tenure = self.tenure.clone();
            self.renewing = Some(async move { tenure.renew().await }.boxed());
        }
        self.confirm();
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
        let now = self.taken.is_none() || self.flushing || self.unsettled.len() >= SETTLE_AT;
        Some(if now { since } else { since + SETTLE_AFTER })
    }

    /// The next time to look.
    fn timer(&self) -> Instant {
        let settle = if self.settling.is_none() { self.settle_at() } else { None };
        let renew = self.renewing.is_none().then_some(self.renew_at);
        [settle, renew, Some(self.until.0)].into_iter().flatten().min().unwrap_or(self.until.0)
    }

    fn held(&self) -> usize {
        self.queue.len() + usize::from(self.taken.is_some()) + self.unsettled.len() + self.in_settle.len()
    }

    /// Whether an event is sent, or delivered and not yet settled.
    fn is_under_way(&self, id: Sequence) -> bool {
        self.taken == Some(id) || self.in_settle.contains(&id) || self.unsettled.iter().any(|settled| settled.id == id)
    }

    /// Takes an event that was read into its place. One that is held already comes again where someone moved the group.
    fn hold(&mut self, owed: Owed) {
        let id = owed.entry.sequence;
        self.after = self.after.max(id);
        let place = self.queue.partition_point(|held| held.id < id);
        if self.queue.get(place).is_none_or(|held| held.id != id) && !self.is_under_way(id) {
            self.queue.insert(place, Held::new(owed));
        }
    }

    /// A wake-up tells of new events, or of a request of a person.
    fn woken(&mut self) {
        if self.queue.len() <= AHEAD / 2 {
            self.more = true;
        }
        if !self.queue.is_empty() {
            self.renew_at = Instant::now();
        }
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
        self.more = entries.len() >= AHEAD / 2 || bytes >= AHEAD_BYTES;
        if entries.is_empty() {
            // the wake-up was for something else
            self.renew_at = self.renew_at.min(Instant::now() + LOOK / 10);
        }
        self.has_read = true;
        if !entries.is_empty() {
            self.unconfirm();
        }
        entries.into_iter().for_each(|owed| self.hold(owed));
        self.backlog = self.backlog.max(self.held() as u64);
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
