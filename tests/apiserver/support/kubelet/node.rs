//! The kubelet of the only node: one [`Runner`] for each pod.

use super::cache::Cache;
use super::container::{self, Places};
use super::deployments::owner;
use super::random::Random;
use super::status::{CREATING, Doing, pod_status};
use super::volumes::{self, Mounted};
use super::{Options, PodView, Shared, ask};
use crate::support::guard::{Guard, Process, exit_code};
use crate::support::it::client;
use crate::support::it::redis::free_port;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

/// Name of the node that all pods are bound to.
pub const NODE: &str = "player";
/// Seconds until a changed Secret is mounted, from and to.
const REFRESH: (f64, f64) = (60.0, 90.0);
/// Seconds before the second restart; twice as long each time, up to the longest. The first is at once.
const BACKOFF: (f64, f64) = (10.0, 300.0);
/// Where a pod is ready that has no probe.
const PROBE: Duration = Duration::from_millis(50);

/// All pods of the node.
pub struct Node {
    pods: Api<Pod>,
    options: Options,
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    random: Random,
    /// Changes of annotations of pods that were seen.
    nudges: u64,
    runners: BTreeMap<String, Runner>,
}

/// One pod.
struct Runner {
    pod: Pod,
    volumes: Option<Vec<Mounted>>,
    places: Places,
    process: Option<Process>,
    probe: Option<AbortOnDropHandle<()>>,
    ready: Arc<AtomicBool>,
    restarts: i32,
    last_exit: Option<i32>,
    /// Not started (again) before.
    start_at: Instant,
    /// Told to end at this time.
    ending: Option<Instant>,
    refreshes: u64,
    doing: Doing,
    written: Value,
}

impl Node {
    /// Without pods.
    pub(super) fn new(client: &Client, options: &Options, shared: Arc<Shared>, guard: Arc<Guard>) -> Node {
        let pods = Api::namespaced(client.clone(), &options.namespace);
        Node { pods, options: options.clone(), shared, guard, random: Random(options.seed), nudges: 0, runners: BTreeMap::new() }
    }

    /// Looks after each pod.
    pub async fn pass(&mut self, cache: &Cache) {
        let mut pods: BTreeMap<String, Pod> = cache.pods().into_iter().filter(is_ours).filter_map(|pod| Some((pod.uid()?, pod))).collect();
        for uid in pods.keys().chain(self.runners.keys()).cloned().collect::<Vec<_>>() {
            let pod = pods.remove(&uid);
            if let Some(mut runner) = self.runners.remove(&uid).or_else(|| pod.clone().map(Runner::new))
                && self.look_after(&mut runner, pod, cache).await
            {
                self.runners.insert(uid, runner);
            }
        }
        let views = self.runners.values().map(|runner| (runner.pod.name_any(), self.view(runner)));
        *self.shared.pods.lock().unwrap() = views.collect();
    }

    /// Returns whether the pod is still there.
    async fn look_after(&mut self, runner: &mut Runner, mut pod: Option<Pod>, cache: &Cache) -> bool {
        runner.reap(self.options.pace);
        if pod.is_none() {
            // The watch may be late: ask.
            let Some(found) = ask(self.pods.get_opt(&runner.pod.name_any())).await else { return true };
            pod = found.filter(|found| found.uid() == runner.pod.uid());
        }
        let is_gone = pod.is_none();
        let is_nudged = pod.as_ref().is_some_and(|pod| pod.annotations() != runner.pod.annotations());
        if let Some(pod) = pod {
            runner.pod = pod;
        }
        if is_gone || runner.pod.metadata.deletion_timestamp.is_some() {
            return !self.end(runner, is_gone, cache).await;
        }
        self.refresh(runner, is_nudged, cache);
        self.start(runner, cache);
        self.tell(runner).await;
        true
    }

    /// Mounts what changed, if it is time or the pod's annotations have just changed.
    fn refresh(&mut self, runner: &mut Runner, is_nudged: bool, cache: &Cache) {
        self.nudges += u64::from(is_nudged);
        let late = is_nudged && self.options.overtaken > 0 && self.nudges.is_multiple_of(self.options.overtaken);
        for volume in runner.volumes.iter_mut().flatten() {
            if volume.due.is_none() && volume.is_behind(cache) {
                volume.due = Some(Instant::now() + self.random.seconds(REFRESH.0, REFRESH.1, self.options.pace));
            }
            let is_due = volume.due.is_some_and(|due| due <= Instant::now());
            if (is_nudged || is_due) && volume.refresh(cache, late && !is_due) {
                runner.refreshes += 1;
                self.shared.refreshes.fetch_add(1, Ordering::Relaxed);
            }
            if !volume.is_behind(cache) {
                volume.due = None;
            }
        }
    }

    fn start(&mut self, runner: &mut Runner, cache: &Cache) {
        if runner.process.is_some() || runner.start_at > Instant::now() {
            return;
        }
        if runner.volumes.is_none() && self.shared.held.load(Ordering::Relaxed) {
            runner.doing = Doing::Waiting("ImagePullBackOff", "Back-off pulling image".into());
            return;
        }
        let waiting = |reason| move |problem| Doing::Waiting(reason, problem);
        let started = self.mount(runner, cache).map_err(waiting(CREATING)).and_then(|()| {
            let started = self.launch(runner, cache);
            started.map_err(waiting("CreateContainerConfigError"))
        });
        runner.doing = started.err().unwrap_or(Doing::Running);
    }

    fn mount(&self, runner: &mut Runner, cache: &Cache) -> Result<(), String> {
        if runner.volumes.is_none() {
            runner.volumes = Some(volumes::mount(&runner.pod, cache, &self.guard.file(&runner.pod.name_any()))?);
        }
        Ok(())
    }

    fn launch(&self, runner: &mut Runner, cache: &Cache) -> Result<(), String> {
        let (name, folder) = (runner.pod.name_any(), self.guard.file(&runner.pod.name_any()));
        if runner.places.mounts.is_empty() {
            runner.places = places(&runner.pod, runner.volumes.as_deref().unwrap_or_default())?;
        }
        let deployment = owner(&runner.pod).map(|owner| owner.name.clone()).unwrap_or_default();
        self.shared.logs.lock().unwrap().insert(name.clone(), (deployment, self.log(&name)));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let mut command = container::command(&runner.pod, cache, &runner.places)?;
        runner.process = Some(self.guard.spawn(command.current_dir(&folder), &format!("{name}.log")));
        runner.probe = Some(probe(runner)?);
        Ok(())
    }

    fn log(&self, pod: &str) -> PathBuf {
        self.guard.file(&format!("{pod}.log"))
    }

    /// SIGTERM, the grace that the pod has, SIGKILL; then the object goes. Returns whether all is gone.
    async fn end(&mut self, runner: &mut Runner, is_gone: bool, cache: &Cache) -> bool {
        let grace = Duration::from_secs(runner.pod.metadata.deletion_grace_period_seconds.unwrap_or(30).unsigned_abs());
        if let Some(process) = &mut runner.process {
            match runner.ending {
                None => {
                    process.signal(Signal::TERM);
                    runner.ending = Some(Instant::now());
                }
                Some(since) if since.elapsed() > grace => drop(process.kill9()),
                Some(_) => {}
            }
            return false;
        }
        let name = runner.pod.name_any();
        if !is_gone {
            let this = Preconditions { uid: runner.pod.uid(), ..Preconditions::default() };
            let now = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(this), ..DeleteParams::default() };
            match tokio::time::timeout(Duration::from_secs(2), self.pods.delete(&name, &now)).await {
                Ok(Ok(_)) => cache.deleted(&name),
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => cache.deleted(&name),
                _ => return false,
            }
        }
        let _ = std::fs::remove_dir_all(self.guard.file(&name));
        true
    }

    /// Writes the status of the pod if it is another one.
    async fn tell(&self, runner: &mut Runner) {
        let status = pod_status(&runner.pod, &runner.doing, runner.is_ready(), runner.restarts, runner.last_exit);
        if status == runner.written {
            return;
        }
        let patch = Patch::Merge(json!({"status": status}));
        if ask(self.pods.patch_status(&runner.pod.name_any(), &PatchParams::default(), &patch)).await.is_some() {
            runner.written = status;
        }
    }

    fn view(&self, runner: &Runner) -> PodView {
        PodView {
            deployment: owner(&runner.pod).map(|owner| owner.name.clone()).unwrap_or_default(),
            pid: runner.process.as_ref().map(Process::pid),
            admin: runner.probed().map(|(address, _)| address),
            ready: runner.is_ready(),
            restarts: runner.restarts,
            refreshes: runner.refreshes,
            problem: runner.doing.problem(),
            terminating: runner.ending.is_some(),
            log: self.log(&runner.pod.name_any()),
        }
    }
}

impl Runner {
    fn new(pod: Pod) -> Runner {
        Runner {
            pod,
            volumes: None,
            places: Places::default(),
            process: None,
            probe: None,
            ready: Arc::default(),
            restarts: 0,
            last_exit: None,
            start_at: Instant::now(),
            ending: None,
            refreshes: 0,
            doing: Doing::Waiting(CREATING, String::new()),
            written: Value::Null,
        }
    }

    /// Notices that its process has ended, and says when it is started again.
    fn reap(&mut self, pace: f64) {
        let Some(status) = self.process.as_mut().and_then(Process::ended) else { return };
        (self.process, self.probe) = (None, None);
        self.ready.store(false, Ordering::Relaxed);
        self.last_exit = Some(exit_code(status));
        let pause = if self.restarts == 0 { 0.0 } else { (BACKOFF.0 * 2_f64.powi(self.restarts - 1)).min(BACKOFF.1) };
        self.start_at = Instant::now() + Duration::from_secs_f64(pause * pace);
        self.restarts += 1;
        self.doing = Doing::Waiting("CrashLoopBackOff", format!("restarted {} times", self.restarts));
    }

    fn is_ready(&self) -> bool {
        self.process.is_some() && self.ready.load(Ordering::Relaxed)
    }

    /// Address and path of its readiness probe.
    fn probed(&self) -> Option<(SocketAddr, String)> {
        let container = container::of(&self.pod).ok()?;
        let probe = container.readiness_probe.as_ref()?.http_get.as_ref()?;
        let port = self.places.ports.get(&container::port(container, &probe.port)?)?;
        Some((SocketAddr::from(([127, 0, 0, 1], *port)), probe.path.clone().unwrap_or_else(|| "/".into())))
    }
}

fn is_ours(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(NODE))
}

/// Where the container's paths and ports are on this machine.
fn places(pod: &Pod, volumes: &[Mounted]) -> Result<Places, String> {
    let (container, mut places) = (container::of(pod)?, Places::default());
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name() == mount.name).ok_or_else(|| format!("no volume {}", mount.name))?;
        if mount.sub_path.is_some() || mount.sub_path_expr.is_some() {
            return Err("subPath is not played".into());
        }
        places.mounts.insert(mount.mount_path.trim_end_matches('/').to_owned(), volume.folder.clone());
    }
    places.ports = container.ports.iter().flatten().map(|port| (port.container_port, free_port())).collect();
    Ok(places)
}

/// Asks the readiness probe again and again; without one a pod is ready once it runs.
fn probe(runner: &Runner) -> Result<AbortOnDropHandle<()>, String> {
    let has_probe = container::of(&runner.pod)?.readiness_probe.is_some();
    let (probed, ready) = (runner.probed(), Arc::clone(&runner.ready));
    if has_probe && probed.is_none() {
        return Err("only HTTP probes of a declared port are played".into());
    }
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let is_ready = match &probed {
                None => true,
                Some((address, path)) => matches!(
                    tokio::time::timeout(Duration::from_secs(1), client::get(*address, path)).await,
                    Ok(Ok(answer)) if (200..400).contains(&answer.status)
                ),
            };
            ready.store(is_ready, Ordering::Relaxed);
            tokio::time::sleep(PROBE).await;
        }
    })))
}
