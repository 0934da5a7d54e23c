//! Writes statuses.

use super::make::make;
use super::pace::{Change, Pace};
use crate::api::status::Condition;
use crate::api::{API_VERSION, EventDestination, EventDestinationStatus, KIND};
use crate::operator::board::{Board, Entry, Key};
use crate::operator::events::Events;
use crate::operator::leader::Leadership;
use crate::shutdown::Shutdown;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The field manager of statuses.
pub const FIELD_MANAGER: &str = "posthorn-operator-status";
/// Longest wait for the API server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most writes under way.
const AT_ONCE: usize = 8;
/// How often a process that does not lead looks whether it does.
const STANDBY: Duration = Duration::from_secs(1);

/// What is wrong with the Deployment of this name, for a person.
pub type Trouble = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Counts writes of statuses. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WriteMetrics(Family<ResultLabel, Counter>);

impl WriteMetrics {
    /// Registers `posthorn_operator_status_writes_total` by result: `Written`, or the class of the error.
    pub fn register(&self, registry: &mut Registry) {
        self.count(WRITTEN, 0);
        registry.register("posthorn_operator_status_writes", "Writes of the status of EventDestinations, by result", self.0.clone());
    }

    fn count(&self, result: &'static str, by: u64) {
        self.0.get_or_create(&ResultLabel { result }).inc_by(by);
    }
}

const WRITTEN: &str = "Written";
const GONE: &str = "Gone";

/// Class of what came of a write, a label.
fn class(error: &kube::Error) -> &'static str {
    let kube::Error::Api(status) = error else { return "Unreachable" };
    match status.code {
        404 => GONE,
        401 | 403 => "Forbidden",
        // the uid is another: it was deleted and made again
        409 => GONE,
        422 if status.message.contains("uid") => GONE,
        400 | 422 => "Invalid",
        429 => "Throttled",
        _ => "ServerError",
    }
}

/// Writes the statuses of all objects on the board.
pub struct StatusWriter {
    board: Board,
    client: kube::Client,
    leadership: Leadership,
    events: Events,
    trouble: Trouble,
    metrics: WriteMetrics,
    pace: Pace,
    under_way: JoinSet<Written>,
}

/// A write that ended.
struct Written {
    key: Key,
    before: Entry,
    status: EventDestinationStatus,
    result: Result<(), &'static str>,
}

impl StatusWriter {
    /// `per_second`: most writes per second.
    pub fn new(
        board: Board,
        client: kube::Client,
        leadership: Leadership,
        events: Events,
        trouble: Trouble,
        metrics: WriteMetrics,
        per_second: u32,
    ) -> StatusWriter {
        let pace = Pace::new(per_second, Instant::now());
        StatusWriter { board, client, leadership, events, trouble, metrics, pace, under_way: JoinSet::new() }
    }

    /// Works until `shutdown`; writes under way are finished.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            let wake = self.begin_writes();
            tokio::select! {
                changed = self.board.changed() => changed.iter().for_each(|key| self.plan(key)),
                Some(ended) = self.under_way.join_next() => if let Ok(written) = ended { self.ended(written) },
                () = sleep_until(wake) => {}
                () = shutdown.begun() => {}
            }
        }
        while let Some(ended) = self.under_way.join_next().await {
            if let Ok(written) = ended {
                self.ended(written);
            }
        }
    }

    fn make(&self, key: &Key) -> Option<(Entry, EventDestinationStatus)> {
        let (entry, storage) = self.board.facts(key)?;
        let worker = entry.applied.as_ref().and_then(|applied| applied.worker.name.as_deref());
        let trouble = worker.and_then(|name| (self.trouble)(name));
        let status = make(&entry, &storage, trouble.as_deref());
        Some((entry, status))
    }

    fn plan(&mut self, key: &Key) {
        match self.make(key) {
            Some((entry, status)) => self.pace.plan(key, change(&entry.status, &status), Instant::now()),
            None if self.board.get(key).is_none() => self.pace.forget(key),
            // it will be looked at first
            None => {}
        }
    }

    /// Begins the writes that are due; answers when to look again.
    fn begin_writes(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if !self.leadership.leads() {
            return Some(now + STANDBY);
        }
        while self.under_way.len() < AT_ONCE {
            let Some(key) = self.pace.take(now) else { return self.pace.next(now) };
            match self.make(&key) {
                Some((before, status)) if change(&before.status, &status) != Change::None => {
                    self.under_way.spawn(write(self.client.clone(), key, before, status));
                }
                _ => self.pace.done(&key, false, now),
            }
        }
        None
    }

    fn ended(&mut self, written: Written) {
        let Written { key, before, status, result } = written;
        let now = Instant::now();
        self.metrics.count(result.err().unwrap_or(WRITTEN), 1);
        match result {
            Ok(()) => {
                self.pace.done(&key, true, now);
                self.board.written(&key, &before.uid, status.clone());
                self.events.transition(&key, &before.uid, &before.status, &status);
            }
            // whoever watches it says so too, and removes it from the board
            Err(GONE) => self.pace.failed(&key, now),
            Err(_) => {
                self.pace.failed(&key, now);
                self.plan(&key);
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn write(client: kube::Client, key: Key, before: Entry, status: EventDestinationStatus) -> Written {
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        // an object of the same name that was made since is another one
        "metadata": {"name": key.name, "uid": before.uid},
        "status": status,
    });
    let kind = ApiResource::erase::<EventDestination>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, &key.namespace, &kind);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let result = match tokio::time::timeout(TIMEOUT, api.patch_status(&key.name, &params, &Patch::Apply(&body))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(log(&key, class(&error), &error)),
        Err(elapsed) => Err(log(&key, "Timeout", &elapsed)),
    };
    Written { key, before, status, result }
}

fn log(key: &Key, class: &'static str, error: &dyn std::fmt::Display) -> &'static str {
    if class == GONE {
        tracing::debug!(destination = %key, %error, "the object of a status is gone");
    } else {
        tracing::warn!(destination = %key, class, %error, "a status was not written; tried again");
    }
    class
}

/// How a status differs from the one that was written.
fn change(former: &EventDestinationStatus, status: &EventDestinationStatus) -> Change {
    if former == status {
        return Change::None;
    }
    let transition = former.observed_generation != status.observed_generation
        || former.worker != status.worker
        || former.start_sequence != status.start_sequence
        || former.conditions.len() != status.conditions.len()
        || status.conditions.iter().any(|condition| !is_known(&former.conditions, condition));
    if transition { Change::Transition } else { Change::Numbers }
}

/// Whether a condition is there with this status and reason. Whether there is anything to do (`Idle`, `Active`) changes all the time, like a
/// number.
fn is_known(conditions: &[Condition], wanted: &Condition) -> bool {
    let calm = |condition: &Condition| matches!(condition.reason.as_str(), "Idle" | "Active");
    let same = |former: &Condition| {
        former.status == wanted.status
            && former.observed_generation == wanted.observed_generation
            && (former.reason == wanted.reason || calm(former) && calm(wanted))
    };
    conditions.iter().any(|former| former.r#type == wanted.r#type && same(former))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::ConditionStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn status(reason: &str, backlog: i64) -> EventDestinationStatus {
        let condition = Condition {
            r#type: "Delivering".into(),
            status: ConditionStatus::True,
            observed_generation: Some(1),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            reason: reason.into(),
            message: String::new(),
        };
        EventDestinationStatus { conditions: vec![condition], backlog: Some(backlog), ..EventDestinationStatus::default() }
    }

    #[test]
    fn what_somebody_may_wait_for_is_a_transition() {
        let former = status("Idle", 0);
        let mut other = former.clone();
        other.conditions[0].message = "another".into();
        let cases = [
            (former.clone(), Change::None),
            (status("Idle", 7), Change::Numbers),
            (status("Active", 7), Change::Numbers),
            (other, Change::Numbers),
            (status("RateLimited", 0), Change::Transition),
            (EventDestinationStatus { observed_generation: Some(2), ..former.clone() }, Change::Transition),
            (EventDestinationStatus { start_sequence: Some("0-0".into()), ..former.clone() }, Change::Transition),
            (EventDestinationStatus { conditions: Vec::new(), ..former.clone() }, Change::Transition),
        ];
        for (status, expected) in cases {
            assert_eq!(change(&former, &status), expected, "{status:?}");
        }
    }
}
