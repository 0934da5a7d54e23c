//! The work of one tenure: when something is sent, and what a person asked for.

use super::flights::Flights;
use super::orders::Orders;
use super::{End, GRACE, done};
use crate::admin::{DeliveryState, DestinationMetrics};
use crate::bus::queue::{Fate, Streak};
use crate::bus::routing::Ask;
use crate::event::Sequence;
use crate::plan::Plan;
use crate::worker::LaneContext;
use crate::worker::attempt::{Class, Failure};
use crate::worker::feed::{Feed, News};
use crate::worker::lanes::Named;
use crate::worker::rate::Pace;
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
    pub(super) flights: Flights,
    /// Most requests in progress.
    most: usize,
    /// Where the plan limits the rate of requests.
    pace: Option<Pace>,
    /// When a due event had to wait for that last.
    pub(super) held_up: Option<Instant>,
    /// Why it is halted.
    pub(super) halted: Option<String>,
    /// When a halted destination is probed; `None`: never.
    pub(super) probe: Option<Instant>,
    /// The plan is not the one that was reported last: waiting events start over.
    renewed: bool,
    /// What a person asked for, not yet done.
    pub(super) ask: Option<(Ask, String)>,
    /// The last request of a person that was done.
    pub(super) asked: Option<String>,
    /// The state that was reported last, and when.
    pub(super) reported: Option<(DeliveryState, Instant)>,
    /// When the gauges were set last.
    pub(super) measured: Option<Instant>,
    /// The last failure, for a person.
    pub(super) message: String,
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
            flights: Flights::new(sink),
            most: plan.ordering.max_in_flight(),
            pace: plan.rate.map(|rate| Pace::new(rate, Instant::now().into_std())),
            held_up: None,
            halted: None,
            probe: None,
            renewed: state.get("plan").is_some_and(|reported| *reported != plan.id),
            ask: None,
            asked: state.get("asked").cloned(),
            reported: None,
            measured: None,
            message: state.get("reason").cloned().unwrap_or_default(),
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
                self.land_all().await?;
                return Ok(end);
            }
            self.answer().await?;
            self.report(false).await?;
            self.look_after().await?;
            if !self.start_next().await? {
                self.wait().await?;
            }
        }
    }

    /// A new plan or Secret: a halt ends, and what waits is tried at once, with all its retries. The plan is reported after that, so that it
    /// is done again if it was cut. Nothing was read yet.
    async fn start_over(&mut self) -> Result<(), End> {
        self.resume().await?;
        done(self.feed.tenure().reset_all().await?).map(|_| ())
    }

    /// Requests in progress end, by themselves if that does not take long.
    async fn land_all(&mut self) -> Result<(), End> {
        self.flights.cut_all(false);
        let limit = Instant::now() + GRACE;
        while !self.flights.is_empty() {
            tokio::select! {
                biased;
                landed = self.flights.landed() => self.landed(landed).await?,
                news = self.feed.news() => self.hear(news)?,
                () = tokio::time::sleep_until(limit) => self.flights.cut_all(true),
            }
        }
        Ok(())
    }

    /// When the next request may start; `None` until more is known.
    fn due(&self) -> Option<Instant> {
        let due = self.event_due()?;
        Some(self.pace.map_or(due, |pace| due.max(pace.due().into())))
    }

    /// The same, whatever the limit of the rate says.
    fn event_due(&self) -> Option<Instant> {
        if self.plan.suspend || self.flights.len() >= self.most || !self.feed.may_start() {
            return None;
        }
        let (clock, now) = (self.feed.clock(), Instant::now());
        match &self.halted {
            None => self.feed.lanes.due().map(|due| now + clock.until(due)),
            // one probe at a time, and nothing beside it
            Some(_) if !self.flights.is_empty() => None,
            Some(_) => Some(self.probe?.max(now + clock.until(self.feed.lanes.oldest_due()?))),
        }
    }

    /// Starts a request, or ends an event that is not worth one; false if nothing is due.
    async fn start_next(&mut self) -> Result<bool, End> {
        let due = self.event_due();
        let now = Instant::now();
        if due.is_none_or(|due| due > now) {
            return Ok(false);
        }
        if self.pace.is_some_and(|pace| pace.due() > now.into_std()) {
            self.held_up = Some(now);
            return Ok(false);
        }
        let now = self.feed.clock().now();
        let events = match &self.halted {
            None => self.feed.lanes.start(now),
            Some(_) => self.feed.lanes.start_oldest(now).into_iter().collect(),
        };
        if events.is_empty() {
            return Ok(false);
        }
        self.launch(events).await?;
        Ok(true)
    }

    /// A request starts.
    pub(super) fn count_request(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.take(Instant::now().into_std());
        }
    }

    async fn wait(&mut self) -> Result<(), End> {
        let until = [self.due(), self.report_due()].into_iter().flatten().min();
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            landed = self.flights.landed() => self.landed(landed).await,
            news = self.feed.news() => self.hear(news),
            () = timer => Ok(()),
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
    async fn answer(&mut self) -> Result<(), End> {
        let Some((ask, nonce)) = self.ask.take() else { return Ok(()) };
        let is_done = match ask {
            Ask::Retry => self.retry().await?,
            Ask::Skip(id) => self.skip(id).await?,
        };
        if !is_done {
            self.ask = Some((ask, nonce));
            return Ok(());
        }
        self.asked = Some(nonce);
        self.report(true).await
    }

    /// All that wait for a retry, are blocked or halted are tried at once, with all their retries. A halt ends when one succeeds.
    async fn retry(&mut self) -> Result<bool, End> {
        let troubled = self.feed.lanes.troubled();
        if !troubled.is_empty() {
            done(self.feed.tenure().reset(&troubled).await?)?;
        }
        self.feed.lanes.start_over();
        if self.halted.is_some() {
            self.probe = Some(Instant::now());
        }
        Ok(true)
    }

    /// This event is given up if it is the first of its lane; another one stays. False: not yet.
    async fn skip(&mut self, id: Sequence) -> Result<bool, End> {
        if self.flights.contains(id) {
            self.flights.cut(id);
            return Ok(false);
        }
        match self.feed.lanes.take_named(id) {
            Named::Taken(head) => {
                let failure = Failure::new(Class::Skipped, "a person asked to skip it");
                self.feed.flush().await.map_err(End::Lost)?;
                self.bury(head, Fate::DeadLetter, Streak::None, &failure).await?;
                Ok(true)
            }
            Named::Lacking => Ok(false),
            Named::Not => Ok(true),
        }
    }
}
