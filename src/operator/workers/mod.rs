//! The Kubernetes half of apply: workers and their plans, in the release namespace.
//!
//! ```text
//! Dedicated: run ─▶ plan Secret, Deployment: one of each for the destination
//! Shared:    run ─▶ placement ─▶ pools, at most one write a second each ─▶ plan Secret with up to 64 plans, Deployment of one pod
//!                      after a write ─▶ nudge: the pods' kubelets look at once ─▶ … until the plan is reported
//! watch ─▶ memory: who changed what ─▶ the destination is reconciled, or the pool written again
//!       └▶ health: a Deployment without a ready pod ─▶ pods: why not ─▶ its destinations say so
//! ```
//!
//! A destination that moves between the two is first in the new place and then away from the old: its queue is read under a lease, so in between
//! the old worker goes on and the new one waits.

pub mod apply;
pub mod build;
mod health;
mod memory;
mod nudge;
mod placement;
mod pods;
mod pools;
mod watch;

pub use apply::MayWrite;
pub use build::{Destination, IncompleteTemplate};
pub use memory::Kind;
pub use nudge::Reported;
pub use pods::Changed;

use super::api;
use super::config::OperatorConfig;
use super::error::Error;
use super::metrics::OperatorMetrics;
use crate::api::spec::Isolation;
use crate::api::status::WorkerStatus;
use crate::plan::Plan;
use crate::shutdown::Shutdown;
use apply::Objects;
use build::{Template, Worker};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use health::Health;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use nudge::{News, Nudges};
use placement::PlanFile;
use pods::Pods;
use pools::Pools;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, watch as value};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Destinations that are to be reconciled: someone changed or deleted what they have here, or they can go on moving.
pub type Changes = UnboundedReceiver<Destination>;

/// What workers ask others, and tell them.
pub struct Hooks {
    /// The plan that the worker of a destination (UID) reports to run.
    pub reported: Reported,
    /// Told the name of a Deployment of which [`Workers::trouble`] may say something else now.
    pub changed: Changed,
    /// Whether this process leads.
    pub may_write: MayWrite,
    /// Where they count.
    pub metrics: OperatorMetrics,
}

/// The workers of all destinations. What is under way ends when it is dropped.
pub struct Workers {
    inner: Arc<Inner>,
    _tasks: [AbortOnDropHandle<()>; 3],
}

struct Inner {
    namespace: String,
    template: Template,
    objects: Objects,
    pools: Pools,
    nudges: Arc<Nudges>,
    pods: Arc<Pods>,
    changed: Changed,
    metrics: OperatorMetrics,
    /// Plan Secrets without their contents, to watch.
    secrets: Api<PartialObjectMeta<Secret>>,
    /// How Deployments do, by name.
    health: Mutex<HashMap<String, Health>>,
    /// Destinations that wait for their new place before they leave the old one.
    moving: Mutex<HashSet<Destination>>,
    changes: UnboundedSender<Destination>,
    /// Whether Deployments and Secrets were listed.
    synced: value::Sender<(bool, bool)>,
    /// The pools were read.
    loaded: OnceCell<()>,
    /// No pool is to be written any more; and none is being written.
    ending: Shutdown,
    ended: Shutdown,
}

impl Workers {
    /// Begins to watch; writes nothing before the first [`Workers::run`].
    ///
    /// # Errors
    /// If neither the pod template nor the configuration says how workers reach Redis.
    pub fn start(client: Client, config: &OperatorConfig, hooks: Hooks) -> Result<(Workers, Changes), IncompleteTemplate> {
        let Hooks { reported, changed, may_write, metrics } = hooks;
        let template = Template::new(config.workers.template.clone(), &config.workers.image, config.redis.without_password())?;
        if let Some((bus, _)) = config.settings.buses.iter().find(|(_, bus)| bus.redis.is_some()) {
            template.require_settings(bus)?;
        }
        if config.redis.authorities().is_some() {
            template.require_authorities()?;
        }
        let template = if config.workers.allow_insecure_tls { template.with_insecure_tls() } else { template };
        let (pods, secrets) = (Api::namespaced(client.clone(), &config.namespace), Api::namespaced(client.clone(), &config.namespace));
        let pods = Arc::new(Pods::new(pods, Arc::clone(&changed)));
        let (changes, receiver) = unbounded();
        let inner = Arc::new(Inner {
            namespace: config.namespace.clone(),
            template,
            objects: Objects::new(client, &config.namespace, Arc::clone(&may_write)),
            pools: Pools::default(),
            nudges: Arc::new(Nudges::new(Arc::clone(&pods), reported, may_write, metrics.clone())),
            pods,
            changed,
            metrics,
            secrets,
            health: Mutex::default(),
            moving: Mutex::default(),
            changes,
            synced: value::Sender::new((false, false)),
            loaded: OnceCell::new(),
            ending: Shutdown::new(),
            ended: Shutdown::new(),
        });
        let (watching, writing, looking) = (Arc::clone(&inner), Arc::clone(&inner), Arc::clone(&inner));
        let watching = tokio::spawn(async move { watch::watch(&watching).await });
        let writing = tokio::spawn(async move { pools::write(&writing).await });
        let looking = tokio::spawn(async move { pods::look_at_unavailable(&looking).await });
        let tasks = [watching, writing, looking].map(AbortOnDropHandle::new);
        Ok((Workers { inner, _tasks: tasks }, receiver))
    }

    /// Waits until all that workers have was listed.
    pub async fn listed(&self) {
        // an error: nobody lists them any more, as the process ends
        let _ = self.inner.synced.subscribe().wait_for(|synced| *synced == (true, true)).await;
    }

    /// Finishes the writes of pools that are under way and begins none; whoever leads next writes what is left.
    pub async fn finish(&self) {
        self.inner.ending.begin();
        self.inner.ended.begun().await;
    }

    /// Makes a worker run the plan of a destination, or none if there is no plan because something is missing. A worker of its own has no pod while it
    /// is suspended. A pool is written within about a second after that; what fails there is told by [`Workers::trouble`].
    ///
    /// # Errors
    /// If the API server refuses or does not answer, or another operator leads.
    pub async fn run(
        &self,
        destination: &Destination,
        suspend: bool,
        plan: Option<&Plan>,
        isolation: Isolation,
    ) -> Result<WorkerStatus, Error> {
        self.inner.ready().await?;
        let name = match isolation {
            Isolation::Dedicated => Some(self.inner.run_alone(destination, suspend, plan).await?),
            Isolation::Shared => self.inner.run_in_pool(destination, plan).await?,
        };
        Ok(WorkerStatus { isolation: Some(isolation), name })
    }

    /// Removes all that a destination has here; from a pool within about a second after that.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub async fn remove(&self, uid: &str) -> Result<(), Error> {
        self.inner.ready().await?;
        self.inner.moving().retain(|moving| moving.uid != uid);
        self.inner.pools.remove(uid);
        self.inner.delete_alone(uid, None).await
    }

    /// Destinations that have something here and are not among the known ones. Whether one is gone must be asked before it is removed.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub async fn orphans(&self, known: impl Fn(&str) -> bool) -> Result<Vec<Destination>, Error> {
        self.inner.ready().await?;
        let mut found: HashSet<Destination> = self.inner.pools.destinations().into_iter().collect();
        found.extend(self.inner.alone());
        found.retain(|destination| !known(&destination.uid));
        Ok(found.into_iter().collect())
    }

    /// Why a worker (its Deployment's name) does not run what it should, as far as is known; `None` if a pod of it runs, or none is wanted.
    pub fn trouble(&self, worker: &str) -> Option<String> {
        self.inner.trouble(worker)
    }
}

impl Inner {
    /// Waits until it is known what there is. Read only by the leader, as an operator that led before may have changed it.
    async fn ready(&self) -> Result<(), Error> {
        self.objects.check_leading()?;
        let load = async || {
            let mut synced = self.synced.subscribe();
            let listed = async {
                synced.wait_for(|synced| *synced == (true, true)).await.map(drop).map_err(|error| kube::Error::Service(error.into()))
            };
            api::call("list Deployments and Secrets of workers", listed).await?;
            self.pools.load(pools::read(self).await?);
            Ok(())
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    async fn run_alone(&self, destination: &Destination, suspend: bool, plan: Option<&Plan>) -> Result<String, Error> {
        let worker = Worker::Dedicated(destination.clone());
        let name = worker.name();
        let file = plan.map(file);
        let plans = file.iter().map(|file| (destination.uid.as_str(), file)).collect();
        self.apply(&worker, &plans, vec![destination.uid.clone()], i32::from(!suspend)).await?;
        self.delete_alone(&destination.uid, Some(&name)).await?;
        match file.filter(|_| !suspend && !self.runs(&name)) {
            // the pool goes on until the new worker runs
            Some(file) if self.pools.home(&destination.uid).is_some() => {
                self.moving().insert(destination.clone());
                self.pools.put(&destination.uid, file);
            }
            _ => {
                self.moving().remove(destination);
                self.pools.remove(&destination.uid);
            }
        }
        Ok(name)
    }

    async fn run_in_pool(&self, destination: &Destination, plan: Option<&Plan>) -> Result<Option<String>, Error> {
        let uid = &destination.uid;
        let pool = match plan {
            Some(plan) => Some(Worker::Pool(self.pools.put(uid, file(plan))).name()),
            None => {
                self.pools.remove(uid);
                None
            }
        };
        let alone = !self.names_alone(uid).is_empty();
        match plan.zip(pool.as_ref()).filter(|(_, pool)| alone && !(self.pools.is_written(uid) && self.runs(pool))) {
            // the worker of its own goes on until the pool runs
            Some((plan, _)) => {
                self.moving().insert(destination.clone());
                let worker = Worker::Dedicated(destination.clone());
                let file = file(plan);
                self.apply(&worker, &BTreeMap::from([(uid.as_str(), &file)]), vec![uid.clone()], i32::from(!plan.suspend)).await?;
            }
            None => {
                self.moving().remove(destination);
                self.delete_alone(uid, None).await?;
            }
        }
        Ok(pool)
    }

    /// Makes the Secret and the Deployment of a worker as they should be, and tells its pods.
    async fn apply(&self, worker: &Worker, plans: &BTreeMap<&str, &PlanFile>, changed: Vec<String>, replicas: i32) -> Result<(), Error> {
        let name = worker.name();
        let has_pods = self.objects.memory().exists(Kind::Deployment, &name);
        let secret = build::secret(worker, &self.namespace, &self.template, plans.iter().map(|(uid, file)| (*uid, &*file.json)));
        let written = self.objects.apply_secret(worker, &secret).await?;
        self.objects.apply_deployment(worker, &build::deployment(worker, &self.namespace, &self.template, replicas)).await?;
        // without pods there is nobody to tell, and new ones begin with what is there
        if let Some(written) = written.filter(|_| replicas > 0) {
            let plans = plans.iter().map(|(uid, file)| ((*uid).to_owned(), file.id.clone())).collect();
            let at_once = has_pods && written.changed;
            self.nudges.tell(&name, News { resource_version: written.resource_version, at_once, plans, changed });
        }
        Ok(())
    }

    /// The destinations that have objects for themselves alone.
    fn alone(&self) -> HashSet<Destination> {
        let memory = self.objects.memory();
        let destinations = memory.objects().filter_map(|(_, _, worker)| match worker {
            Worker::Dedicated(destination) => Some(destination.clone()),
            Worker::Pool(_) => None,
        });
        destinations.collect()
    }

    /// The names of the objects that are for one destination alone.
    fn names_alone(&self, uid: &str) -> HashSet<String> {
        let memory = self.objects.memory();
        let of_it = |worker: &Worker| matches!(worker, Worker::Dedicated(destination) if destination.uid == uid);
        memory.objects().filter(|(_, _, worker)| of_it(worker)).map(|(_, name, _)| name.to_owned()).collect()
    }

    /// Deletes the objects that are for one destination alone, except those with this name.
    async fn delete_alone(&self, uid: &str, except: Option<&str>) -> Result<(), Error> {
        let names = self.names_alone(uid);
        for name in names.iter().filter(|name| Some(name.as_str()) != except) {
            self.objects.delete(name).await?;
            self.nudges.forget(name);
        }
        Ok(())
    }

    fn trouble(&self, worker: &str) -> Option<String> {
        let pool = worker.strip_prefix("posthorn-pool-").and_then(|number| number.parse().ok());
        if let Some(complaint) = pool.and_then(|number| self.pools.complaint(number)) {
            return Some(complaint);
        }
        let health = self.health().get(worker).cloned();
        match health {
            Some(health) if health.runs() || health.wanted == 0 => None,
            // a pod knows better than its Deployment, which only says that it waits
            Some(health) => Some(match (self.pods.complaint(worker), health.complaint) {
                (Some(complaint), _) => format!("pod of Deployment {worker}: {complaint}"),
                (None, Some(complaint)) => format!("Deployment {worker}: {complaint}"),
                (None, None) => format!("no pod of Deployment {worker} is ready yet"),
            }),
            None => Some(format!("Deployment {worker} is not there yet")),
        }
    }

    /// The Deployments that should have a pod ready and have none.
    fn unavailable(&self) -> HashSet<String> {
        let health = self.health();
        health.iter().filter(|(_, health)| health.wanted > 0 && !health.runs()).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a pod of a Deployment runs.
    fn runs(&self, worker: &str) -> bool {
        self.health().get(worker).is_some_and(Health::runs)
    }

    fn set_health(&self, worker: &str, health: Option<Health>) {
        let runs = health.as_ref().is_some_and(Health::runs);
        let before = match health.clone() {
            Some(health) => self.health().insert(worker.to_owned(), health),
            None => self.health().remove(worker),
        };
        if runs || health.is_none() {
            self.pods.forget(worker);
        }
        if before != health {
            (self.changed)(worker);
        }
        let stuck = health.and_then(|health| health.complaint);
        if let Some(reason) = stuck.filter(|stuck| before.as_ref().and_then(|before| before.complaint.as_ref()) != Some(stuck)) {
            // an earlier pod may well go on: then no destination says so
            warn!(worker, reason, "Deployment of a worker does not get on");
        }
        if runs && !before.is_some_and(|before| before.runs()) {
            self.pools.wake.notify_one();
            self.moved();
        }
    }

    /// A pool was written or a worker runs: those that wait for it may go on.
    fn moved(&self) {
        for destination in self.moving().iter() {
            self.tell(destination);
        }
    }

    /// Has a destination reconciled.
    fn tell(&self, destination: &Destination) {
        // nobody listens any more only at the end
        drop(self.changes.unbounded_send(destination.clone()));
    }

    fn synced(&self, kind: Kind) {
        self.synced.send_modify(|(deployments, secrets)| match kind {
            Kind::Deployment => *deployments = true,
            Kind::Secret => *secrets = true,
        });
    }

    fn health(&self) -> MutexGuard<'_, HashMap<String, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moving(&self) -> MutexGuard<'_, HashSet<Destination>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(plan: &Plan) -> PlanFile {
    let json = serde_json::to_vec(plan).expect("a plan is JSON").into();
    PlanFile { id: plan.id.clone(), namespace: plan.namespace.clone(), name: plan.name.clone(), json }
}
