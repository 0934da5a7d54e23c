//! The driver: dereference → validate → apply → outcome. Level-based: each pass makes the whole object true, whatever happened before.

use super::annotations::{self, Asked, PAUSED};
use super::board::{Applied, Key, Outcome, Reconciled};
use super::cleanup::{self, Progress};
use super::context::{Context, Watched, key_of};
use super::error::Error;
use super::metrics::ReconcileResult;
use super::validate::{self, Rejection, Validated};
use super::workers::Destination;
use super::{api, dereference, finalizer};
use crate::api::EventDestination;
use crate::failpoint;
use crate::plan;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time of one pass.
const LIMIT: Duration = Duration::from_secs(60);
/// When an object whose turn came while we did not lead is looked at again.
const NOT_LEADING: Duration = Duration::from_secs(2);
/// When an object is looked at again though nothing is known to have changed.
const AGAIN: Duration = Duration::from_secs(600);

/// Makes one object true.
///
/// # Errors
/// What failed; [`on_error`] says when it is tried again.
pub async fn reconcile(object: Arc<Watched>, context: Arc<Context>) -> Result<Action, Error> {
    if !context.leadership.leads() {
        // if another leads next it begins with all objects; if we lead again, nobody but us knows that this one is due
        return Ok(Action::requeue(NOT_LEADING));
    }
    let (key, began) = (key_of(&*object), Instant::now());
    let passed = tokio::time::timeout(LIMIT, pass(&object, &key, &context)).await;
    context.metrics.reconcile_duration.observe(began.elapsed().as_secs_f64());
    let (result, action) = passed.unwrap_or(Err(Error::Timeout(LIMIT)))?;
    context.metrics.reconciled(result);
    match result {
        ReconcileResult::Deleted => context.backoff.forget(&key),
        _ => context.backoff.succeeded(&key),
    }
    Ok(action)
}

/// When a failed object is tried again; says on its status what failed.
pub fn on_error(object: Arc<Watched>, error: &Error, context: Arc<Context>) -> Action {
    let key = key_of(&*object);
    if let Some(reason) = error.reason().filter(|_| !is_applied(&context, &key, &object)) {
        tell(&context, &object, &key, Outcome::Failed { reason, message: error.to_string() });
    }
    Action::requeue(context.backoff.failed(&key, error))
}

/// Whether this generation was applied: then a failure to do it again is no news for its status.
fn is_applied(context: &Context, key: &Key, object: &Watched) -> bool {
    let generation = kube::Resource::meta(object).generation.unwrap_or(1);
    context.board.get(key).is_some_and(|entry| entry.generation == generation && matches!(entry.outcome, Outcome::Applied(_)))
}

type Passed = Result<(ReconcileResult, Action), Error>;

async fn pass(object: &Watched, key: &Key, context: &Context) -> Passed {
    let metadata = kube::Resource::meta(object);
    if metadata.deletion_timestamp.is_some() {
        return delete(context, key, metadata, object.0.as_ref().ok()).await;
    }
    if object.annotations().get(PAUSED).is_some_and(|value| value == "true") {
        tell(context, object, key, Outcome::Paused);
        return Ok((ReconcileResult::Paused, Action::await_change()));
    }
    let destination = match &object.0 {
        Ok(destination) => destination,
        Err(invalid) => {
            let outcome = Outcome::Rejected { reason: "InvalidSpec", message: format!("cannot be read: {invalid}") };
            context.board.set(key.clone(), unreadable(context, key, metadata, outcome).await?);
            return Ok((ReconcileResult::Rejected, Action::await_change()));
        }
    };
    if !finalizer::is_on(metadata) {
        context.leadership.check()?;
        finalizer::add(&context.client, key, metadata).await?;
        failpoint::hit("operator.finalizer", &key.name);
        // the change that we just made is the next reason to reconcile
        return Ok((ReconcileResult::Applied, Action::await_change()));
    }
    let (result, outcome) = match wanted(context, key, destination).await? {
        Ok(wanted) => (ReconcileResult::Applied, Outcome::Applied(apply(context, key, wanted).await?)),
        Err(rejection) => (ReconcileResult::Rejected, reject(context, destination, rejection).await?),
    };
    tell(context, object, key, outcome);
    failpoint::hit("operator.outcome", &key.name);
    if result == ReconcileResult::Applied {
        hands_on(context, key, destination).await?;
    }
    Ok((result, Action::requeue(AGAIN)))
}

async fn hands_on(context: &Context, key: &Key, destination: &EventDestination) -> Result<(), Error> {
    let (link, uid) = (context.link(&destination.spec.bus)?, destination.metadata.uid.as_deref().unwrap_or_default());
    context.leadership.check()?;
    let asked = Asked { link: &link, bus: &destination.spec.bus, key, uid, events: &context.events };
    Ok(annotations::handle(&asked, destination.annotations()).await?)
}

/// Dereference and validate: what is to be applied, or why nothing is.
pub(super) async fn wanted(context: &Context, key: &Key, destination: &EventDestination) -> Result<Result<Validated, Rejection>, Error> {
    if let Err(rejection) = validate::check(destination, &context.config) {
        return Ok(Err(rejection));
    }
    let found = dereference::dereference(&context.client, key, destination, &context.references).await?;
    failpoint::hit("operator.dereferenced", &key.name);
    let uid = destination.metadata.uid.as_deref().unwrap_or_default();
    let resolved = plan::resolve(destination, uid, &found.objects, &found.surroundings);
    let validated = validate::validate(destination, resolved, context.routes.owner(), &context.config);
    Ok(validated.map(|wanted| Validated { plan: wanted.plan.map(|plan| found.named(destination, plan)), ..wanted }))
}

/// Redis first: once it is routed no event is missed, whatever becomes of the worker.
pub(super) async fn apply(context: &Context, key: &Key, wanted: Validated) -> Result<Applied, Error> {
    let link = context.link(&wanted.bus)?;
    context.leadership.check()?;
    match context.routes.apply(&link, &wanted).await {
        Err(Error::Stale(_)) if is_newest(context, key, &wanted).await? => {
            context.leadership.check()?;
            context.routes.restore(&link, &wanted).await?;
        }
        result => result?,
    }
    failpoint::hit("operator.routed", &key.name);
    let Validated { uid, bus: _, start: _, route, plan, isolation } = wanted;
    let place = Destination { uid, namespace: key.namespace.clone(), name: key.name.clone() };
    let worker = context.workers.run(&place, route.suspend, plan.as_ref(), isolation).await?;
    failpoint::hit("operator.worker", &key.name);
    Ok(Applied { route, plan: plan.map(|plan| plan.id), worker })
}

/// Whether the API server itself, not our memory, has the object in this very generation.
async fn is_newest(context: &Context, key: &Key, wanted: &Validated) -> Result<bool, Error> {
    let found = api::metadata(&context.client, key).await?;
    Ok(found.is_some_and(|metadata| metadata.uid.as_ref() == Some(&wanted.uid) && metadata.generation == Some(wanted.route.rev)))
}

/// What ran before goes on, unless it has lost its place on the bus.
async fn reject(context: &Context, destination: &EventDestination, rejection: Rejection) -> Result<Outcome, Error> {
    let Rejection { reason, message, evicts } = rejection;
    if evicts {
        let uid = destination.metadata.uid.as_deref().unwrap_or_default();
        let link = context.link(&destination.spec.bus)?;
        context.routes.close(&link, &destination.spec.bus, uid, destination.metadata.generation.unwrap_or(1)).await?;
    }
    Ok(Outcome::Rejected { reason, message })
}

async fn delete(context: &Context, key: &Key, metadata: &ObjectMeta, object: Option<&EventDestination>) -> Passed {
    if !finalizer::is_on(metadata) {
        return Ok((ReconcileResult::Deleted, Action::await_change()));
    }
    context.leadership.check()?;
    match cleanup::cleanup(context, key, metadata, object).await? {
        Progress::Draining(again) => return Ok((ReconcileResult::Applied, Action::requeue(again))),
        Progress::Done => {}
    }
    failpoint::hit("operator.cleaned", &key.name);
    // before an object of the same name can be made again, whose status this one's would become
    context.board.remove(key);
    context.references.forget(key);
    finalizer::remove(&context.client, key, metadata).await?;
    Ok((ReconcileResult::Deleted, Action::await_change()))
}

fn tell(context: &Context, object: &Watched, key: &Key, outcome: Outcome) {
    // one whose spec does not parse was told of already
    if let Ok(destination) = &object.0 {
        context.board.set(key.clone(), reconciled(destination, outcome));
    }
}

/// The same of an object whose spec does not parse. Its status does: what is in it must not be lost.
async fn unreadable(context: &Context, key: &Key, metadata: &ObjectMeta, outcome: Outcome) -> Result<Reconciled, Error> {
    let objects = api::unparsed(&context.client, &key.namespace);
    let found = api::call(format!("get EventDestination {key}"), objects.get(&key.name)).await?;
    let status = found.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok());
    Ok(Reconciled {
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or(1),
        bus: String::new(),
        outcome,
        status: status.unwrap_or_default(),
    })
}

/// What is written on the board of an object.
pub(super) fn reconciled(destination: &EventDestination, outcome: Outcome) -> Reconciled {
    Reconciled {
        uid: destination.metadata.uid.clone().unwrap_or_default(),
        generation: destination.metadata.generation.unwrap_or(1),
        bus: destination.spec.bus.clone(),
        outcome,
        status: destination.status.clone().unwrap_or_default(),
    }
}
