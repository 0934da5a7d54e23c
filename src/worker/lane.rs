//! One destination in `Strict` order: read → attempt → settle | back off | bury.
//!
//! A lane holds its queue by a tenure: a lease, on one connection, for one plan. Whatever ends the tenure (a lost lease, a sick connection, a
//! new plan) ends everything that came through it; the next one reads lease, state and head from Redis again.

use super::LaneContext;
use super::attempt::{Attempt, Class, Failure, Level, Outcome};
use super::clock::{self, RedisClock};
use super::feed::{Feed, Held, News};
use super::halt::{self, HaltReason};
use super::retry::{self, Decision};
use super::sink::Sink;
use crate::admin::DestinationMetrics;
use crate::bus::lease::{self, Leased};
use crate::bus::queue::{Answered, Burial, Buried, Fate, Settled, Streak, Tenure};
use crate::bus::routing::Ask;
use crate::bus::{Error, Link};
use crate::event::Sequence;
use crate::plan::{OnExhausted, Plan};
use futures::FutureExt;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause before a lease is asked for again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a request may go on after the lane was told to stop or got a new plan.
const GRACE: Duration = Duration::from_secs(5);
/// State is reported at most so often.
const REPORT: Duration = Duration::from_secs(1);
/// An event that killed its worker so often, while it was tried alone, is given up.
const MAX_DEATHS: u32 = 3;

/// Runs one destination until told to stop: one tenure after the other.
pub async fn run(mut plans: watch::Receiver<Arc<Plan>>, context: Arc<LaneContext>, stop: CancellationToken) {
    let (uid, metrics) = {
        let plan = plans.borrow();
        (plan.uid.clone(), context.metrics.destination(&plan.namespace, &plan.name))
    };
    let mut begun = HashSet::new();
    while !stop.is_cancelled() {
        let plan = plans.borrow_and_update().clone();
        let link = tokio::select! {
            link = context.links.link() => link,
            () = stop.cancelled() => break,
        };
        let end = match take(&context, &plan, link).await {
            Ok(Some((feed, state))) => match Shift::new(&plan, &context, &metrics, &mut begun, feed, &state) {
                Ok(shift) => shift.work(&mut plans, &stop).await,
                Err(why) => End::Lost(why),
            },
            Ok(None) => End::NotOurs,
            Err(error) => End::Lost(error.to_string()),
        };
        match end {
            End::Stopped => break,
            End::NewPlan => {}
            End::NotOurs => {
                // whoever gives the lease back says so
                let wake = context.wakes.register(&uid);
                tokio::select! {
                    () = pause(&mut plans, &stop) => {}
                    () = wake.notified() => {}
                }
            }
            End::Lost(why) => {
                tracing::warn!(
                    namespace = plan.namespace,
                    destination = plan.name,
                    reason = why,
                    "delivery was interrupted; taking the queue again"
                );
                pause(&mut plans, &stop).await;
            }
        }
    }
    context.wakes.forget(&uid);
}

async fn pause(plans: &mut watch::Receiver<Arc<Plan>>, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => {}
        _ = plans.changed() => {}
        () = stop.cancelled() => {}
    }
}

/// Takes the lease; `None` while it is another worker's or the destination has no route.
async fn take(context: &LaneContext, plan: &Plan, link: Link) -> Result<Option<(Feed, HashMap<String, String>)>, Error> {
    link.hello(&plan.bus).await?;
    // registered before the first look, so that no wake-up is missed
    let wake = context.wakes.register(&plan.uid);
    let asked = (Instant::now(), clock::boot());
    match lease::lease(&link, &plan.bus, &plan.uid, &context.tokens).await? {
        (token, Leased::Held { state, now }) => {
            let tenure = Tenure { link, bus: plan.bus.clone(), uid: plan.uid.clone(), token };
            Ok(Some((Feed::new(tenure, wake, asked, RedisClock::heard(now)), state)))
        }
        (_, Leased::Busy | Leased::NoRoute) => Ok(None),
    }
}

/// Why a tenure ended.
enum End {
    Stopped,
    NewPlan,
    NotOurs,
    Lost(String),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Lost(error.to_string())
    }
}

/// Why nothing is sent, and until when.
enum Rest {
    /// Until the head is due, or more is known.
    Until(Option<Instant>),
    /// There is something to send.
    No,
}

/// The work of one tenure.
struct Shift<'a> {
    plan: &'a Plan,
    context: &'a LaneContext,
    metrics: &'a DestinationMetrics,
    /// Events that this process has counted an attempt of before making it.
    begun: &'a mut HashSet<Sequence>,
    feed: Feed,
    sink: Sink,
    halted: Option<String>,
    /// When a halted head is probed; `None`: never.
    probe: Option<Instant>,
    blocked: bool,
    /// The plan is not the one that was reported last: waiting events start over.
    renewed: bool,
    /// What a person asked for, not yet done.
    ask: Option<(Ask, String)>,
    asked: Option<String>,
    reported: Option<(&'static str, Instant)>,
    measured: Option<Instant>,
    message: String,
    last_success: Sequence,
    new_plan: bool,
}

impl<'a> Shift<'a> {
    fn new(
        plan: &'a Plan,
        context: &'a LaneContext,
        metrics: &'a DestinationMetrics,
        begun: &'a mut HashSet<Sequence>,
        feed: Feed,
        state: &HashMap<String, String>,
    ) -> Result<Shift<'a>, String> {
        let sink = Sink::new(plan, &context.sink).map_err(|error| error.to_string())?;
        let halted = state.get("halted").and_then(|text| text.split_whitespace().next()).map(str::to_owned);
        Ok(Shift {
            plan,
            context,
            metrics,
            begun,
            feed,
            sink,
            probe: halted.is_some().then(Instant::now),
            halted,
            blocked: false,
            renewed: state.get("plan").is_some_and(|reported| *reported != plan.id),
            ask: None,
            asked: state.get("asked").cloned(),
            reported: None,
            measured: None,
            message: String::new(),
            last_success: Sequence::ZERO,
            new_plan: false,
        })
    }

    async fn work(mut self, plans: &mut watch::Receiver<Arc<Plan>>, stop: &CancellationToken) -> End {
        let end = match self.deliver(plans, stop).await {
            Ok(end) | Err(end @ (End::Stopped | End::NewPlan)) => end,
            Err(end) => return end,
        };
        // what was answered 2xx is settled before the queue changes hands
        if tokio::time::timeout(GRACE, self.feed.flush()).await.is_ok_and(|flushed| flushed.is_ok()) && matches!(end, End::Stopped) {
            let tenure = self.feed.tenure();
            // best effort: a lease that is not given back ends by itself
            if tenure.release().await.is_ok() {
                self.context.tokens.forget(&format!("{}/{}", tenure.bus, tenure.uid));
            }
        }
        end
    }

    async fn deliver(&mut self, plans: &mut watch::Receiver<Arc<Plan>>, stop: &CancellationToken) -> Result<End, End> {
        if self.renewed {
            self.start_over().await?;
        }
        loop {
            if stop.is_cancelled() {
                return Ok(End::Stopped);
            }
            if self.new_plan || plans.has_changed().unwrap_or(true) {
                return Ok(End::NewPlan);
            }
            if let Some((ask, nonce)) = self.ask.take() {
                self.answer(ask, nonce).await?;
            }
            self.report(false).await?;
            self.measure();
            match self.rest() {
                Rest::No => {
                    let Some(head) = self.feed.take() else { continue };
                    self.attempt(head, plans, stop).await?;
                }
                Rest::Until(due) => self.wait(due, plans, stop).await?,
            }
        }
    }

    /// A new plan or Secret: a halt ends, and what waits is tried at once, with all its retries.
    async fn start_over(&mut self) -> Result<(), End> {
        if self.halted.is_some() {
            done(self.feed.tenure().unhalt().await?)?;
            (self.halted, self.probe) = (None, None);
        }
        Ok(())
    }

    fn rest(&mut self) -> Rest {
        let report_due = self.report_due();
        if self.plan.suspend || !self.feed.may_start() {
            return Rest::Until(report_due);
        }
        self.recognise_block();
        let Some(head) = self.feed.head() else { return Rest::Until(report_due) };
        if self.blocked {
            return Rest::Until(report_due);
        }
        let now = Instant::now();
        let due = match &self.halted {
            Some(_) => match self.probe {
                Some(probe) => probe,
                None => return Rest::Until(report_due),
            },
            None => now + self.feed.clock().until(head.next),
        };
        if due <= now { Rest::No } else { Rest::Until(Some(report_due.map_or(due, |report| report.min(due)))) }
    }

    /// A head that an earlier owner gave up under `Block` stays blocked without another attempt.
    fn recognise_block(&mut self) {
        let Some(head) = self.feed.head() else { return };
        if self.plan.delivery.on_exhausted != OnExhausted::Block || self.blocked || head.next != 0 || head.attempts == 0 || head.suspect {
            return;
        }
        let Some(class) = head.class.as_deref().and_then(|class| class.parse::<Class>().ok()) else { return };
        self.blocked = self.decide(head.attempts, &Failure::new(class, "")) == Decision::GiveUp;
    }

    fn decide(&self, attempts: u32, failure: &Failure) -> Decision {
        let crate::plan::Sink::Http(http) = &self.plan.sink;
        retry::decide(&self.plan.delivery, &http.halt_on_status_codes, attempts, failure, random(), http.retry_after_max)
    }

    async fn wait(&mut self, due: Option<Instant>, plans: &mut watch::Receiver<Arc<Plan>>, stop: &CancellationToken) -> Result<(), End> {
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = self.feed.news() => self.hear(news)?,
            () = timer => {}
            () = self.sink.idle() => {}
            _ = plans.changed() => self.new_plan = true,
            () = stop.cancelled() => {}
        }
        if self.renewed && self.feed.head().is_some() {
            self.renewed = false;
            let troubled = self.feed.troubled();
            if !troubled.is_empty() {
                done(self.feed.tenure().reset(&troubled).await?)?;
                self.feed.reset();
            }
        }
        Ok(())
    }

    fn hear(&mut self, news: News) -> Result<(), End> {
        match news {
            News::Progress => {}
            News::Asked(ask, nonce) if self.asked.as_ref() != Some(&nonce) => self.ask = Some((ask, nonce)),
            News::Asked(..) => {}
            News::Lost(why) => return Err(End::Lost(why)),
        }
        Ok(())
    }

    /// Does what a person asked for, and says so.
    async fn answer(&mut self, ask: Ask, nonce: String) -> Result<(), End> {
        match ask {
            Ask::Retry => {
                if self.halted.is_some() {
                    done(self.feed.tenure().unhalt().await?)?;
                    (self.halted, self.probe) = (None, None);
                }
                if let Some(head) = self.feed.head() {
                    done(self.feed.tenure().reset(&[head.id]).await?)?;
                }
                if let Some(head) = self.feed.head_mut() {
                    (head.attempts, head.next, head.class) = (0, 0, None);
                }
                self.blocked = false;
            }
            Ask::Skip(id) => {
                if self.feed.head().is_some_and(|head| head.id == id)
                    && let Some(head) = self.feed.take()
                {
                    let failure = Failure::new(Class::Skipped, "a person asked to skip it");
                    self.feed.flush().await.map_err(End::Lost)?;
                    self.bury(head, Fate::DeadLetter, Streak::None, &failure).await?;
                    self.blocked = false;
                }
            }
        }
        self.asked = Some(nonce);
        self.report(true).await
    }

    /// One attempt of the head, and what follows from it.
    async fn attempt(&mut self, mut head: Held, plans: &mut watch::Receiver<Arc<Plan>>, stop: &CancellationToken) -> Result<(), End> {
        if let Err(bad) = &head.event {
            let failure = Failure::new(Class::Undecodable, bad);
            return self.give_up(head, failure).await;
        }
        if self.is_expired(&head) {
            let failure = Failure::new(Class::Expired, "it waited longer than maxEventAge");
            return self.give_up(head, failure).await;
        }
        let number = head.attempts + 1;
        let alone = match self.count(&mut head, number, stop).await? {
            Counted::Go(permit) => permit,
            Counted::Gone => return Ok(()),
            Counted::TooManyDeaths => {
                let failure = Failure::new(Class::WorkerDied, format!("its worker died {MAX_DEATHS} times while it was tried alone"));
                return self.give_up(head, failure).await;
            }
        };
        if self.last_success >= head.id {
            self.metrics.order_violations.inc();
            tracing::error!(destination = self.plan.name, id = %head.id, "an event would be sent behind a later one; this is a defect");
        }
        let Some(outcome) = self.send(&head, number, plans, stop).await? else {
            return self.abort(head).await;
        };
        match outcome {
            Outcome::Delivered { .. } => {
                self.delivered(&head, number);
                if alone.is_some() {
                    self.feed.flush().await.map_err(End::Lost)?;
                }
                Ok(())
            }
            Outcome::Failed(failure) => self.failed(head, number, failure).await,
        }
    }

    fn is_expired(&self, head: &Held) -> bool {
        let Some(most) = self.plan.delivery.max_event_age else { return false };
        self.halted.is_none() && self.feed.clock().since(head.id.ms) > most
    }

    /// An event that was pending when it was read is counted before it is sent; one whose attempt was cut is tried alone.
    async fn count(&mut self, head: &mut Held, number: u32, stop: &CancellationToken) -> Result<Counted, End> {
        if !head.counted {
            return Ok(Counted::Go(None));
        }
        let mine = self.begun.contains(&head.id);
        let alone = head.suspect && !mine;
        let permit = if alone { Some(self.alone(stop).await?) } else { None };
        self.begun.insert(head.id);
        match self.feed.tenure().begin(head.id, number, alone, mine).await? {
            Answered::Done(deaths) if deaths >= MAX_DEATHS => Ok(Counted::TooManyDeaths),
            Answered::Done(_) => Ok(Counted::Go(permit)),
            Answered::Gone => {
                self.forget(head.id);
                Ok(Counted::Gone)
            }
            Answered::Fenced => Err(fenced()),
        }
    }

    /// The one place in this process for an attempt that may kill it.
    async fn alone(&mut self, stop: &CancellationToken) -> Result<OwnedSemaphorePermit, End> {
        let place = self.context.alone.clone().acquire_owned();
        tokio::pin!(place);
        loop {
            tokio::select! {
                permit = &mut place => return permit.map_err(|_| End::Stopped),
                news = self.feed.news() => self.hear(news)?,
                () = stop.cancelled() => return Err(End::Stopped),
            }
        }
    }

    /// Sends it; `None` if we ended the attempt ourselves.
    async fn send(
        &mut self,
        head: &Held,
        number: u32,
        plans: &mut watch::Receiver<Arc<Plan>>,
        stop: &CancellationToken,
    ) -> Result<Option<Outcome>, End> {
        let Ok(event) = &head.event else { return Ok(None) };
        let attempt = Attempt { event, sequence: head.id, number, redriven: head.redriven };
        if number == 1 {
            self.metrics.dispatch_latency.observe(self.feed.clock().since(head.id.ms).as_secs_f64());
        }
        self.metrics.in_flight.set(1);
        let send = AssertUnwindSafe(self.sink.send(&attempt)).catch_unwind();
        tokio::pin!(send);
        let mut grace: Option<Instant> = None;
        let outcome = loop {
            let interrupted = async {
                match grace {
                    Some(end) => {
                        tokio::time::sleep_until(end).await;
                        false
                    }
                    None => tokio::select! {
                        () = stop.cancelled() => false,
                        _ = plans.changed() => true,
                    },
                }
            };
            tokio::select! {
                biased;
                outcome = &mut send => break Some(outcome.unwrap_or_else(|_| Outcome::Failed(Failure::new(Class::Internal, "a defect in the sink")))),
                news = self.feed.news() => match news {
                    News::Progress => {}
                    News::Lost(why) => {
                        self.metrics.in_flight.set(0);
                        return Err(End::Lost(why));
                    }
                    News::Asked(ask, nonce) if self.asked.as_ref() != Some(&nonce) => {
                        self.ask = Some((ask, nonce));
                        if ask == Ask::Skip(head.id) {
                            break None;
                        }
                    }
                    News::Asked(..) => {}
                },
                new_plan = interrupted => {
                    self.new_plan |= new_plan;
                    match grace {
                        None => grace = Some(Instant::now() + GRACE),
                        Some(_) => break None,
                    }
                }
            }
        };
        self.metrics.in_flight.set(0);
        Ok(outcome)
    }

    /// We ended the attempt ourselves: it does not count.
    async fn abort(&mut self, head: Held) -> Result<(), End> {
        if head.counted {
            done(self.feed.tenure().abort(head.id).await?)?;
        }
        self.feed.put_back(head);
        Ok(())
    }

    fn delivered(&mut self, head: &Held, number: u32) {
        self.metrics.attempt("delivered", "");
        self.metrics.delivered.inc();
        self.metrics.end_to_end_latency.observe(self.feed.clock().since(head.id.ms).as_secs_f64());
        self.last_success = head.id;
        if self.halted.take().is_some() {
            self.probe = None;
            tracing::info!(namespace = self.plan.namespace, destination = self.plan.name, "resumed");
        }
        self.message.clear();
        self.begun.remove(&head.id);
        self.feed.settle(Settled { id: head.id, size: head.size, attempts: number });
    }

    async fn failed(&mut self, mut head: Held, number: u32, failure: Failure) -> Result<(), End> {
        self.feed.flush().await.map_err(End::Lost)?;
        self.metrics.attempt("failed", failure.class.as_str());
        self.message = failure.message.clone();
        if failure.class == Class::AddressDenied {
            // no packet left: not an attempt
            self.halt(HaltReason::AddressDenied).await?;
            return self.abort(head).await;
        }
        head.attempts = number;
        let wait = match self.decide(number, &failure) {
            Decision::Halt { reason } => {
                self.halt(reason).await?;
                self.until_probe()
            }
            // a halted destination keeps its backlog, whatever the retry limit says
            _ if self.halted.is_some() && failure.class.level() != Level::Event => {
                self.next_probe();
                self.until_probe()
            }
            Decision::RetryAfter(wait) => {
                if self.halted.is_some() {
                    self.probe = Some(Instant::now() + wait);
                }
                Some(wait)
            }
            Decision::GiveUp => return self.give_up(head, failure).await,
        };
        self.record(&mut head, &failure, wait).await.map(|kept| {
            if kept {
                self.feed.put_back(head);
            }
        })
    }

    /// Records a failed attempt; false if the event is gone.
    async fn record(&mut self, head: &mut Held, failure: &Failure, wait: Option<Duration>) -> Result<bool, End> {
        tracing::debug!(destination = self.plan.name, id = %head.id, attempt = head.attempts, class = %failure.class, error = failure.message, "attempt failed");
        let class = failure.class.as_str();
        let answered = self.feed.tenure().fail(head.id, head.attempts, class, failure.code, &failure.message, wait).await?;
        head.suspect = false;
        head.class = Some(class.to_owned());
        head.next = wait.map_or(0, |wait| self.feed.clock().now() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        match answered {
            Answered::Done(()) => Ok(true),
            Answered::Gone => {
                self.forget(head.id);
                Ok(false)
            }
            Answered::Fenced => Err(fenced()),
        }
    }

    /// No more attempts: `onExhausted` says what becomes of the event.
    async fn give_up(&mut self, mut head: Held, failure: Failure) -> Result<(), End> {
        self.feed.flush().await.map_err(End::Lost)?;
        self.message = failure.message.clone();
        let attempted = !matches!(failure.class, Class::Undecodable | Class::Expired | Class::WorkerDied);
        if (attempted || self.plan.delivery.on_exhausted == OnExhausted::Block) && !self.record(&mut head, &failure, None).await? {
            return Ok(());
        }
        let streak = match failure.class.level() {
            Level::Destination => Streak::Destination,
            Level::Event => Streak::Event,
            Level::Other => Streak::None,
        };
        match self.plan.delivery.on_exhausted {
            OnExhausted::Block => {
                tracing::warn!(namespace = self.plan.namespace, destination = self.plan.name, id = %head.id, class = %failure.class, "blocked: the head was given up and nothing may overtake it");
                self.blocked = true;
                self.feed.put_back(head);
                Ok(())
            }
            OnExhausted::DeadLetter => self.bury(head, Fate::DeadLetter, streak, &failure).await,
            OnExhausted::Drop => self.bury(head, Fate::Drop, streak, &failure).await,
        }
    }

    async fn bury(&mut self, head: Held, fate: Fate, streak: Streak, failure: &Failure) -> Result<(), End> {
        let burial = Burial {
            id: head.id,
            fate,
            streak,
            class: failure.class.as_str(),
            message: &failure.message,
            destination_limit: halt::DESTINATION_STREAK,
            event_limit: halt::EVENT_STREAK,
            max_dead_letters: self.plan.delivery.max_dead_letters,
        };
        match self.feed.tenure().bury(&burial).await? {
            Answered::Done(Buried::Done) => self.buried(&head, fate, failure),
            Answered::Done(Buried::ThenHalted(reason)) => {
                self.buried(&head, fate, failure);
                self.is_halted(&reason);
            }
            Answered::Done(Buried::Halted) => {
                let reason = if streak == Streak::Event { HaltReason::EventsRefused } else { HaltReason::DestinationFailing };
                self.is_halted(reason.as_str());
                self.feed.put_back(head);
            }
            Answered::Gone => self.forget(head.id),
            Answered::Fenced => return Err(fenced()),
        }
        Ok(())
    }

    fn buried(&mut self, head: &Held, fate: Fate, failure: &Failure) {
        self.forget(head.id);
        match fate {
            Fate::DeadLetter => self.metrics.dead_lettered(failure.class.as_str()),
            Fate::Drop => {
                self.metrics.dropped.inc();
            }
        }
        tracing::warn!(namespace = self.plan.namespace, destination = self.plan.name, id = %head.id, class = %failure.class, error = failure.message, "gave an event up");
    }

    fn forget(&mut self, id: Sequence) {
        self.begun.remove(&id);
        self.feed.forget_taken();
    }

    async fn halt(&mut self, reason: HaltReason) -> Result<(), End> {
        done(self.feed.tenure().halt(reason.as_str()).await?)?;
        self.is_halted(reason.as_str());
        Ok(())
    }

    fn is_halted(&mut self, reason: &str) {
        if self.halted.as_deref() != Some(reason) {
            tracing::warn!(
                namespace = self.plan.namespace,
                destination = self.plan.name,
                reason,
                error = self.message,
                "halted: the backlog is kept"
            );
        }
        self.halted = Some(reason.to_owned());
        self.next_probe();
    }

    /// Plans the next probe of a halted destination.
    fn next_probe(&mut self) {
        let reason = self.halted.as_deref().and_then(|reason| reason.parse::<HaltReason>().ok());
        let wait = match reason {
            Some(reason) => reason.next_probe(self.context.probe, random()),
            None => Some(self.context.probe),
        };
        self.probe = wait.map(|wait| Instant::now() + wait);
    }

    fn until_probe(&self) -> Option<Duration> {
        self.probe.map(|probe| probe.saturating_duration_since(Instant::now()))
    }

    fn state(&self) -> &'static str {
        if self.plan.suspend {
            "Suspended"
        } else if self.blocked {
            "Blocked"
        } else if self.halted.is_some() {
            "Halted"
        } else if self.feed.head().is_some_and(|head| head.attempts >= 2) {
            "Retrying"
        } else if self.feed.backlog() > 0 {
            "Active"
        } else {
            "Idle"
        }
    }

    fn report_due(&self) -> Option<Instant> {
        match self.reported {
            Some((state, at)) if state != self.state() => Some(at + REPORT),
            _ => None,
        }
    }

    /// Says what this lane does: at a change of state, at most once a second.
    async fn report(&mut self, now: bool) -> Result<(), End> {
        let due = match self.reported {
            None => true,
            Some((state, at)) => state != self.state() && at.elapsed() >= REPORT,
        };
        if !due && !now {
            return Ok(());
        }
        let state = self.state();
        let message = match state {
            "Halted" | "Retrying" | "Blocked" => self.message.as_str(),
            _ => "",
        };
        done(self.feed.tenure().report(state, message, &self.plan.id, self.asked.as_deref()).await?)?;
        self.reported = Some((state, Instant::now()));
        Ok(())
    }

    /// Each second, whatever goes on.
    fn measure(&mut self) {
        if self.measured.is_some_and(|measured| measured.elapsed() < REPORT) {
            return;
        }
        self.measured = Some(Instant::now());
        self.metrics.backlog.set(i64::try_from(self.feed.backlog()).unwrap_or(i64::MAX));
        let head = self.feed.head();
        self.metrics.backlog_oldest.set(head.map_or(0.0, |head| self.feed.clock().since(head.id.ms).as_secs_f64()));
        self.metrics.head_attempts.set(head.map_or(0, |head| i64::from(head.attempts)));
    }
}

/// Whether an attempt may be made.
enum Counted {
    /// It may; with the place for an attempt that is made alone.
    Go(Option<OwnedSemaphorePermit>),
    /// The event is no longer in the queue.
    Gone,
    /// It killed its worker too often.
    TooManyDeaths,
}

fn fenced() -> End {
    End::Lost("another worker holds the lease".to_owned())
}

fn done<T>(answered: Answered<T>) -> Result<Option<T>, End> {
    match answered {
        Answered::Done(value) => Ok(Some(value)),
        Answered::Gone => Ok(None),
        Answered::Fenced => Err(fenced()),
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let mut bytes = [0u8; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
