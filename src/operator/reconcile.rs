//! The driver: dereference → validate → apply → outcome. Level-based: each pass makes the whole object true, whatever happened before.

use super::board::{Applied, Key, Outcome};
use super::cleanup::{self, Progress};
use super::context::{Context, Watched, key_of};
use super::error::Error;
use super::validate::{self, Rejection, Validated};
use super::{annotations, dereference, finalizer};
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
/// When an object is looked at again though nothing is known to have changed.
const AGAIN: Duration = Duration::from_secs(600);
/// The annotation by which a person asks us to leave an object alone.
const PAUSED: &str = "posthorn.dev/paused";

/// Makes one object true.
///
/// # Errors
/// What failed; [`on_error`] says when it is tried again.
pub async fn reconcile(object: Arc<Watched>, context: Arc<Context>) -> Result<Action, Error> {
    if !context.leadership.leads() {
        // whoever leads next begins with all objects
        return Ok(Action::await_change());
    }
    let (key, began) = (key_of(&*object), Instant::now());
    let result = tokio::time::timeout(LIMIT, pass(&object, &key, &context)).await;
    let result = result.unwrap_or_else(|_| Err(Error::Timeout { doing: format!("reconcile EventDestination {key}"), limit: LIMIT }));
    context.metrics.reconciled(&result, began.elapsed());
    if result.is_ok() {
        context.backoff.clear(&key);
    }
    result
}

/// When a failed object is tried again; says on its status what failed.
pub fn on_error(object: Arc<Watched>, error: &Error, context: Arc<Context>) -> Action {
    let key = key_of(&*object);
    if let Some(reason) = error.reason() {
        set(&context, &object, &key, Outcome::Failed { reason, message: error.to_string() });
    }
    Action::requeue(context.backoff.failed(&key, error))
}

async fn pass(object: &Watched, key: &Key, context: &Context) -> Result<Action, Error> {
    let metadata = kube::Resource::meta(object);
    if metadata.deletion_timestamp.is_some() {
        return delete(context, key, metadata, object.0.as_ref().ok()).await;
    }
    if object.annotations().get(PAUSED).is_some_and(|value| value == "true") {
        context.board.pause(key, object);
        return Ok(Action::await_change());
    }
    let destination = match &object.0 {
        Ok(destination) => destination,
        Err(invalid) => {
            let message = format!("cannot be read: {invalid}");
            set(context, object, key, Outcome::Rejected { reason: "InvalidSpec", message });
            return Ok(Action::await_change());
        }
    };
    if !finalizer::is_on(metadata) {
        finalizer::add(&context.client, key, metadata).await?;
        failpoint::hit("operator.finalizer", &key.name);
        // the change that we just made is the next reason to reconcile
        return Ok(Action::await_change());
    }
    let outcome = match wanted(context, key, destination).await? {
        Ok(wanted) => Outcome::Applied(apply(context, key, wanted).await?),
        Err(rejection) => reject(context, destination, rejection).await?,
    };
    let accepted = matches!(outcome, Outcome::Applied(_));
    set(context, object, key, outcome);
    failpoint::hit("operator.outcome", &key.name);
    if accepted {
        annotations::handle(context, key, destination).await?;
    }
    Ok(Action::requeue(AGAIN))
}

/// Dereference and validate: what is to be applied, or why nothing is.
async fn wanted(context: &Context, key: &Key, destination: &EventDestination) -> Result<Result<Validated, Rejection>, Error> {
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
async fn apply(context: &Context, key: &Key, wanted: Validated) -> Result<Applied, Error> {
    let link = context.links.current()?;
    context.leadership.require()?;
    context.routes.apply(&link, &wanted).await?;
    failpoint::hit("operator.routed", &key.name);
    let Validated { uid, bus: _, start: _, route, plan, isolation } = wanted;
    context.leadership.require()?;
    let worker = context.workers.run(&uid, key, route.suspend, plan.as_ref(), isolation).await?;
    failpoint::hit("operator.worker", &key.name);
    Ok(Applied { route, plan: plan.map(|plan| plan.id), worker })
}

/// What ran before goes on, unless it has lost its place on the bus.
async fn reject(context: &Context, destination: &EventDestination, rejection: Rejection) -> Result<Outcome, Error> {
    let Rejection { reason, message, evicts } = rejection;
    if evicts {
        let uid = destination.metadata.uid.as_deref().unwrap_or_default();
        let link = context.links.current()?;
        context.routes.close(&link, &destination.spec.bus, uid, destination.metadata.generation.unwrap_or(1)).await?;
    }
    Ok(Outcome::Rejected { reason, message })
}

async fn delete(context: &Context, key: &Key, metadata: &ObjectMeta, object: Option<&EventDestination>) -> Result<Action, Error> {
    if !finalizer::is_on(metadata) {
        return Ok(Action::await_change());
    }
    context.leadership.require()?;
    match cleanup::cleanup(context, key, metadata, object).await? {
        Progress::Draining(again) => return Ok(Action::requeue(again)),
        Progress::Done => {}
    }
    failpoint::hit("operator.cleaned", &key.name);
    finalizer::remove(&context.client, key, metadata).await?;
    context.references.forget(key);
    context.board.remove(key);
    Ok(Action::await_change())
}

fn set(context: &Context, object: &Watched, key: &Key, outcome: Outcome) {
    context.board.set_outcome(key, object, outcome);
}
