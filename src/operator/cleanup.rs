//! Deletion: what a destination holds in Redis and in the release namespace goes away, then our finalizer.
//!
//! `Drain` first delivers what waits, for a bounded time. Nothing here waits for ever: a namespace that is being deleted must not hang on us. What Redis
//! could not be told in time is swept later.

use super::board::{Applied, Key, Outcome};
use super::context::Context;
use super::error::Error;
use super::events::Note;
use super::reconcile::reconciled;
use super::validate;
use crate::api::EventDestination;
use crate::bus::routing::{self, Deleted};
use crate::bus::state;
use crate::plan::Route;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::time::Duration;

/// How long a Redis that does not answer may hold a deletion up.
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

/// Does what is next for an object that is being deleted. Its spec is unknown where it cannot be read; then all buses are looked through.
///
/// # Errors
/// What failed; to be tried again.
pub async fn cleanup(context: &Context, key: &Key, metadata: &ObjectMeta, object: Option<&EventDestination>) -> Result<Progress, Error> {
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let held = match in_redis(context, key, metadata, object).await {
        Ok(InRedis::Draining) => return Ok(Progress::Draining(LOOK)),
        Ok(InRedis::Removed(held)) => held,
        Err(error) if validate::is_drained_out(metadata, PATIENCE, jiff::Timestamp::now()) => {
            tracing::warn!(destination = %key, %error, "redis does not answer; what it holds of this destination is removed once it does");
            Deleted::default()
        }
        Err(error) => return Err(error),
    };
    context.workers.remove(uid).await?;
    context.routes.forget(uid);
    tracing::info!(destination = %key, uid, backlog = held.backlog, dead_letters = held.dead_letters, "destination deleted");
    context.events.publish(key, uid, discarded(held));
    Ok(Progress::Done)
}

fn discarded(held: Deleted) -> Note {
    let message = format!("removed {} waiting events and {} dead letters", held.backlog, held.dead_letters);
    Note::normal("Discarded", "Delete", message)
}

/// Its status goes on, with the route that takes nothing more.
fn draining(context: &Context, key: &Key, object: &EventDestination, route: Route) {
    let Some(applied) = context.board.get(key).and_then(|entry| entry.applied) else { return };
    context.board.set(key.clone(), reconciled(object, Outcome::Applied(Applied { route, ..applied })));
}

enum InRedis {
    Draining,
    Removed(Deleted),
}

async fn in_redis(context: &Context, key: &Key, metadata: &ObjectMeta, object: Option<&EventDestination>) -> Result<InRedis, Error> {
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let link = context.links.current()?;
    if let Some(object) = object {
        let timeout = validate::drain_timeout(object);
        if !validate::is_drained_out(metadata, timeout, jiff::Timestamp::now()) {
            let bus = &object.spec.bus;
            let closed = context.routes.close(&link, bus, uid, metadata.generation.unwrap_or(1)).await?;
            if let Some(route) = closed {
                let snapshot = state::snapshot(&link, bus, uid).await?;
                if snapshot.backlog > 0 {
                    draining(context, key, object, route);
                    return Ok(InRedis::Draining);
                }
            }
        }
    }
    let mut all = Deleted::default();
    for bus in context.config.settings.buses.keys().filter(|bus| object.is_none_or(|object| object.spec.bus == **bus)) {
        let held = routing::delete(&link, bus, uid, &key.to_string()).await?;
        all = Deleted { backlog: all.backlog + held.backlog, dead_letters: all.dead_letters + held.dead_letters };
    }
    Ok(InRedis::Removed(all))
}
