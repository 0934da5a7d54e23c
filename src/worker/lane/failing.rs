//! What follows a failed attempt: another one, or the end of that event as `onExhausted` says.

use super::shift::Shift;
use super::{End, fenced};
use crate::bus::queue::{Answered, Burial, Buried, Fate, Streak};
use crate::event::Sequence;
use crate::failpoint;
use crate::plan::{OnExhausted, Ordering, Sink};
use crate::random::random;
use crate::worker::attempt::{Class, Failure, Level};
use crate::worker::halt::{self, HaltReason};
use crate::worker::held::Held;
use crate::worker::retry::{self, Decision};
use std::time::Duration;

impl Shift<'_, '_> {
    fn decide(&self, attempts: u32, failure: &Failure) -> Decision {
        let Sink::Http(http) = &self.plan.sink;
        retry::decide(&self.plan.delivery, &http.halt_on_status_codes, attempts, failure, random(), http.retry_after_max)
    }

    /// The last failure of a head that was given up, by an earlier owner maybe, and is in the queue still: it has no attempt left.
    pub(super) fn given_up(&self, head: &Held) -> Option<Failure> {
        let failure = head.failure.as_ref().filter(|_| head.attempts > 0 && head.next == 0 && !head.suspect && self.halted.is_none())?;
        (self.decide(head.attempts, failure) == Decision::GiveUp).then(|| failure.clone())
    }

    /// `probe`: it was halted when the request began.
    pub(super) async fn failed(&mut self, mut events: Vec<Held>, failure: Failure, probe: bool) -> Result<(), End> {
        self.feed.flush().await.map_err(End::Lost)?;
        self.metrics.attempt("failed", failure.class.as_str());
        self.message.clone_from(&failure.message);
        if failure.class == Class::AddressDenied {
            // no packet left: not an attempt
            self.halt(HaltReason::AddressDenied).await?;
            return self.abort(events).await;
        }
        if events.len() > 1 && failure.class.level() != Level::Destination {
            // one of them is to blame: each is sent alone
            events.iter_mut().for_each(|held| held.single = true);
            return self.abort(events).await;
        }
        // the first one stands for all
        let rest = events.split_off(1);
        let Some(head) = events.pop() else { return Ok(()) };
        let next = self.head_failed(head, failure, probe).await?;
        self.wait_with(rest, next).await
    }

    /// The other events of a batch wait as long as the first one, where its lane does not hold them.
    async fn wait_with(&mut self, mut rest: Vec<Held>, next: u64) -> Result<(), End> {
        if matches!(self.plan.ordering, Ordering::Unordered { .. }) {
            rest.iter_mut().for_each(|held| held.next = next);
        }
        self.abort(rest).await
    }

    /// Answers when it may be tried again; 0 if it is not, or at once.
    async fn head_failed(&mut self, mut head: Held, failure: Failure, probe: bool) -> Result<u64, End> {
        head.attempts += 1;
        let wait = match self.decide(head.attempts, &failure) {
            Decision::Halt { reason } if probe || self.halted.is_none() => {
                self.halt(reason).await?;
                self.until_probe()
            }
            // a halted destination keeps its backlog, whatever the retry limit says
            decision if self.halted.is_some() && (!failure.class.is_of_the_event() || matches!(decision, Decision::Halt { .. })) => {
                if probe {
                    self.still_halted().await?;
                }
                self.until_probe().or((!probe).then_some(self.context.probe))
            }
            Decision::RetryAfter(wait) => {
                if probe {
                    self.probe_after(wait);
                }
                Some(wait)
            }
            Decision::GiveUp | Decision::Halt { .. } => {
                self.give_up(head, failure).await?;
                return Ok(0);
            }
        };
        let next = if self.record(&mut head, &failure, wait).await? {
            let next = head.next;
            self.feed.put_back(head);
            next
        } else {
            0
        };
        Ok(next)
    }

    /// Records a failed attempt; false if the event is gone.
    async fn record(&mut self, head: &mut Held, failure: &Failure, wait: Option<Duration>) -> Result<bool, End> {
        tracing::debug!(destination = self.plan.name, id = %head.id, attempt = head.attempts, class = %failure.class, error = failure.message, "attempt failed");
        let class = failure.class.as_str();
        let answered = self.feed.tenure().fail(head.id, head.attempts, class, failure.code, &failure.message, wait).await?;
        failpoint::hit("worker.failed", head.key());
        head.suspect = false;
        head.failure = Some(failure.clone());
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

    /// No more attempts: records that, and lets the event go.
    pub(super) async fn give_up(&mut self, mut head: Held, failure: Failure) -> Result<(), End> {
        self.feed.flush().await.map_err(End::Lost)?;
        self.message.clone_from(&failure.message);
        let attempted = !matches!(failure.class, Class::Undecodable | Class::Expired | Class::WorkerDied);
        if (attempted || self.plan.delivery.on_exhausted == OnExhausted::Block) && !self.record(&mut head, &failure, None).await? {
            return Ok(());
        }
        self.let_go(head, &failure).await
    }

    /// What `onExhausted` says becomes of the event.
    pub(super) async fn let_go(&mut self, head: Held, failure: &Failure) -> Result<(), End> {
        let streak = match failure.class.level() {
            Level::Destination => Streak::Destination,
            Level::Event => Streak::Event,
            Level::Other => Streak::None,
        };
        match self.plan.delivery.on_exhausted {
            OnExhausted::Block => {
                tracing::warn!(namespace = self.plan.namespace, destination = self.plan.name, id = %head.id, class = %failure.class, "blocked: the head was given up and nothing may overtake it");
                let id = head.id;
                self.feed.put_back(head);
                self.feed.lanes.block(id);
                Ok(())
            }
            OnExhausted::DeadLetter => self.bury(head, Fate::DeadLetter, streak, failure).await,
            OnExhausted::Drop => self.bury(head, Fate::Drop, streak, failure).await,
        }
    }

    pub(super) async fn bury(&mut self, head: Held, fate: Fate, streak: Streak, failure: &Failure) -> Result<(), End> {
        let burial = Burial {
            id: head.id,
            fate,
            streak,
            class: failure.class.as_str(),
            message: &failure.message,
            destination_limit: halt::DESTINATION_STREAK,
            event_limit: halt::EVENT_STREAK,
            max_dead_letters: self.plan.delivery.max_dead_letters,
            copy_to: self.plan.delivery.dead_letters_to.as_deref().map(|name| (self.plan.namespace.as_str(), name)),
        };
        let answered = self.feed.tenure().bury(&burial).await?;
        failpoint::hit("worker.buried", head.key());
        match answered {
            Answered::Done(Buried::Done) => {
                self.buried(&head, fate, failure);
                self.probe_next();
            }
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

    pub(super) fn forget(&mut self, id: Sequence) {
        self.begun.remove(&id);
        self.feed.forget(id);
    }
}
