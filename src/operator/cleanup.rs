//! Deletion: what a destination holds in Redis and in the release namespace goes away, then our finalizer.
//!
//! `Drain` first delivers what waits, for a bounded time. Nothing here waits for ever: a namespace that is being deleted must not hang on us. What Redis
//! could not be told in time is swept later.

use super::board::{Applied, Key, Outcome};
use super::context::Context;
use super::error::Error;
use super::events::Note;
use super::reconcile::{self, reconciled};
use super::validate::{self, Validated};
use crate::api::EventDestination;
use crate::api::spec::{DRAIN_TIMEOUT, DeletionPolicy};
use crate::bus::Link;
use crate::bus::routing::{self, Deleted};
use crate::bus::state::{self, Snapshot};
use crate::plan::{Route, RouteState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::time::Duration;

/// How long a Redis that does not answer may hold a deletion up, from the deletion or from when we began to lead, whichever is later.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether all is delivered.
const LOOK: Duration = Duration::from_secs(1);

/// How far it is.
pub enum Progress {
    /// It still delivers; look again after this time.
    Draining(Duration),
    /// Nothing of it is left but the finalizer.
    Done,
}

/// An object that is being deleted.
struct Leaving<'a> {
    context: &'a Context,
    key: &'a Key,
    metadata: &'a ObjectMeta,
    /// Its spec, where it can be read.
    object: Option<&'a EventDestination>,
}

/// Does what is next for an object that is being deleted. Its spec is unknown where it cannot be read; then all buses are looked through.
///
/// # Errors
/// What failed; to be tried again.
pub async fn cleanup(context: &Context, key: &Key, metadata: &ObjectMeta, object: Option<&EventDestination>) -> Result<Progress, Error> {
    let leaving = Leaving { context, key, metadata, object };
    let note = match leaving.in_redis().await {
        Ok(InRedis::Draining) => return Ok(Progress::Draining(LOOK)),
        Ok(InRedis::Removed(held)) => gone(object, held),
        Err(error) if leaving.is_out_of_patience() => {
            tracing::warn!(destination = %key, %error, "redis does not answer; what it holds of this destination is removed once it does");
            Note::warning("Discarded", "Delete", format!("what Redis holds of it is removed once Redis answers again: {error}"))
        }
        Err(error) => return Err(error),
    };
    let uid = leaving.uid();
    context.workers.remove(uid).await?;
    context.routes.forget(uid);
    tracing::info!(destination = %key, uid, outcome = note.message, "destination deleted");
    context.events.publish(key, uid, note);
    Ok(Progress::Done)
}

/// What is told at the end.
fn gone(object: Option<&EventDestination>, held: Deleted) -> Note {
    let Deleted { backlog, dead_letters } = held;
    let removed = format!("removed {} and {}", counted(backlog, "waiting event"), counted(dead_letters, "dead letter"));
    let drains = object.filter(|object| object.spec.deletion_policy == DeletionPolicy::Drain);
    match drains {
        Some(_) if backlog == 0 => Note::normal("Drained", "Delete", format!("nothing waited any more; {removed}")),
        Some(object) => {
            let timeout = object.spec.drain_timeout.as_deref().unwrap_or(DRAIN_TIMEOUT);
            Note::warning("Discarded", "Delete", format!("{removed}: they were not delivered within drainTimeout ({timeout})"))
        }
        None => Note::normal("Discarded", "Delete", removed),
    }
}

fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

enum InRedis {
    Draining,
    Removed(Deleted),
}

impl Leaving<'_> {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    fn is_out_of_patience(&self) -> bool {
        let patience = PATIENCE.max(self.object.map_or(Duration::ZERO, validate::drain_timeout));
        self.context.began.elapsed() >= PATIENCE && validate::is_drained_out(self.metadata, patience, jiff::Timestamp::now())
    }

    async fn in_redis(&self) -> Result<InRedis, Error> {
        if let Some(object) = self.object
            && self.drains(&self.context.link(&object.spec.bus)?, object).await?
        {
            return Ok(InRedis::Draining);
        }
        let mut all = Deleted::default();
        let buses = match self.object {
            // the admin may have taken the bus away meanwhile
            Some(object) => vec![&object.spec.bus],
            None => self.context.config.settings.buses.keys().collect(),
        };
        for bus in buses {
            let held = routing::delete(&self.context.link(bus)?, bus, self.uid(), &self.key.to_string()).await?;
            all = Deleted { backlog: all.backlog + held.backlog, dead_letters: all.dead_letters + held.dead_letters };
        }
        Ok(InRedis::Removed(all))
    }

    /// Whether it still has to deliver something. From the first time on it takes no new events.
    async fn drains(&self, link: &Link, object: &EventDestination) -> Result<bool, Error> {
        let (uid, bus, timeout) = (self.uid(), &object.spec.bus, validate::drain_timeout(object));
        if validate::is_drained_out(self.metadata, timeout, jiff::Timestamp::now()) {
            return Ok(false);
        }
        let Some(closed) = self.context.routes.close(link, bus, uid, self.generation()).await? else { return Ok(false) };
        let snapshot = state::snapshot(link, bus, uid).await?;
        if snapshot.backlog == 0 {
            return Ok(false);
        }
        self.go_on(object, closed, &snapshot).await;
        Ok(true)
    }

    fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or(1)
    }

    /// It goes on as its spec now says: a new URL may be what it waits for. Its status goes on too.
    async fn go_on(&self, object: &EventDestination, closed: Route, snapshot: &Snapshot) {
        let Leaving { context, key, metadata: _, object: _ } = self;
        let entry = context.board.get(key);
        if entry.as_ref().is_some_and(|entry| matches!(&entry.outcome, Outcome::Applied(applied) if applied.route == closed)) {
            return;
        }
        let applied = match self.apply_closed(object).await {
            Ok(Some(applied)) => applied,
            // what ran before goes on: in a namespace that is being deleted its Secrets may be gone by now
            Ok(None) => self.as_before(object, entry.and_then(|entry| entry.applied), closed, snapshot),
            Err(error) => {
                tracing::debug!(destination = %key, %error, "what it was asked to be while it drains could not be applied");
                self.as_before(object, entry.and_then(|entry| entry.applied), closed, snapshot)
            }
        };
        context.board.set((*key).clone(), reconciled(object, Outcome::Applied(applied)));
    }

    /// `None` where the spec cannot be run now.
    async fn apply_closed(&self, object: &EventDestination) -> Result<Option<Applied>, Error> {
        let Leaving { context, key, metadata: _, object: _ } = self;
        match reconcile::wanted(context, key, object).await? {
            Ok(wanted) if wanted.plan.is_some() => {
                let route = Route { state: RouteState::Closed, ..wanted.route };
                Ok(Some(reconcile::apply(context, key, Validated { route, ..wanted }).await?))
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    fn as_before(&self, object: &EventDestination, former: Option<Applied>, route: Route, snapshot: &Snapshot) -> Applied {
        match former {
            Some(applied) => Applied { route, ..applied },
            // this process began while it drained
            None => {
                let worker = object.status.as_ref().and_then(|status| status.worker.clone()).unwrap_or_default();
                Applied { route, plan: snapshot.plan.clone(), worker }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(policy: &str) -> EventDestination {
        let spec = serde_json::json!({"sink": {"http": {"uri": "http://a.example/"}}, "deletionPolicy": policy, "drainTimeout": "30s"});
        serde_json::from_value(serde_json::json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_last_event_says_what_became_of_what_it_held() {
        let told = |policy: &str, backlog, dead_letters| {
            let Note { warning, reason, action: _, message } = gone(Some(&destination(policy)), Deleted { backlog, dead_letters });
            (warning, format!("{reason}: {message}"))
        };
        assert_eq!(told("Discard", 3, 1), (false, "Discarded: removed 3 waiting events and 1 dead letter".into()));
        assert_eq!(told("Drain", 0, 2), (false, "Drained: nothing waited any more; removed 0 waiting events and 2 dead letters".into()));
        let late = "Discarded: removed 1 waiting event and 0 dead letters: they were not delivered within drainTimeout (30s)";
        assert_eq!(told("Drain", 1, 0), (true, late.into()));
        assert_eq!(gone(None, Deleted::default()).reason, "Discarded");
    }
}
