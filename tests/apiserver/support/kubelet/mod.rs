//! What a cluster does that an API server alone does not: it runs the pods of Deployments, honestly.
//!
//! * [`deployments`]: the Deployment controller. Makes and deletes Pod objects (rolling update or Recreate), sets the Deployments' status.
//! * [`node`]: scheduler and kubelet. Starts the command of each pod, restarts it when it dies, ends it with grace, sets the pods' status.
//! * [`volumes`]: Secrets and ConfigMaps as files behind a `..data` link, empty directories.
//! * [`container`]: the command, arguments and environment of a container, as a process of this machine.
//!
//! What is not as in a cluster: pods share network and file system of this machine, so mounted paths and ports are put in their place in
//! arguments and environment; the program is the one under test, whatever the image; limits, security settings and liveness probes are
//! not enforced. What cannot be played (several containers, other volumes, `subPath` …) is an error of the pod, never ignored.

mod cache;
mod container;
mod deployments;
mod node;
mod random;
mod status;
mod volumes;

use super::Cluster;
use super::guard::Guard;
use super::it::eventually::{eventually, holds};
use cache::Cache;
use deployments::Deployments;
use node::Node;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often everything is looked at, beside when the API server tells of a change.
const TICK: Duration = Duration::from_millis(20);

/// How it plays.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace whose Deployments it runs.
    pub namespace: String,
    /// Label selector of these Deployments; empty for all.
    pub selector: String,
    /// What a second of a kubelet's periods (refresh of a Secret, pause before a restart, progress deadline) is here: 0.1 is ten times as fast.
    /// Periods of grace are not shortened.
    pub pace: f64,
    /// Each so many'th time a changed annotation comes before the new Secret, so that the old one is mounted once more; 0 for never.
    pub overtaken: u64,
    /// For what is random: moments.
    pub seed: u64,
}

impl Options {
    /// Ten times as fast as a cluster; no annotation is overtaken.
    pub fn of(namespace: &str) -> Options {
        Options { namespace: namespace.to_owned(), selector: String::new(), pace: 0.1, overtaken: 0, seed: 1 }
    }
}

/// A pod, as it runs here.
#[derive(Clone, Debug, Default)]
pub struct PodView {
    /// Name of its Deployment.
    pub deployment: String,
    /// Process of its container, while it runs.
    pub pid: Option<u32>,
    /// Where its probe is answered.
    pub admin: Option<SocketAddr>,
    /// Whether its readiness probe succeeds.
    pub ready: bool,
    /// How often its container was started again.
    pub restarts: i32,
    /// How often a volume of it was given new contents while it ran.
    pub refreshes: u64,
    /// Why it cannot start.
    pub problem: Option<String>,
    /// Whether it was told to end.
    pub terminating: bool,
    log: PathBuf,
}

/// What the player and the test share.
#[derive(Default)]
pub(super) struct Shared {
    held: AtomicBool,
    refreshes: AtomicU64,
    pods: Mutex<BTreeMap<String, PodView>>,
    /// Logs of all pods, those that are gone too.
    logs: Mutex<BTreeMap<String, (String, PathBuf)>>,
}

/// Plays until it is dropped; then all its processes are ended at once.
pub struct Kubelet {
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _guard: Arc<Guard>,
}

impl Kubelet {
    /// Begins to play, on a thread of its own.
    pub fn start(cluster: &Cluster, options: Options) -> Kubelet {
        let (shared, stop, guard) = (Arc::new(Shared::default()), CancellationToken::new(), Guard::new("posthorn-kubelet-"));
        let (theirs, token, kubeconfig, on) = (Arc::clone(&shared), stop.clone(), cluster.admin(), Arc::clone(&guard));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = super::cluster::client_of(&kubeconfig).await;
                tokio::select! {
                    () = play(client, options, theirs, on) => {}
                    () = token.cancelled() => {}
                }
            });
        });
        Kubelet { shared, stop, thread: Some(thread), _guard: guard }
    }

    /// All pods that run or are to run, by name.
    pub fn pods(&self) -> BTreeMap<String, PodView> {
        self.shared.pods.lock().unwrap().clone()
    }

    /// The pods of a Deployment.
    pub fn pods_of(&self, deployment: &str) -> Vec<PodView> {
        self.pods().into_values().filter(|pod| pod.deployment == deployment).collect()
    }

    /// Waits until a Deployment has this many ready pods and no other, and returns them.
    pub async fn ready(&self, deployment: &str, count: usize) -> Vec<PodView> {
        eventually(&format!("{count} ready pods of {deployment}"), async || {
            let pods = self.pods_of(deployment);
            holds(pods.len() == count && pods.iter().all(|pod| pod.ready && !pod.terminating), || format!("{pods:#?}"))?;
            Ok(pods)
        })
        .await
    }

    /// Ends the processes of a Deployment at once (SIGKILL). They are started again, later each time.
    pub fn kill_worker(&self, deployment: &str) {
        self.signal(deployment, Signal::KILL);
    }

    /// Sends a signal to the processes of a Deployment.
    pub fn signal(&self, deployment: &str, signal: Signal) {
        for pid in self.pods_of(deployment).iter().filter_map(|pod| pod.pid) {
            // It may have ended meanwhile.
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("a process has a number"), signal);
        }
    }

    /// No pod starts for the first time from now on, as if its image could not be pulled; or they may again.
    pub fn hold(&self, held: bool) {
        self.shared.held.store(held, Ordering::Relaxed);
    }

    /// How often any volume was given new contents while its pod ran.
    pub fn refreshes(&self) -> u64 {
        self.shared.refreshes.load(Ordering::Relaxed)
    }

    /// What the pods of a Deployment have printed, those that are gone first.
    pub fn logs(&self, deployment: &str) -> String {
        let logs = self.shared.logs.lock().unwrap();
        let files = logs.values().filter(|(owner, _)| owner == deployment);
        files.map(|(_, file)| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()).collect()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.cancel();
        let played = self.thread.take().expect("it is joined once").join();
        if std::thread::panicking() {
            for (pod, (_, file)) in self.shared.logs.lock().unwrap().iter() {
                eprintln!("--- log of pod {pod} ---\n{}--- end ---", String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()));
            }
        } else {
            played.expect("the player does not panic");
        }
    }
}

async fn play(client: kube::Client, options: Options, shared: Arc<Shared>, guard: Arc<Guard>) {
    let cache = Cache::watch(&client, &options).await;
    let mut deployments = Deployments::new(&client, &options);
    let mut node = Node::new(&client, &options, shared, guard);
    loop {
        deployments.pass(&cache).await;
        node.pass(&cache).await;
        let _ = tokio::time::timeout(TICK, cache.changed()).await;
    }
}

/// The answer of the API server, if it gives one soon: whatever is asked here is asked again.
async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(2), request).await.ok()?.ok()
}
