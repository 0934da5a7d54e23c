//! One attempt of the head.

use super::shift::Shift;
use super::{End, GRACE, done, fenced};
use crate::bus::queue::{Answered, Settled};
use crate::bus::routing::Ask;
use crate::failpoint;
use crate::worker::attempt::{Attempt, Class, Failure, Outcome};
use crate::worker::feed::News;
use crate::worker::held::Held;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// An event that killed its worker so often, while it was tried alone, is given up.
const MAX_DEATHS: u32 = 3;

/// Whether an attempt may be made.
enum Counted {
    /// It may; with the place for an attempt that is made alone.
    Go(Option<OwnedSemaphorePermit>),
    /// The event is no longer in the queue.
    Gone,
    /// It killed its worker too often.
    TooManyDeaths,
    /// The tenure is to end, or the lease is about to.
    NotNow,
}

impl Shift<'_, '_> {
    /// One attempt of the head, and what follows from it.
    pub(super) async fn attempt(&mut self, mut head: Held) -> Result<(), End> {
        if let Some(failure) = self.given_up(&head) {
            return self.let_go(head, &failure).await;
        }
        if let Some(failure) = self.hopeless(&head) {
            return self.give_up(head, failure).await;
        }
        let number = head.attempts + 1;
        let alone = match self.count(&mut head, number).await? {
            Counted::Go(permit) => permit,
            Counted::Gone => return Ok(()),
            Counted::NotNow => {
                self.feed.put_back(head);
                return Ok(());
            }
            Counted::TooManyDeaths => {
                let failure = Failure::new(Class::WorkerDied, format!("its worker died {MAX_DEATHS} times while it was tried alone"));
                return self.give_up(head, failure).await;
            }
        };
        let Some(outcome) = self.send(&head, number).await? else { return self.abort(head).await };
        failpoint::hit("worker.answered", head.key());
        match outcome {
            Outcome::Delivered { .. } => self.delivered(&head, number),
            Outcome::Failed(failure) => return self.failed(head, number, failure).await,
        }
        if alone.is_some() {
            self.feed.flush().await.map_err(End::Lost)?;
        }
        Ok(())
    }

    /// Why no attempt is worth while.
    fn hopeless(&self, head: &Held) -> Option<Failure> {
        if let Err(bad) = &head.event {
            return Some(Failure::new(Class::Undecodable, bad));
        }
        let most = self.plan.delivery.max_event_age?;
        let expired = self.halted.is_none() && self.feed.clock().since(head.id.ms) > most;
        expired.then(|| Failure::new(Class::Expired, "it waited longer than maxEventAge"))
    }

    /// An event that was pending when it was read is counted before it is sent; one whose attempt was cut is tried alone.
    async fn count(&mut self, head: &mut Held, number: u32) -> Result<Counted, End> {
        if !head.counted {
            return Ok(Counted::Go(None));
        }
        // should it kill its worker, what went before it is not repeated
        self.feed.flush().await.map_err(End::Lost)?;
        let mine = self.begun.contains(&head.id);
        let alone = head.suspect && !mine;
        let permit = if alone { Some(self.alone().await?) } else { None };
        if self.orders.pending().is_some() {
            return Ok(Counted::NotNow);
        }
        self.begun.insert(head.id);
        match self.feed.tenure().begin(head.id, number, alone, mine).await? {
            Answered::Done(deaths) if deaths >= MAX_DEATHS => Ok(Counted::TooManyDeaths),
            // the answer took long
            Answered::Done(_) if !self.feed.may_start() => Ok(Counted::NotNow),
            Answered::Done(_) => Ok(Counted::Go(permit.flatten())),
            Answered::Gone => {
                self.forget(head.id);
                Ok(Counted::Gone)
            }
            Answered::Fenced => Err(fenced()),
        }
    }

    /// The one place in this process for an attempt that may kill it; `None` if the tenure is to end first.
    async fn alone(&mut self) -> Result<Option<OwnedSemaphorePermit>, End> {
        let place = self.context.alone.clone().acquire_owned();
        tokio::pin!(place);
        loop {
            tokio::select! {
                permit = &mut place => return Ok(permit.ok()),
                news = self.feed.news() => self.hear(news)?,
                () = self.orders.arrive() => return Ok(None),
            }
        }
    }

    /// Sends it; `None` if we ended the attempt ourselves.
    async fn send(&mut self, head: &Held, number: u32) -> Result<Option<Outcome>, End> {
        let Ok(event) = &head.event else { return Ok(None) };
        if number == 1 {
            self.metrics.dispatch_latency.observe(self.feed.clock().since(head.id.ms).as_secs_f64());
        }
        if self.last_success >= head.id {
            self.metrics.order_violations.inc();
            tracing::error!(destination = self.plan.name, id = %head.id, "an event would be sent behind a later one; this is a defect");
        }
        let attempt = Attempt { event, sequence: head.id, number, redriven: head.redriven };
        let send = async {
            failpoint::hit("worker.send", head.key());
            self.sink.send(&[attempt]).await
        };
        let send = AssertUnwindSafe(send).catch_unwind();
        tokio::pin!(send);
        let mut limit: Option<Instant> = None;
        self.metrics.in_flight.set(1);
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut send => break Some(outcome.unwrap_or_else(|_| Outcome::Failed(Failure::new(Class::Internal, "a defect in the sink")))),
                news = self.feed.news() => match news {
                    News::Progress => {}
                    News::Lost(why) => {
                        self.metrics.in_flight.set(0);
                        return Err(End::Lost(why));
                    }
                    News::Asked(_, nonce) if self.asked.as_ref() == Some(&nonce) => {}
                    News::Asked(ask, nonce) => {
                        self.ask = Some((ask, nonce));
                        if ask == Ask::Skip(head.id) {
                            break None;
                        }
                    }
                },
                () = self.orders.arrive(), if limit.is_none() => limit = Some(Instant::now() + GRACE),
                () = tokio::time::sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => break None,
            }
        };
        self.metrics.in_flight.set(0);
        Ok(outcome)
    }

    /// We ended the attempt ourselves: it does not count.
    pub(super) async fn abort(&mut self, head: Held) -> Result<(), End> {
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
}
