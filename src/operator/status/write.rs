//! Writes statuses.

use super::make::make;
use super::pace::{Change, Pace};
use crate::api::status::Condition;
use crate::api::{API_VERSION, EventDestinationStatus, KIND};
use crate::operator::api::{call, unparsed};
use crate::operator::board::{Board, Entry, Key, Outcome};
use crate::operator::error::{Class, Error};
use crate::operator::events::Events;
use crate::operator::leader::Leadership;
use crate::operator::metrics::OperatorMetrics;
use crate::shutdown::Shutdown;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Level;

/// The field manager of statuses.
pub const FIELD_MANAGER: &str = "posthorn-operator-status";
/// Most writes under way.
const AT_ONCE: usize = 8;
/// How often a process that does not lead looks whether it does.
const STANDBY: Duration = Duration::from_secs(1);

/// What is wrong with the Deployment of this name, for a person.
pub type Trouble = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Writes the statuses of all objects on the board.
pub struct StatusWriter {
    board: Board,
    client: kube::Client,
    leadership: Leadership,
    events: Events,
    trouble: Trouble,
    metrics: OperatorMetrics,
    pace: Pace,
    under_way: JoinSet<Written>,
    /// What was told of failures and has not passed since.
    told: HashSet<(Class, Option<Key>)>,
}

/// A write that ended.
struct Written {
    key: Key,
    before: Entry,
    status: EventDestinationStatus,
    result: Result<(), Error>,
}

impl StatusWriter {
    /// `per_second`: most writes per second.
    pub fn new(
        board: Board,
        client: kube::Client,
        leadership: Leadership,
        events: Events,
        trouble: Trouble,
        metrics: OperatorMetrics,
        per_second: u32,
    ) -> StatusWriter {
        let pace = Pace::new(per_second, Instant::now());
        let (under_way, told) = (JoinSet::new(), HashSet::new());
        StatusWriter { board, client, leadership, events, trouble, metrics, pace, under_way, told }
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
            None if self.board.get(key).is_none() => {
                self.pace.forget(key);
                self.told.retain(|(_, whose)| whose.as_ref() != Some(key));
            }
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
        match result {
            Ok(()) => {
                self.metrics.status_writes.inc();
                self.told_no_more(&key);
                self.pace.done(&key, true, now);
                self.events.transition(&key, &before.uid, &before.status, &status);
                self.board.written(&key, &before.uid, status);
            }
            Err(error) => {
                let class = error.class();
                self.metrics.status_failed(class);
                self.pace.failed(&key, class.delays(), now);
                if self.tell(&key, &error) && class == Class::Invalid {
                    // where the API server takes no status of an object that cannot be read, an Event says what is wrong with it
                    self.events.transition(&key, &before.uid, &before.status, &status);
                }
                // one that is gone: whoever watches it says so too; the next reconcile plans it again, if there is one
                if class != Class::NotFound {
                    self.plan(&key);
                }
            }
        }
    }

    /// Tells each kind of failure of an object once until it passes, and that the API server is away once for all objects. Whether it was told now.
    fn tell(&mut self, key: &Key, error: &Error) -> bool {
        let class = error.class();
        let whose = (!error.is_silence()).then(|| key.clone());
        let first = class.level() <= Level::WARN && self.told.insert((class, whose));
        if first {
            tracing::warn!(destination = %key, class = class.word(), %error, "a status was not written; tried again");
        } else {
            tracing::debug!(destination = %key, class = class.word(), %error, "a status was not written");
        }
        first
    }

    /// The status of an object was written.
    fn told_no_more(&mut self, key: &Key) {
        if self.told.is_empty() {
            return;
        }
        let before = self.told.len();
        self.told.retain(|(_, whose)| whose.as_ref().is_some_and(|whose| whose != key));
        if self.told.len() < before {
            tracing::info!(destination = %key, "statuses are written again");
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
    let result = match apply(&client, &key, &json!(status)).await {
        Ok(uid) if uid == before.uid => Ok(()),
        // of an object that an older, looser definition let in the API server cannot tell whose field is whose
        Err(error) if error.is_internal() && matches!(before.outcome, Outcome::Rejected { .. }) => {
            merge(&client, &key, &before.uid, &status).await
        }
        // An apply does not look at the uid. What was made under this name since begins anew.
        Ok(_) => match apply(&client, &key, &json!({})).await {
            Ok(_) => Err(made_again(&key)),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    Written { key, before, status, result }
}

/// Says in the status of an object what is wrong with it. Only what every status has: a merge owns beside later applies, which could not take out again
/// what comes and goes.
async fn merge(client: &kube::Client, key: &Key, uid: &str, status: &EventDestinationStatus) -> Result<(), Error> {
    let mut conditions = status.conditions.clone();
    conditions.retain(|condition| condition.r#type != "DataLost");
    let status = json!({"observedGeneration": status.observed_generation, "conditions": conditions});
    let patch = json!({"metadata": {"uid": uid}, "status": status});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = async { unparsed(client, &key.namespace).patch_status(&key.name, &params, &Patch::Merge(&patch)).await };
    call(format!("patch status of EventDestination {key}"), request).await.map(drop)
}

/// Answers the uid of the object that has this status now.
async fn apply(client: &kube::Client, key: &Key, status: &serde_json::Value) -> Result<String, Error> {
    let body = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": key.name}, "status": status});
    let api = unparsed(client, &key.namespace);
    let (params, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&body));
    let object = call(format!("patch status of EventDestination {key}"), api.patch_status(&key.name, &params, &patch)).await?;
    Ok(object.metadata.uid.unwrap_or_default())
}

fn made_again(key: &Key) -> Error {
    let status = Status::failure("it was deleted and made again", "NotFound").with_code(404);
    Error::api(format!("patch status of EventDestination {key}"))(kube::Error::Api(status.boxed()))
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
