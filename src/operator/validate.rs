//! From an object and what it refers to, to what is to be applied. Pure; after it nobody reads the spec again.

use super::config::OperatorConfig;
use crate::api::spec::{EventDestination, Isolation};
use crate::bus::routing;
use crate::plan::{self, Plan, Problem, Reason, Resolved, Route};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::time::Duration;

/// All that is applied of one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// `metadata.uid`.
    pub uid: String,
    /// The bus it reads.
    pub bus: String,
    /// Where its queue begins, if it has to be made.
    pub start: routing::Start,
    /// For the router.
    pub route: Route,
    /// For the worker; `None` while something that it refers to is missing.
    pub plan: Option<Plan>,
    /// Whose worker runs it.
    pub isolation: Isolation,
}

/// Why a spec is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Reason of the condition Accepted.
    pub reason: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
    /// It may have no place on its bus at all: what runs is closed. Else what ran before goes on.
    pub evicts: bool,
}

impl Rejection {
    fn new(reason: &'static str, message: impl Into<String>) -> Rejection {
        Rejection { reason, message: message.into(), evicts: false }
    }
}

/// What can be said without looking at anything else: schema and rules once more (an older definition may have let it pass), bus, namespace, isolation.
///
/// # Errors
/// The first thing that is wrong, or all that the schema finds.
pub fn check(destination: &EventDestination, config: &OperatorConfig) -> Result<(), Rejection> {
    let mut object = serde_json::to_value(destination).expect("a destination is JSON");
    if let Some(metadata) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.retain(|field, _| field == "name" || field == "namespace");
    }
    let violations = crate::api::validate(&mut object, None);
    if !violations.is_empty() {
        let said: Vec<_> = violations.iter().map(|violation| format!("{}: {}", violation.path, violation.message)).collect();
        return Err(Rejection::new("InvalidSpec", said.join("; ")));
    }
    let bus = &destination.spec.bus;
    let namespace = destination.metadata.namespace.as_deref().unwrap_or_default();
    let Some(settings) = config.settings.buses.get(bus) else {
        let known = config.settings.buses.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Rejection::new("UnknownBus", format!("spec.bus: there is no bus {bus}; there are: {known}")));
    };
    if settings.allowed_namespaces.as_ref().is_some_and(|allowed| !allowed.iter().any(|one| one == namespace)) {
        let message =
            format!("spec.bus: namespace {namespace} may not read bus {bus}; the cluster admin allows it in the bus's allowedNamespaces");
        return Err(Rejection { reason: "BusNotAllowed", message, evicts: true });
    }
    if let Some(isolation) = destination.spec.isolation.filter(|isolation| !config.workers.allowed.contains(isolation)) {
        let allowed = config.workers.allowed.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(", ");
        return Err(Rejection::new(
            "IsolationNotAllowed",
            format!("spec.isolation: {isolation:?} is not allowed in this cluster; use {allowed} or leave it out"),
        ));
    }
    Ok(())
}

/// What is to be applied, of a destination that passed [`check`] and was resolved.
///
/// # Errors
/// What of its spec cannot be run.
pub fn validate(
    destination: &EventDestination,
    resolved: Result<Resolved, Vec<Problem>>,
    owner: &str,
    config: &OperatorConfig,
) -> Result<Validated, Rejection> {
    let resolved = resolved.map_err(|problems| rejection(&problems))?;
    let resolved = if config.workers.allow_insecure_tls { resolved } else { resolved.without_insecure_tls() };
    let Resolved { plan, mut route, bus, start } = resolved;
    let replicas = config.settings.buses.get(&bus).map_or(0, |bus| bus.durability.replicas);
    owner.clone_into(&mut route.owner);
    let plan = match plan {
        Ok(plan) => Some(Plan { replicas, ..plan }),
        Err(problems) => {
            route.unresolved =
                problems.first().map(|first| plan::Unresolved { reason: first.reason.to_string(), message: text(&problems) });
            None
        }
    };
    let recorded = destination.status.as_ref().and_then(|status| status.start_sequence.as_deref()?.parse().ok());
    let start = match (recorded, start) {
        (Some(sequence), _) => routing::Start::Recorded(sequence),
        (None, plan::Start::Latest) => routing::Start::Latest,
        (None, plan::Start::Earliest) => routing::Start::Earliest,
        (None, plan::Start::Since(millis)) => routing::Start::Since(millis),
    };
    let uid = destination.metadata.uid.clone().unwrap_or_default();
    Ok(Validated { uid, bus, start, route, plan, isolation: destination.spec.isolation.unwrap_or(config.workers.default) })
}

fn rejection(problems: &[Problem]) -> Rejection {
    let reason = match problems.first().map(|problem| problem.reason) {
        Some(Reason::NotImplemented) => "NotImplemented",
        _ => "InvalidSpec",
    };
    Rejection::new(reason, text(problems))
}

fn text(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// How long a deleted destination goes on delivering what it has: `deletionPolicy: Drain` and `drainTimeout`, else not at all.
pub fn drain_timeout(destination: &EventDestination) -> Duration {
    destination.spec.drain_timeout()
}

/// Whether its deadline for draining has passed; true where none is known.
pub fn is_drained_out(metadata: &ObjectMeta, timeout: Duration, now: jiff::Timestamp) -> bool {
    metadata.deletion_timestamp.as_ref().is_none_or(|since| now.duration_since(since.0).unsigned_abs() >= timeout)
}
