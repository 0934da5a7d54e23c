//! The work of one tenure: when something is sent, and what a person asked for.

use super::orders::Orders;
use super::{End, GRACE, done};
use crate::admin::DestinationMetrics;
use crate::bus::queue::{Fate, Streak};
use crate::bus::routing::Ask;
use crate::event::Sequence;
use crate::plan::{OnExhausted, Plan};
use crate::worker::LaneContext;
use crate::worker::attempt::{Class, Failure};
use crate::worker::feed::{Feed, News};
use crate::worker::sink::Sink;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;

/// The work of one tenure.
pub(super) struct Shift<'a, 'o> {
    pub(super) plan: &'a Plan,
    pub(super) context: &'a LaneContext,
    pub(super) orders: &'a mut Orders<'o>,
    pub(super) metrics: DestinationMetrics,
    /// Events that this process has counted an attempt of before making it.
    pub(super) begun: &'a mut HashSet<Sequence>,
    pub(super) feed: Feed,
    pub(super) sink: Sink,
    /// Why it is halted.
    pub(super) halted: Option<String>,
    /// When a halted head is probed; `None`: never.
    pub(super) probe: Option<Instant>,
    /// The head was given up, and stays.
    pub(super) blocked: bool,
    /// The plan is not the one that was reported last: waiting events start over.
    renewed: bool,
    /// What a person asked for, not yet done.
    pub(super) ask: Option<(Ask, String)>,
    /// The last request of a person that was done.
    pub(super) asked: Option<String>,
    /// The state that was reported last, and when.
    pub(super) reported: Option<(&'static str, Instant)>,
    /// When the gauges were set last.
    pub(super) measured: Option<Instant>,
    /// The last failure, for a person.
    pub(super) message: String,
    pub(super) last_success: Sequence,
}

impl<'a, 'o> Shift<'a, 'o> {
    pub(super) fn new(
        plan: &'a Plan,
        context: &'a LaneContext,
        begun: &'a mut HashSet<Sequence>,
        feed: Feed,
        sink: Sink,
        orders: &'a mut Orders<'o>,
        state: &HashMap<String, String>,
    ) -> Shift<'a, 'o> {
        let metrics = context.metrics.destination(&plan.namespace, &plan.name);
        let mut shift = Shift {
            plan,
            context,
            orders,
            metrics,
            begun,
            feed,
            sink,
            halted: None,
            probe: None,
            blocked: false,
            renewed: state.get("plan").is_some_and(|reported| *reported != plan.id),
            ask: None,
            asked: state.get("asked").cloned(),
            reported: None,
            measured: None,
            message: state.get("reason").cloned().unwrap_or_default(),
            last_success: Sequence::ZERO,
        };
        shift.was_halted(state.get("halted"));
        shift
    }

    /// Works until the tenure ends.
    pub(super) async fn work(mut self) -> End {
        let end = self.deliver().await.unwrap_or_else(|end| end);
        if matches!(end, End::Lost(_)) {
            return end;
        }
        // what was answered 2xx is settled before the queue changes hands
        if tokio::time::timeout(GRACE, self.feed.flush()).await.is_ok_and(|flushed| flushed.is_ok()) && matches!(end, End::Stopped) {
            // best effort: a lease that is not given back ends by itself
            let _ = self.feed.tenure().release().await;
        }
        end
    }

    async fn deliver(&mut self) -> Result<End, End> {
        if self.renewed {
            self.start_over().await?;
        }
        loop {
            if let Some(end) = self.orders.pending() {
                return Ok(end);
            }
            if let Some((ask, nonce)) = self.ask.take() {
                self.answer(ask, nonce).await?;
            }
            self.report(false).await?;
            self.measure();
            let due = self.due();
            if due.is_none_or(|due| due > Instant::now()) {
                self.wait([due, self.report_due()].into_iter().flatten().min()).await?;
            } else if let Some(head) = self.feed.take() {
                self.attempt(head).await?;
            }
        }
    }

    /// A new plan or Secret: a halt ends, and what waits is tried at once, with all its retries. The plan is reported after that, so that it
    /// is done again if it was cut.
    async fn start_over(&mut self) -> Result<(), End> {
        self.resume().await?;
        self.feed.fill().await.map_err(End::Lost)?;
        let troubled = self.feed.troubled();
        if !troubled.is_empty() {
            done(self.feed.tenure().reset(&troubled).await?)?;
            self.feed.reset();
        }
        Ok(())
    }

    /// When the head may be tried; `None` until more is known.
    fn due(&mut self) -> Option<Instant> {
        if self.plan.suspend || !self.feed.may_start() {
            return None;
        }
        let head = self.feed.head()?;
        let due = Instant::now() + self.feed.clock().until(head.next);
        self.blocked |= self.plan.delivery.on_exhausted == OnExhausted::Block && self.given_up(head).is_some();
        match &self.halted {
            _ if self.blocked => None,
            None => Some(due),
            Some(_) => self.probe.map(|probe| probe.max(due)),
        }
    }

    async fn wait(&mut self, until: Option<Instant>) -> Result<(), End> {
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = self.feed.news() => self.hear(news),
            () = timer => Ok(()),
            () = self.sink.idle() => Ok(()),
            () = self.orders.arrive() => Ok(()),
        }
    }

    pub(super) fn hear(&mut self, news: News) -> Result<(), End> {
        match news {
            News::Asked(ask, nonce) if self.asked.as_ref() != Some(&nonce) => self.ask = Some((ask, nonce)),
            News::Asked(..) | News::Progress => {}
            News::Lost(why) => return Err(End::Lost(why)),
        }
        Ok(())
    }

    /// Does what a person asked for, and says so.
    async fn answer(&mut self, ask: Ask, nonce: String) -> Result<(), End> {
        match ask {
            Ask::Retry => self.retry().await?,
            Ask::Skip(id) => self.skip(id).await?,
        }
        self.asked = Some(nonce);
        self.report(true).await
    }

    /// The waiting, blocked or halted head is tried at once, with all its retries. A halt ends when it succeeds.
    async fn retry(&mut self) -> Result<(), End> {
        if let Some(head) = self.feed.head() {
            done(self.feed.tenure().reset(&[head.id]).await?)?;
        }
        if let Some(head) = self.feed.head_mut() {
            head.start_over();
        }
        self.blocked = false;
        if self.halted.is_some() {
            self.probe = Some(Instant::now());
        }
        Ok(())
    }

    /// This head is given up; another one stays.
    async fn skip(&mut self, id: Sequence) -> Result<(), End> {
        if self.feed.head().is_some_and(|head| head.id == id)
            && let Some(head) = self.feed.take()
        {
            let failure = Failure::new(Class::Skipped, "a person asked to skip it");
            self.feed.flush().await.map_err(End::Lost)?;
            self.bury(head, Fate::DeadLetter, Streak::None, &failure).await?;
            self.blocked = false;
        }
        Ok(())
    }
}
