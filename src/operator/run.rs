//! Puts the parts together: watches from the beginning, so that a standby is warm; writes once we lead.

use super::backoff::Backoff;
use super::board::{Board, Key};
use super::context::{Context, Watched, key_of};
use super::events::Events;
use super::leader::{Leader, Leadership, Lost, Standing};
use super::metrics::{OperatorMetrics, StorageState};
use super::objects::{self, Objects};
use super::observe::Observer;
use super::references::References;
use super::routes::Routes;
use super::status::StatusWriter;
use super::trigger::Trigger;
use super::workers::{self, Hooks, IncompleteTemplate, Workers};
use super::{OperatorConfig, api, reconcile, sweep, watch};
use crate::admin::{Gate, Readiness};
use crate::bus::Links;
use crate::shutdown::Shutdown;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, controller, watcher};
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How many objects are reconciled at a time.
const CONCURRENCY: u16 = 8;
/// How long more reasons for the same object are waited for.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Pause before something that is needed to begin is looked for again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often objects are counted by state.
const COUNT: Duration = Duration::from_secs(5);

/// What the operator is given.
pub struct Surroundings {
    /// The API server.
    pub client: Client,
    /// Redis.
    pub links: Links,
    /// Where it counts.
    pub metrics: OperatorMetrics,
    /// Where it says what it waits for.
    pub readiness: Readiness,
    /// When to end.
    pub shutdown: Shutdown,
}

/// Why an operator ends.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It would not know how workers reach Redis.
    #[error(transparent)]
    IncompleteTemplate(#[from] IncompleteTemplate),
    /// Another leads.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A defect of ours.
    #[error("the task that holds the lease ended unexpectedly")]
    Defect,
}

/// Runs until told to end, or until another operator has taken the lease.
///
/// # Errors
/// If workers could not be told where Redis is, or the lease was lost.
pub async fn run(config: OperatorConfig, surroundings: Surroundings) -> Result<(), Ended> {
    let leader = Leader::new(surroundings.client.clone(), &config.namespace, &config.identity, surroundings.metrics.clone());
    let standby = Standby::start(&config, &surroundings, leader.leadership())?;
    let release = Shutdown::new();
    let mut candidacy = AbortOnDropHandle::new(tokio::spawn(leader.run(release.clone())));
    let ended = tokio::select! {
        () = standby.lead(config, surroundings) => {
            // nothing is written any more
            release.begin();
            candidacy.await
        }
        ended = &mut candidacy => ended,
    };
    ended.map_err(|_| Ended::Defect)?.map_err(Ended::from)
}

/// What runs from the beginning, and writes nothing.
struct Standby {
    objects: Objects,
    trigger: Trigger,
    board: Board,
    workers: Workers,
    changes: workers::Changes,
    leadership: Leadership,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Standby {
    fn start(config: &OperatorConfig, surroundings: &Surroundings, leadership: Leadership) -> Result<Standby, IncompleteTemplate> {
        let Surroundings { client, links: _, metrics, readiness, shutdown: _ } = surroundings;
        let trigger = Trigger::default();
        let (objects, watching) = objects::watch(client.clone(), trigger.clone(), readiness.gate("objects"));
        let standing = stand(leadership.clone(), readiness.gate("lease"));
        let board = Board::new(config.settings.buses.keys().cloned());
        let (reports, told, may_write) = (board.clone(), board.clone(), leadership.clone());
        let hooks = Hooks {
            reported: Box::new(move |uid| reports.reported_plan(uid)),
            changed: Arc::new(move |worker| told.worker_changed(worker)),
            may_write: Arc::new(move || may_write.leads()),
            metrics: metrics.clone(),
        };
        let (workers, changes) = Workers::start(client.clone(), config, hooks)?;
        let _tasks = [tokio::spawn(watching), tokio::spawn(standing)].map(AbortOnDropHandle::new);
        Ok(Standby { objects, trigger, board, workers, changes, leadership, _tasks })
    }

    /// Waits until all is listed and this process leads.
    async fn wait(&self, readiness: &Readiness) {
        let gate = readiness.gate("workers");
        gate.set_waiting("Deployments and Secrets of workers are not listed yet");
        let workers = async {
            self.workers.listed().await;
            gate.set_ready();
        };
        tokio::join!(self.objects.listed(), workers);
        self.leadership.wait_for_lead().await;
    }

    /// Does all that a leader does, once it leads, until told to end; what is under way is finished.
    async fn lead(self, config: OperatorConfig, surroundings: Surroundings) {
        let Surroundings { client, links, metrics, readiness, shutdown } = surroundings;
        let begin = async {
            self.wait(&readiness).await;
            cluster_uid(&client).await
        };
        let cluster = tokio::select! {
            cluster = begin => cluster,
            () = shutdown.begun() => return,
        };
        let Standby { objects, trigger, board, workers, changes, leadership, _tasks } = self;
        let (events, teller) = Events::new(client.clone(), &config.identity, metrics.clone());
        let context = Arc::new(Context {
            began: tokio::time::Instant::now(),
            board,
            events,
            backoff: Backoff::new(metrics.clone()),
            routes: Routes::new(&cluster, &config.namespace),
            client,
            references: References::default(),
            config,
            store: objects.store,
            trigger,
            leadership,
            links,
            workers,
            metrics,
        });
        let told = Shutdown::new();
        let telling = AbortOnDropHandle::new(tokio::spawn(teller.run(told.clone())));
        work(Arc::clone(&context), changes, shutdown).await;
        context.workers.finish().await;
        told.begin();
        // a panic there was logged already
        let _ = telling.await;
    }
}

/// Says on the gate where this process stands. One that stands by is ready: it could lead.
async fn stand(leadership: Leadership, gate: Gate) {
    let mut standing = leadership.standing();
    loop {
        let now = standing.borrow_and_update().clone();
        match now {
            Standing::Leading | Standing::StandingBy { .. } => gate.set_ready_as(now.to_string()),
            Standing::Starting | Standing::Unknown { .. } | Standing::Ended => gate.set_waiting(now.to_string()),
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// The UID of the namespace kube-system: what a cluster is known by.
async fn cluster_uid(client: &Client) -> String {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut told = false;
    loop {
        match api::call("get Namespace kube-system", namespaces.get_metadata("kube-system")).await {
            Ok(found) => return found.uid().unwrap_or_default(),
            Err(error) if !told => {
                tracing::warn!(%error, "cannot begin; trying again");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// All that a leader does, until told to end; what is under way is finished.
async fn work(context: Arc<Context>, changes: workers::Changes, shutdown: Shutdown) {
    let status = writer(&context).run(shutdown.clone());
    context.trigger.many(context.store.state().iter().map(|object| key_of(&**object)));
    let others = async {
        tokio::join!(
            watch::references(context.client.clone(), context.references.clone(), context.trigger.clone()),
            follow_workers(&context, changes),
            repair(&context),
            observer(&context).run(shutdown.clone()),
            sweep::run(Arc::clone(&context)),
            count(&context),
        )
    };
    let finished = async { tokio::join!(control(Arc::clone(&context), shutdown.clone()), status) };
    tokio::pin!(finished);
    tokio::select! {
        _ = &mut finished => {}
        _ = others => drop(finished.await),
    }
}

fn observer(context: &Context) -> Observer {
    let OperatorConfig { servers, settings, .. } = &context.config;
    Observer::new(context.board.clone(), Arc::clone(settings), servers.clone(), context.links.clone(), context.metrics.clone())
}

fn writer(context: &Arc<Context>) -> StatusWriter {
    let trouble = {
        let context = Arc::clone(context);
        Arc::new(move |worker: &str| context.workers.trouble(worker))
    };
    StatusWriter::new(
        context.board.clone(),
        context.client.clone(),
        context.leadership.clone(),
        context.events.clone(),
        trouble,
        context.metrics.clone(),
        context.config.status_writes_per_second,
    )
}

async fn control(context: Arc<Context>, shutdown: Shutdown) {
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let wanted = context.trigger.stream().map(|key| ObjectRef::new(&key.name).within(&key.namespace));
    Controller::for_stream(stream::pending::<Result<Watched, watcher::Error>>(), context.store.clone())
        .with_config(config)
        .reconcile_on(wanted)
        .graceful_shutdown_on(async move { shutdown.begun().await })
        .run(reconcile::reconcile, reconcile::on_error, context)
        // failures are told by class; an object that is no longer in the store needs nothing
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Somebody changed or deleted what an object has in the release namespace.
async fn follow_workers(context: &Context, mut changes: workers::Changes) {
    while let Some(changed) = changes.next().await {
        context.trigger.one(Key { namespace: changed.namespace, name: changed.name });
    }
}

/// Redis does not hold what was applied.
async fn repair(context: &Context) {
    loop {
        let key = context.board.next_repair().await;
        if let Some(entry) = context.board.get(&key) {
            context.routes.forget(&entry.uid);
        }
        context.trigger.one(key);
    }
}

async fn count(context: &Context) {
    loop {
        context.metrics.set_objects(context.board.states());
        for bus in context.config.settings.buses.keys() {
            context.metrics.set_storage(bus, StorageState::of(&context.board.storage(bus)));
        }
        tokio::time::sleep(COUNT).await;
    }
}
