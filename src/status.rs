//! Status of a destination, from what Redis holds. Pure.
//!
//! One function for whoever shows a destination: `posthorn get` and the control plane. Nothing here is the present time: a status that did not
//! change is made again exactly as it was.

use crate::api::status::{Condition, ConditionStatus, EventDestinationStatus, Head};
use crate::bus::state::Snapshot;
use crate::plan::{OnOverflow, Route, RouteState};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Longest ID, type and message shown, characters.
const MAX_TEXT: usize = 256;

/// The status of a destination that Redis holds. `StorageSafe` and `worker` are not known to Redis: who knows them adds them.
///
/// `lastTransitionTime` is the best that Redis knows; who keeps a former status carries the time of an unchanged condition over.
pub fn status(snapshot: &Snapshot, route: &Route) -> EventDestinationStatus {
    EventDestinationStatus { observed_generation: Some(route.rev), conditions: conditions(snapshot, route), ..figures(snapshot, route) }
}

/// The part of it that is not a judgement: numbers, times, the head.
pub fn figures(snapshot: &Snapshot, route: &Route) -> EventDestinationStatus {
    EventDestinationStatus {
        observed_generation: None,
        conditions: Vec::new(),
        sink_uri: Some(route.sink_uri.clone()),
        worker: None,
        backlog: Some(count(snapshot.backlog)),
        oldest_pending_time: snapshot.head.as_ref().map(|head| time(head.sequence.ms)),
        head: snapshot.head.as_ref().map(head),
        retries: Some(count(snapshot.retried)),
        delivered: Some(count(snapshot.settled)),
        dead_lettered: Some(count(snapshot.buried)),
        dropped: Some(count(snapshot.dropped)),
        matched: Some(count(snapshot.routed)),
        lost: Some(count(snapshot.lost)),
        start_sequence: snapshot.start.map(|start| start.padded()),
        dead_letters: Some(count(snapshot.dead_letters)),
        last_delivery_time: snapshot.last_ok.map(time),
        last_match_time: snapshot.last_match.map(time),
    }
}

/// Whether a condition holds, why, and since when.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, one word in CamelCase.
    pub reason: String,
    /// Why, for a person.
    pub message: String,
    /// Since when, as far as Redis knows; the time of creation where it does not.
    pub since: Time,
}

impl Finding {
    /// Makes one.
    pub fn new(status: ConditionStatus, reason: &str, message: impl Into<String>, since: Time) -> Finding {
        Finding { status, reason: reason.to_owned(), message: message.into(), since }
    }

    /// The condition of this type.
    pub fn condition(self, kind: &str, generation: i64) -> Condition {
        Condition {
            r#type: kind.to_owned(),
            status: self.status,
            observed_generation: Some(generation),
            last_transition_time: self.since,
            reason: self.reason,
            message: self.message,
        }
    }
}

fn conditions(snapshot: &Snapshot, route: &Route) -> Vec<Condition> {
    let (accepted, resolved, routed) = (accepted(route), resolved(route), routed(Some(snapshot), route));
    let (worker, delivering) = (worker_available(snapshot, route), delivering(snapshot, route));
    let ready = ready(&[&accepted, &resolved, &routed, &worker], &delivering, created(route));
    let mut found = vec![
        ("Ready", ready),
        ("Accepted", accepted),
        ("Resolved", resolved),
        ("Routed", routed),
        ("WorkerAvailable", worker),
        ("KeepingUp", keeping_up(snapshot, route)),
        ("Delivering", delivering),
    ];
    found.extend(dead_letter_target(snapshot, route).map(|target| ("DeadLetterTarget", target)));
    found.extend(data_lost(snapshot).map(|lost| ("DataLost", lost)));
    found.into_iter().map(|(kind, finding)| finding.condition(kind, route.rev)).collect()
}

/// All that is needed holds, and the destination is not at rest because it fails.
fn ready(needed: &[&Finding], delivering: &Finding, created: Time) -> Finding {
    let missing = needed.iter().copied().find(|finding| finding.status != ConditionStatus::True);
    let failing = matches!(delivering.reason.as_str(), "Halted" | "Blocked" | "KeyBacklogFull").then_some(delivering);
    match missing.or(failing) {
        Some(finding) => Finding::new(finding.status, &finding.reason, finding.message.clone(), finding.since.clone()),
        None => Finding::new(ConditionStatus::True, "Ready", "", created),
    }
}

/// Only what was accepted has a route.
fn accepted(route: &Route) -> Finding {
    Finding::new(ConditionStatus::True, "Accepted", "", created(route))
}

/// Whether all that it refers to was found.
pub fn resolved(route: &Route) -> Finding {
    match &route.unresolved {
        None => Finding::new(ConditionStatus::True, "Resolved", "", created(route)),
        Some(missing) => Finding::new(ConditionStatus::False, &missing.reason, missing.message.clone(), created(route)),
    }
}

/// Whether it takes events. Where it could not begin as early as it should have, that is told.
pub fn routed(snapshot: Option<&Snapshot>, route: &Route) -> Finding {
    let late = snapshot.and_then(|snapshot| Some((snapshot.gap?, snapshot.start?)));
    let message = late.map(|(gap, start)| {
        let (from, to) = (time(gap.ms).0, time(start.ms).0);
        format!("the bus kept nothing from {from} to {to}: it began after that")
    });
    match route.state {
        RouteState::Open => Finding::new(ConditionStatus::True, "Routed", message.unwrap_or_default(), created(route)),
        RouteState::Closed => {
            Finding::new(ConditionStatus::False, "Draining", "it is being deleted and takes no new events", created(route))
        }
    }
}

/// Whether a worker runs it, or none is wanted.
pub fn worker_available(snapshot: &Snapshot, route: &Route) -> Finding {
    match worker(snapshot) {
        Worker::Runs(_) => {
            let order = snapshot.order.as_deref().filter(|order| is_word(order));
            let message = order.map(|order| format!("delivers in order {order}")).unwrap_or_default();
            Finding::new(ConditionStatus::True, "WorkerRuns", message, reported(snapshot, route))
        }
        _ if route.suspend => Finding::new(ConditionStatus::True, "NotWanted", "delivery is suspended", created(route)),
        Worker::Gone => no_worker(ConditionStatus::False, snapshot, route),
        Worker::NotYet => pending(route),
    }
}

/// Whether its queue takes all that matches.
pub fn keeping_up(snapshot: &Snapshot, route: &Route) -> Finding {
    match (snapshot.fill, overflow(snapshot, route)) {
        (None, None) => Finding::new(ConditionStatus::True, "KeepingUp", "", created(route)),
        (None, Some(overflow)) => overflow,
        (Some(fill), _) => {
            let message = format!("events after {} wait in the bus until the queue has room for them", fill.padded());
            Finding::new(ConditionStatus::False, "WaitingInBus", message, time(fill.ms))
        }
    }
}

/// Its queue is at the limit of its spec: events are dropped.
fn overflow(snapshot: &Snapshot, route: &Route) -> Option<Finding> {
    let (limit, since) = (route.limit?, snapshot.overflow?);
    let which = match limit.on_overflow {
        OnOverflow::DropNewest => "new events are dropped (DropNewest)",
        OnOverflow::DropOldest => "the oldest events are dropped (DropOldest)",
    };
    let message = format!("its queue reached spec.limits.backlog: {which}, and counted in status.dropped");
    (snapshot.backlog > 0).then(|| Finding::new(ConditionStatus::False, "BacklogLimit", message, time(since)))
}

/// Whether the destination is there that its dead letters are sent to as well; `None` where none is named.
pub fn dead_letter_target(snapshot: &Snapshot, route: &Route) -> Option<Finding> {
    let name = route.dead_letters_to.as_ref()?;
    if snapshot.has_dead_letter_target {
        return Some(Finding::new(ConditionStatus::True, "Found", "", created(route)));
    }
    let message = format!(
        "spec.delivery.deadLetter.destinationRef: there is no EventDestination {name} in namespace {} on this bus; dead letters are kept, and not sent on",
        route.namespace
    );
    Some(Finding::new(ConditionStatus::False, "TargetNotFound", message, created(route)))
}

/// Whether someone deleted something of it from Redis; `None` if nobody did.
pub fn data_lost(snapshot: &Snapshot) -> Option<Finding> {
    let message = match snapshot.lost {
        0 => "what Redis held of it was lost; how many events waited is not known".to_owned(),
        lost => format!("its queue was deleted from Redis by someone else, with {lost} events in it"),
    };
    Some(Finding::new(ConditionStatus::True, "QueueDeleted", message, time(snapshot.data_lost?)))
}

/// The state of delivery, as its reason.
pub fn delivering(snapshot: &Snapshot, route: &Route) -> Finding {
    let since = reported(snapshot, route);
    let suspended = || Finding::new(ConditionStatus::False, "Suspended", "delivery is suspended, events go on accumulating", since.clone());
    match worker(snapshot) {
        Worker::Runs("Suspended") => suspended(),
        Worker::Runs(state) => match &snapshot.halted {
            Some((reason, at)) => halted(snapshot, reason, *at),
            None => running(snapshot, route, state, since),
        },
        _ if route.suspend => suspended(),
        Worker::Gone => no_worker(ConditionStatus::Unknown, snapshot, route),
        Worker::NotYet => pending(route),
    }
}

fn running(snapshot: &Snapshot, route: &Route, state: &str, since: Time) -> Finding {
    let told = || last_failure(snapshot).or_else(|| snapshot.reason.clone()).unwrap_or_default();
    match state {
        "Idle" | "Active" if route.state == RouteState::Closed => Finding::new(ConditionStatus::True, "Draining", "", since),
        "Idle" | "Active" | "RateLimited" => Finding::new(ConditionStatus::True, state, "", since),
        "KeyBacklogFull" => Finding::new(ConditionStatus::False, state, snapshot.reason.clone().unwrap_or_default(), since),
        "Retrying" | "Blocked" | "Halted" => Finding::new(ConditionStatus::False, state, told(), since),
        // a word of a newer version
        other => {
            let reason = if is_word(other) { other } else { "Unknown" };
            Finding::new(ConditionStatus::Unknown, reason, snapshot.reason.clone().unwrap_or_default(), since)
        }
    }
}

fn halted(snapshot: &Snapshot, reason: &str, at: u64) -> Finding {
    let detail = last_failure(snapshot).or_else(|| snapshot.reason.clone()).filter(|text| !text.is_empty());
    let message = match detail {
        Some(detail) => format!("{reason}: {detail}"),
        None => reason.to_owned(),
    };
    Finding::new(ConditionStatus::False, "Halted", message, time(at))
}

/// The last failure of the head: class, status code and message.
fn last_failure(snapshot: &Snapshot) -> Option<String> {
    let head = snapshot.head.as_ref()?;
    let class = head.class.as_deref()?;
    let code = head.code.map(|code| format!(" ({code})")).unwrap_or_default();
    let message = head.message.as_deref().filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default();
    Some(format!("attempt {} failed: {class}{code}{message}", head.attempts))
}

fn no_worker(status: ConditionStatus, snapshot: &Snapshot, route: &Route) -> Finding {
    Finding::new(status, "NoWorker", "the worker that ran it is gone; its events wait", reported(snapshot, route))
}

fn pending(route: &Route) -> Finding {
    Finding::new(ConditionStatus::Unknown, "Pending", "no worker has run it yet", created(route))
}

/// Who works on the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker<'a> {
    /// It holds the lease, and reported this state.
    Runs(&'a str),
    /// One has run it, and holds it no longer.
    Gone,
    /// None has reported anything.
    NotYet,
}

/// Who works on the queue.
pub fn worker(snapshot: &Snapshot) -> Worker<'_> {
    match (snapshot.owned, snapshot.state.as_deref()) {
        (true, Some(state)) => Worker::Runs(state),
        (false, Some(_)) => Worker::Gone,
        (_, None) => Worker::NotYet,
    }
}

/// When the worker last reported a change.
fn reported(snapshot: &Snapshot, route: &Route) -> Time {
    snapshot.reported.map_or_else(|| created(route), time)
}

/// When the destination was created; the epoch if that is not known.
pub fn created(route: &Route) -> Time {
    Time(route.created.parse().unwrap_or(Timestamp::UNIX_EPOCH))
}

fn head(head: &crate::bus::state::Head) -> Head {
    Head {
        sequence: Some(head.sequence.padded()),
        event_id: Some(cut(&head.id)),
        event_type: Some(cut(&head.event_type)),
        attempts: Some(i32::try_from(head.attempts).unwrap_or(i32::MAX)),
        first_attempt_time: head.first.map(time),
        next_attempt_time: head.next.map(time),
        last_status_code: head.code.map(i32::from),
        last_reason: head.class.clone(),
        last_message: head.message.as_deref().map(cut),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// From milliseconds since the epoch; what is beyond all calendars becomes the epoch.
pub fn time(ms: u64) -> Time {
    let known = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    Time(known.unwrap_or(Timestamp::UNIX_EPOCH))
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether it may be the reason of a condition.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
pub(crate) mod tests;
