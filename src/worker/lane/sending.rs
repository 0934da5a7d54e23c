//! From what may start to what came of it.

use super::flights::{Done, Flight, Landed, Step};
use super::shift::Shift;
use super::{End, done, fenced};
use crate::bus::queue::{Answered, Settled};
use crate::failpoint;
use crate::worker::attempt::{Class, Failure, Outcome};
use crate::worker::held::Held;

/// An event that killed its worker so often, while it was tried alone, is given up.
const MAX_DEATHS: u32 = 3;

/// Why an event is not sent.
enum Over {
    /// It has no attempt left, and stayed in the queue all the same.
    GivenUp(Failure),
    /// No attempt is worth while.
    Hopeless(Failure),
}

impl Shift<'_, '_> {
    /// What makes up the next request goes on its way, as far as its events are worth sending.
    pub(super) async fn launch(&mut self, mut events: Vec<Held>) -> Result<(), End> {
        let over = events.iter().enumerate().find_map(|(place, held)| Some((place, self.over(held)?)));
        if let Some((place, over)) = over {
            let rest = events.split_off(place.max(1));
            rest.into_iter().for_each(|held| self.feed.put_back(held));
            if place == 0 {
                let head = events.remove(0);
                return match over {
                    Over::GivenUp(failure) => self.let_go(head, &failure).await,
                    Over::Hopeless(failure) => self.give_up(head, failure).await,
                };
            }
        }
        let counted = events.iter().any(|held| held.counted);
        if counted {
            // should it kill its worker, what went before it is not repeated
            self.feed.flush().await.map_err(End::Lost)?;
        }
        self.count_request();
        let flight = Flight { events, sink: self.flights.sink(), alone: None, probe: self.halted.is_some() };
        if !counted {
            self.send(flight);
        } else if flight.head().suspect && !self.begun.contains(&flight.head().id) {
            self.flights.begin(flight, Step::Alone(self.context.alone.clone()));
        } else {
            self.count(flight);
        }
        Ok(())
    }

    fn over(&self, held: &Held) -> Option<Over> {
        self.given_up(held).map(Over::GivenUp).or_else(|| self.hopeless(held).map(Over::Hopeless))
    }

    /// Why no attempt is worth while.
    fn hopeless(&self, held: &Held) -> Option<Failure> {
        if let Err(bad) = &held.event {
            return Some(Failure::new(Class::Undecodable, bad));
        }
        if self.halted.is_some() {
            return None;
        }
        let clock = self.feed.clock();
        if self.plan.delivery.max_event_age.is_some_and(|most| clock.since(held.id.ms) > most) {
            return Some(Failure::new(Class::Expired, "it waited longer than maxEventAge"));
        }
        held.expires.is_some_and(|expires| expires < clock.now()).then(|| Failure::new(Class::Expired, "its expirytime is over"))
    }

    /// Events that were pending when they were read are counted before they are sent; one whose attempt was cut is tried alone.
    fn count(&mut self, flight: Flight) {
        let how = flight.events.iter().map(|held| {
            let mine = !self.begun.insert(held.id);
            (held.suspect && !mine, mine)
        });
        let step = Step::Begin(self.feed.tenure().clone(), how.collect());
        self.flights.begin(flight, step);
    }

    fn send(&mut self, flight: Flight) {
        for held in &flight.events {
            if held.attempts == 0 {
                self.metrics.dispatch_latency.observe(self.feed.clock().since(held.id.ms).as_secs_f64());
            }
            if self.feed.lanes.is_late(held.id) {
                self.metrics.order_violations.inc();
                tracing::error!(destination = self.plan.name, id = %held.id, "an event would be sent behind a later one; this is a defect");
            }
        }
        self.flights.begin(flight, Step::Send);
        self.metrics.in_flight.set(i64::try_from(self.flights.len()).unwrap_or(i64::MAX));
    }

    /// What follows a step of a request.
    pub(super) async fn landed(&mut self, Landed { mut flight, done }: Landed) -> Result<(), End> {
        let ends = self.orders.pending().is_some();
        self.metrics.in_flight.set(i64::try_from(self.flights.len()).unwrap_or(i64::MAX));
        match done {
            Some(Done::Sent(outcome)) => self.answered(flight, outcome).await,
            Some(Done::Begun(answers)) if !ends => self.begun(flight, answers?).await,
            Some(Done::Alone(permit)) if !ends => {
                flight.alone = permit;
                self.count(flight);
                Ok(())
            }
            Some(_) | None => {
                self.flights.keep(flight.sink);
                self.abort(flight.events).await
            }
        }
    }

    /// They are counted: they are sent, unless one killed its worker too often.
    async fn begun(&mut self, flight: Flight, answers: Vec<Answered<u32>>) -> Result<(), End> {
        let Flight { events, sink, alone, probe } = flight;
        let mut left = Vec::new();
        for (held, answer) in events.into_iter().zip(answers) {
            match answer {
                Answered::Done(deaths) if deaths >= MAX_DEATHS => {
                    let failure = Failure::new(Class::WorkerDied, format!("its worker died {MAX_DEATHS} times while it was tried alone"));
                    self.give_up(held, failure).await?;
                }
                Answered::Done(_) => left.push(held),
                Answered::Gone => self.forget(held.id),
                Answered::Fenced => return Err(fenced()),
            }
        }
        if left.is_empty() || !self.feed.may_send() {
            // nothing is left of it, or the answer took long
            self.flights.keep(sink);
            left.into_iter().for_each(|held| self.feed.put_back(held));
        } else {
            self.send(Flight { events: left, sink, alone, probe });
        }
        Ok(())
    }

    /// We ended the attempt ourselves: it does not count.
    pub(super) async fn abort(&mut self, events: Vec<Held>) -> Result<(), End> {
        for held in events {
            if held.counted {
                done(self.feed.tenure().abort(held.id).await?)?;
            }
            self.feed.put_back(held);
        }
        Ok(())
    }

    async fn answered(&mut self, flight: Flight, outcome: Outcome) -> Result<(), End> {
        // the place is free when this attempt is closed in Redis
        let Flight { events, sink, alone, probe } = flight;
        self.flights.keep(sink);
        events.iter().for_each(|held| failpoint::hit("worker.answered", held.key()));
        match outcome {
            Outcome::Delivered { .. } => self.delivered(&events),
            Outcome::Failed(failure) => return self.failed(events, failure, probe).await,
        }
        if alone.is_some() {
            self.feed.flush().await.map_err(End::Lost)?;
        }
        Ok(())
    }

    fn delivered(&mut self, events: &[Held]) {
        self.metrics.attempt("delivered", "");
        if self.halted.take().is_some() {
            self.probe = None;
            tracing::info!(namespace = self.plan.namespace, destination = self.plan.name, "resumed");
        }
        self.message.clear();
        for held in events {
            self.metrics.delivered.inc();
            self.metrics.end_to_end_latency.observe(self.feed.clock().since(held.id.ms).as_secs_f64());
            self.begun.remove(&held.id);
            self.feed.settle(Settled { id: held.id, size: held.size, attempts: held.attempts + 1 });
        }
    }
}
