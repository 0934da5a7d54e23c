//! Tells a worker's pods of new plans. A kubelet refreshes a mounted Secret only after 60–90 s, but at once when the pod changes: so we change an
//! annotation of it. The change can overtake the kubelet's own watch of the Secret, so it is repeated until the plans are reported.

use super::apply::MayWrite;
use super::pods::Pods;
use crate::operator::api::{self, FIELD_MANAGER};
use crate::operator::error::Error;
use crate::operator::metrics::OperatorMetrics;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

/// The annotation: the resource version of the plan Secret, and how often it was repeated.
const PLANS: &str = "posthorn.dev/plans";
/// When pods are told, counted from the write of the Secret.
const TIMES: [Duration; 4] = [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(12)];

/// The plan that the worker of a destination (UID) reports to run.
pub type Reported = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Tells pods.
pub struct Nudges {
    pods: Arc<Pods>,
    reported: Reported,
    may_write: MayWrite,
    metrics: OperatorMetrics,
    workers: Mutex<HashMap<String, State>>,
}

/// What is under way for one worker.
#[derive(Default)]
struct State {
    /// UID → the plan that is to be reported.
    awaited: BTreeMap<String, String>,
    task: Option<AbortOnDropHandle<()>>,
}

/// What was written into a plan Secret.
#[derive(Debug)]
pub struct News {
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
    /// Whether pods are to be told at once, or only if a plan is still not reported after a while: nothing was changed that we know of.
    pub at_once: bool,
    /// UID → plan: all that it holds.
    pub plans: BTreeMap<String, String>,
    /// UIDs of those that are new in it.
    pub changed: Vec<String>,
}

impl Nudges {
    /// One that has told nobody yet.
    pub fn new(pods: Arc<Pods>, reported: Reported, may_write: MayWrite, metrics: OperatorMetrics) -> Nudges {
        Nudges { pods, reported, may_write, metrics, workers: Mutex::default() }
    }

    /// Tells the pods of a worker, now and again until what was written is reported; in place of what it was telling them before.
    pub fn tell(self: &Arc<Self>, worker: &str, news: News) {
        let News { resource_version, at_once, plans, changed } = news;
        let (nudges, name) = (Arc::clone(self), worker.to_owned());
        let mut workers = self.workers();
        let state = workers.entry(worker.to_owned()).or_default();
        let is_awaited = |uid: &String| changed.contains(uid) || state.awaited.contains_key(uid);
        state.awaited = plans.into_iter().filter(|(uid, _)| is_awaited(uid)).collect();
        state.task = Some(AbortOnDropHandle::new(tokio::spawn(async move { nudges.run(&name, &resource_version, at_once).await })));
    }

    /// Forgets a worker that is gone.
    pub fn forget(&self, worker: &str) {
        self.workers().remove(worker);
    }

    async fn run(&self, worker: &str, resource_version: &str, at_once: bool) {
        let begin = Instant::now();
        for (count, after) in TIMES.into_iter().enumerate().skip(usize::from(!at_once)) {
            tokio::time::sleep_until(begin + after).await;
            if count > 0 && self.is_reported(worker) {
                return;
            }
            if let Err(error) = self.nudge(worker, &value(resource_version, count)).await {
                match error {
                    Error::NotLeading => return,
                    error => self.failed(worker, &error),
                }
            }
        }
    }

    /// Whether all plans are reported; those that are, are waited for no more.
    fn is_reported(&self, worker: &str) -> bool {
        let mut workers = self.workers();
        let Some(state) = workers.get_mut(worker) else { return true };
        state.awaited.retain(|uid, plan| (self.reported)(uid).as_ref() != Some(plan));
        state.awaited.is_empty()
    }

    fn failed(&self, worker: &str, error: &Error) {
        let class = error.class();
        self.metrics.nudge_failed(class);
        warn!(worker, class = class.word(), %error, "pods not told of new plans; the kubelet finds them within 90 s");
    }

    async fn nudge(&self, worker: &str, value: &str) -> Result<(), Error> {
        for pod in self.pods.look(worker).await? {
            let name = pod.name_any();
            if !(self.may_write)() {
                return Err(Error::NotLeading);
            }
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({"metadata": {"annotations": {PLANS: value}}}));
            match api::call(format!("patch Pod {name}"), self.pods.api.patch_metadata(&name, &params, &patch)).await {
                Ok(_) => {
                    self.metrics.nudges.inc();
                    debug!(worker, pod = name, value, "pod told of new plans");
                }
                // it ended meanwhile
                Err(error) if api::is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another one each time, so that the pod does change.
fn value(resource_version: &str, count: usize) -> String {
    if count == 0 { resource_version.to_owned() } else { format!("{resource_version}.{count}") }
}
