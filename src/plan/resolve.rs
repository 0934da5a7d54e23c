//! From a valid `EventDestination` and the Secrets at hand to what a worker and the router run from.

mod credentials;
mod limits;
mod sink;

use super::{BackoffPolicy, Delivery, OnExhausted, Ordering, Plan, Route, RouteState, Secret, Sink, Start, Unresolved};
use crate::api::not_yet::{self, Place};
use crate::api::objects::Objects;
use crate::api::spec::{self, EventDestination, EventDestinationSpec};
use crate::api::{filter, values};
use crate::filter::Filter;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::fmt;
use std::time::Duration;
use url::Url;

/// What one destination becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// For the worker; or what it refers to that is missing or wrong. Its events are routed all the same, and wait.
    pub plan: Result<Plan, Vec<Problem>>,
    /// For the router.
    pub route: Route,
    /// The bus it reads.
    pub bus: String,
    /// Where a new queue begins.
    pub start: Start,
}

impl Resolved {
    /// For where the admin does not allow `insecureSkipVerify`: a destination that asks for it gets no plan, so its events wait.
    pub fn without_insecure_tls(mut self) -> Resolved {
        let asks = |plan: &Plan| {
            let Sink::Http(http) = &plan.sink;
            http.insecure_skip_verify
        };
        if self.plan.as_ref().is_ok_and(asks) {
            let problem = Problem::new(
                "spec.sink.http.tls.insecureSkipVerify",
                Reason::InsecureNotAllowed,
                "not allowed here: trust the receiver's certificate by caBundleRef, or have the admin set --allow-insecure-tls",
            );
            self.route.unresolved = Some(Unresolved { reason: problem.reason.to_string(), message: problem.to_string() });
            self.plan = Err(vec![problem]);
        }
        self
    }
}

/// Where destinations are run, and what `sink.http.ref` stands for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// One process, from a directory.
    Standalone,
    /// A cluster: what `ref` stands for, or why it stands for nothing; `None` if there is no such object, or no `ref`.
    Cluster(Option<Result<Address, Problem>>),
}

impl Surroundings {
    fn place(&self) -> Place {
        match self {
            Surroundings::Standalone => Place::Standalone,
            Surroundings::Cluster(_) => Place::Cluster,
        }
    }
}

/// Where the object that `sink.http.ref` names can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its URL, with the path that `ref` adds to it.
    pub url: Url,
    /// It is a Service, so that it may be at a private address whatever the egress policy says. Of no other URL that is believed: who may
    /// write an object's status could else reach what a `uri` may not.
    pub is_service: bool,
}

/// Why a destination cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Problem {
    /// The field: `spec.sink.http.auth.bearer.secretKeyRef`.
    pub path: String,
    /// Class, as a condition shows it.
    pub reason: Reason,
    /// What is wrong, and what to do about it. Never a value of a Secret.
    pub message: String,
}

/// Class of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The schema offers it, the data plane does not do it yet.
    NotImplemented,
    /// A value that the schema should have refused.
    InvalidSpec,
    /// There is no such Secret.
    SecretNotFound,
    /// The Secret has no such key.
    SecretKeyMissing,
    /// The Secret does not opt in.
    SecretNotAllowed,
    /// The Secret's value cannot be what it is used as.
    InvalidSecret,
    /// There is no such ConfigMap, or it has no such key.
    ConfigMapNotFound,
    /// Not PEM certificates.
    InvalidCABundle,
    /// It would accept any certificate, which the admin does not allow.
    InsecureNotAllowed,
    /// There is no such object as `ref` names.
    RefNotFound,
    /// The API server does not know such a kind of object.
    RefKindNotFound,
    /// `ref` names another namespace, which does not grant it.
    RefNotPermitted,
    /// The operator may not read such objects.
    RefForbidden,
    /// The object publishes no URL, or (as yet) none that events can be sent to.
    RefNotAddressable,
    /// The Service has no such port.
    PortNotFound,
    /// The Service has several ports, and `ref` names none.
    PortAmbiguous,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Problem {
    /// A problem of one field.
    pub fn new(path: impl Into<String>, reason: Reason, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), reason, message: message.into() }
    }

    fn invalid(path: &str, error: impl fmt::Display) -> Problem {
        Problem::new(path, Reason::InvalidSpec, error.to_string())
    }
}

/// Makes the plan and the route of a valid destination, for a bus without replicas. `uid` names its queue; generation and time of creation are
/// those of its metadata (1 and empty where there are none). The plan has no `id`: who writes it down names it.
///
/// Deterministic: the same object, Secrets and surroundings give the same plan.
pub fn resolve(
    destination: &EventDestination,
    uid: &str,
    objects: &Objects,
    surroundings: &Surroundings,
) -> Result<Resolved, Vec<Problem>> {
    let not_yet = not_implemented(destination, surroundings.place());
    if !not_yet.is_empty() {
        return Err(not_yet);
    }
    let EventDestinationSpec {
        bus,
        start_from,
        start_time,
        suspend,
        filters,
        sink,
        ordering,
        delivery,
        limits,
        isolation: _,       // whose worker it is, not what the worker does
        deletion_policy: _, // read when it is deleted: `operator::validate::drain_timeout`
        drain_timeout: _,
    } = &destination.spec;
    let ObjectMeta { namespace, name, .. } = &destination.metadata;
    let (namespace, name) = (namespace.clone().unwrap_or_default(), name.clone().unwrap_or_default());
    let mut problems = Vec::new();
    let sink = match sink::resolve(sink, &namespace, objects, surroundings) {
        Err(wrong) if wrong.iter().any(|problem| problem.reason == Reason::InvalidSpec) => {
            problems.extend(wrong);
            None
        }
        resolved => Some(resolved),
    };
    let delivery = problems.keep(resolve_delivery(delivery));
    let filters = problems.keep(resolve_filters(filters));
    let limits = problems.keep(limits::resolve(limits.as_ref()));
    let (Some(sink), Some((delivery, dead_letter_max_age)), Some(filters), Some((rate, limit))) = (sink, delivery, filters, limits) else {
        return Err(problems);
    };
    let mut route = route(&destination.metadata, sink::shown(&destination.spec.sink), filters, *suspend, dead_letter_max_age);
    route.limit = limit;
    route.dead_letters_to.clone_from(&delivery.dead_letters_to);
    let plan = match sink {
        Ok((sink, sink_uri)) => {
            route.sink_uri = sink_uri;
            let (uid, bus, sink) = (uid.to_owned(), bus.clone(), Sink::Http(sink));
            let (id, suspend, ordering) = (String::new(), *suspend, resolve_ordering(ordering));
            Ok(Plan { id, uid, bus, namespace, name, suspend, sink, ordering, rate, delivery, replicas: 0 })
        }
        Err(problems) => {
            route.unresolved =
                problems.first().map(|problem| Unresolved { reason: problem.reason.to_string(), message: problem.to_string() });
            Err(problems)
        }
    };
    let start = match (start_from, start_time) {
        (spec::StartFrom::Latest, _) => Start::Latest,
        (spec::StartFrom::Earliest, _) => Start::Earliest,
        (spec::StartFrom::Time, Some(time)) => Start::Since(u64::try_from(time.0.as_millisecond()).unwrap_or_default()),
        (spec::StartFrom::Time, None) => return Err(vec![Problem::invalid("spec.startTime", "startTime is needed with startFrom: Time")]),
    };
    Ok(Resolved { plan, route, bus: bus.clone(), start })
}

fn route(metadata: &ObjectMeta, sink_uri: String, filters: Vec<Filter>, suspend: bool, dead_letter_max_age: Duration) -> Route {
    Route {
        owner: String::new(), // who writes it fills it in
        rev: metadata.generation.unwrap_or(1),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map_or_else(String::new, |time| time.0.to_string()),
        sink_uri,
        filters,
        state: RouteState::Open,
        suspend,
        dead_letter_max_age,
        limit: None,
        dead_letters_to: None,
        unresolved: None,
    }
}

/// Takes the problems out of a result.
trait Keep {
    fn keep<T>(&mut self, result: Result<T, Vec<Problem>>) -> Option<T>;
}

impl Keep for Vec<Problem> {
    fn keep<T>(&mut self, result: Result<T, Vec<Problem>>) -> Option<T> {
        result.map_err(|problems| self.extend(problems)).ok()
    }
}

fn not_implemented(destination: &EventDestination, place: Place) -> Vec<Problem> {
    let object = serde_json::to_value(destination).expect("a destination is JSON");
    let found = not_yet::find(&object, place);
    found.into_iter().map(|found| Problem::new(found.path, Reason::NotImplemented, found.sentence)).collect()
}

/// Most requests in progress where the spec says nothing.
const MAX_IN_FLIGHT: u32 = 8;

fn resolve_ordering(spec::Ordering { mode, key_attribute, max_in_flight }: &spec::Ordering) -> Ordering {
    let max_in_flight = max_in_flight.and_then(|most| u32::try_from(most).ok()).unwrap_or(MAX_IN_FLIGHT);
    match mode {
        spec::OrderingMode::Strict => Ordering::Strict,
        spec::OrderingMode::PerKey => {
            Ordering::PerKey { key_attribute: key_attribute.clone().unwrap_or_else(|| "partitionkey".into()), max_in_flight }
        }
        spec::OrderingMode::Unordered => Ordering::Unordered { max_in_flight },
    }
}

fn resolve_delivery(delivery: &spec::Delivery) -> Result<(Delivery, Duration), Vec<Problem>> {
    let spec::Delivery { retry, backoff_policy, backoff_delay, backoff_max, timeout, max_event_age, on_exhausted, dead_letter } = delivery;
    let spec::DeadLetter { max_age, max_events, destination_ref } = dead_letter;
    let read =
        |field: &str, text: &str| values::duration(text).map_err(|error| vec![Problem::invalid(&format!("spec.delivery.{field}"), error)]);
    let delivery = Delivery {
        retry: u32::try_from(*retry).ok(),
        backoff_policy: match backoff_policy {
            spec::BackoffPolicy::Exponential => BackoffPolicy::Exponential,
            spec::BackoffPolicy::Linear => BackoffPolicy::Linear,
            spec::BackoffPolicy::Constant => BackoffPolicy::Constant,
        },
        backoff_delay: read("backoffDelay", backoff_delay)?,
        backoff_max: read("backoffMax", backoff_max)?,
        timeout: read("timeout", timeout)?,
        max_event_age: max_event_age.as_deref().map(|text| read("maxEventAge", text)).transpose()?,
        on_exhausted: match on_exhausted {
            spec::OnExhausted::DeadLetter => OnExhausted::DeadLetter,
            spec::OnExhausted::Block => OnExhausted::Block,
            spec::OnExhausted::Drop => OnExhausted::Drop,
        },
        max_dead_letters: u64::try_from(*max_events).unwrap_or_default(),
        dead_letters_to: destination_ref.as_ref().map(|spec::DestinationRef { name }| name.clone()),
    };
    Ok((delivery, read("deadLetter.maxAge", max_age)?))
}

fn resolve_filters(filters: &[filter::Filter]) -> Result<Vec<Filter>, Vec<Problem>> {
    filters.iter().enumerate().map(|(index, filter)| resolve_filter(filter, &format!("spec.filters[{index}]"))).collect()
}

fn resolve_filter(filter: &filter::Filter, path: &str) -> Result<Filter, Vec<Problem>> {
    let filter::Filter { exact, prefix, suffix, cel, all, any, not } = filter;
    if let Some(expression) = cel {
        return Ok(Filter::Cel(expression.clone()));
    }
    let many = |name: &str, nested: &[filter::Filter]| {
        nested.iter().enumerate().map(|(index, one)| resolve_filter(one, &format!("{path}.{name}[{index}]"))).collect::<Result<Vec<_>, _>>()
    };
    match (exact, prefix, suffix, all, any, not) {
        (Some(exact), ..) => Ok(Filter::Exact(exact.clone())),
        (_, Some(prefix), ..) => Ok(Filter::Prefix(prefix.clone())),
        (_, _, Some(suffix), ..) => Ok(Filter::Suffix(suffix.clone())),
        (_, _, _, Some(all), ..) => Ok(Filter::All(many("all", all)?)),
        (_, _, _, _, Some(any), _) => Ok(Filter::Any(many("any", any)?)),
        (_, _, _, _, _, Some(not)) => Ok(Filter::Not(Box::new(resolve_filter(not, &format!("{path}.not"))?))),
        _ => Err(vec![Problem::invalid(path, "a filter needs exactly one dialect")]),
    }
}

#[cfg(test)]
mod tests;
