//! Looks at the pods of workers: who is to be told of new plans, and why they do not run. Pods are not watched: that would be every pod of the
//! release namespace, for a word that is needed only in trouble. So those of a Deployment that has none ready are listed now and then.

use super::Inner;
use super::build::WORKER;
use super::health::why_not;
use crate::operator::api;
use crate::operator::error::Error;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

/// How long a Deployment may be without a ready pod before its pods are looked at; the pause doubles with each look.
const FIRST: Duration = Duration::from_secs(4);
/// Longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_secs(2);
/// Most looks in a tick, whatever number of Deployments is in trouble.
const MOST: usize = 8;

/// Told the name of a Deployment with which something is another.
pub type Changed = Arc<dyn Fn(&str) + Send + Sync>;

/// The pods of workers.
pub struct Pods {
    /// Pods of the release namespace.
    pub api: Api<Pod>,
    changed: Changed,
    /// Deployment → why its pods did not run when they were last looked at.
    complaints: Mutex<HashMap<String, String>>,
}

impl Pods {
    /// Nothing was looked at yet.
    pub fn new(api: Api<Pod>, changed: Changed) -> Pods {
        Pods { api, changed, complaints: Mutex::default() }
    }

    /// The pods of a worker that have not ended; notes why they do not run.
    ///
    /// # Errors
    /// If the API server refuses or does not answer.
    pub async fn look(&self, worker: &str) -> Result<Vec<Pod>, Error> {
        let params = ListParams::default().labels(&format!("{WORKER}={worker}"));
        let pods = api::call(format!("list Pods of {worker}"), self.api.list(&params)).await?;
        let ended = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
        };
        let pods: Vec<Pod> = pods.into_iter().filter(|pod| !ended(pod)).collect();
        self.note(worker, pods.iter().find_map(why_not));
        Ok(pods)
    }

    /// Why the pods of a worker did not run when they were last looked at.
    pub fn complaint(&self, worker: &str) -> Option<String> {
        self.complaints().get(worker).cloned()
    }

    /// Forgets a worker that runs, or is gone.
    pub fn forget(&self, worker: &str) {
        self.complaints().remove(worker);
    }

    fn note(&self, worker: &str, complaint: Option<String>) {
        let before = match complaint.clone() {
            Some(complaint) => self.complaints().insert(worker.to_owned(), complaint),
            None => self.complaints().remove(worker),
        };
        if before != complaint {
            (self.changed)(worker);
        }
    }

    fn complaints(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for ever at the pods of Deployments that should have one ready and have none.
pub async fn look_at_unavailable(inner: &Inner) {
    let mut turns = Turns::default();
    loop {
        tokio::time::sleep(TICK).await;
        let unavailable = if inner.objects.check_leading().is_ok() { inner.unavailable() } else { HashSet::new() };
        for worker in turns.take(unavailable, Instant::now()) {
            if let Err(error) = inner.pods.look(&worker).await {
                debug!(worker, %error, "pods cannot be looked at; soon again");
            }
        }
    }
}

/// Whose pods are looked at when.
#[derive(Debug, Default)]
struct Turns(HashMap<String, Turn>);

#[derive(Debug)]
struct Turn {
    at: Instant,
    pause: Duration,
}

impl Turns {
    /// Those whose turn it is, who waits longest first, of those that are in trouble now.
    fn take(&mut self, unavailable: HashSet<String>, now: Instant) -> Vec<String> {
        self.0.retain(|worker, _| unavailable.contains(worker));
        for worker in unavailable {
            self.0.entry(worker).or_insert(Turn { at: now + FIRST, pause: FIRST });
        }
        let mut due: Vec<(Instant, String)> =
            self.0.iter().filter(|(_, turn)| turn.at <= now).map(|(worker, turn)| (turn.at, worker.clone())).collect();
        due.sort();
        due.truncate(MOST);
        for (_, worker) in &due {
            self.0.entry(worker.clone()).and_modify(|turn| {
                turn.pause = (turn.pause * 2).min(LONGEST);
                turn.at = now + turn.pause;
            });
        }
        due.into_iter().map(|(_, worker)| worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: impl IntoIterator<Item = usize>) -> HashSet<String> {
        names.into_iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn who_stays_in_trouble_is_looked_at_less_and_less_often() {
        let (mut turns, begin) = (Turns::default(), Instant::now());
        let mut looked = Vec::new();
        for second in 0..200 {
            if !turns.take(named([1]), begin + Duration::from_secs(second)).is_empty() {
                looked.push(second);
            }
        }
        assert_eq!(looked, [4, 12, 28, 60, 120, 180]);
        assert!(turns.take(HashSet::new(), begin + Duration::from_secs(200)).is_empty());
        assert!(turns.take(named([1]), begin + Duration::from_secs(250)).is_empty(), "it begins anew");
        assert_eq!(turns.take(named([1]), begin + Duration::from_secs(254)), ["1"]);
    }

    #[test]
    fn few_are_looked_at_at_once_and_everyone_has_a_turn() {
        let (mut turns, begin) = (Turns::default(), Instant::now());
        turns.take(named(0..20), begin);
        let mut looked = Vec::new();
        for tick in 2..5 {
            let due = turns.take(named(0..20), begin + TICK * tick);
            assert!(due.len() <= MOST);
            looked.extend(due);
        }
        assert_eq!(looked.iter().collect::<HashSet<_>>().len(), 20);
    }
}
