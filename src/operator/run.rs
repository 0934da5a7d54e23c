//! Puts the parts together: watches from the beginning, work once we lead.

use super::board::Board;
use super::context::{Context, Watched, key_of};
use super::error::{Backoff, Error};
use super::events::Events;
use super::leader::{self, Leadership};
use super::metrics::OperatorMetrics;
use super::references::References;
use super::routes::Routes;
use super::trigger::Trigger;
use super::workers::Workers;
use super::{OperatorConfig, call, objects, observe, reconcile, status, sweep, watch};
use crate::admin::Readiness;
use crate::bus::Supervisor;
use crate::shutdown::Shutdown;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, controller};
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// How many objects are reconciled at a time.
const CONCURRENCY: u16 = 8;
/// How long more reasons for the same object are waited for.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Pause before something that is needed to begin is looked for again.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs until `shutdown`.
///
/// # Errors
/// If another operator has taken the lease while we led.
pub async fn run(
    config: OperatorConfig,
    client: Client,
    links: Supervisor,
    metrics: Arc<OperatorMetrics>,
    readiness: Readiness,
    shutdown: Shutdown,
) -> Result<(), leader::Lost> {
    let (trigger, references) = (Trigger::default(), References::default());
    let (store, objects) = objects::watch(client.clone(), trigger.clone(), readiness.gate("caches"));
    let _objects = AbortOnDropHandle::new(tokio::spawn(objects));
    let (leadership, candidacy) = leader::stand(client.clone(), &config, readiness.gate("lease"), shutdown.clone());
    let mut candidacy = AbortOnDropHandle::new(tokio::spawn(candidacy));
    let begin = async {
        let _ = store.wait_until_ready().await;
        leadership.acquired().await;
        begin(&config, &client).await
    };
    let (cluster, workers) = tokio::select! {
        begun = begin => begun,
        ended = &mut candidacy => return ended.unwrap_or(Err(leader::Lost::Defect)),
    };
    let routes = Routes::new(&cluster, &config.namespace);
    let context = Arc::new(Context {
        board: Board::default(),
        events: Events::new(client.clone(), &config.identity),
        backoff: Backoff::default(),
        config,
        client,
        store,
        trigger,
        leadership,
        links,
        routes,
        workers,
        references,
        metrics,
    });
    tokio::select! {
        () = work(context, shutdown) => candidacy.await.unwrap_or(Err(leader::Lost::Defect)),
        ended = &mut candidacy => ended.unwrap_or(Err(leader::Lost::Defect)),
    }
}

/// What must be known before anything is written: which cluster this is, and which workers there are.
async fn begin(config: &OperatorConfig, client: &Client) -> (String, Workers) {
    let mut told = false;
    loop {
        match tokio::try_join!(cluster_uid(client), Workers::start(client.clone(), config)) {
            Ok(begun) => return begun,
            Err(error) if !told => {
                tracing::warn!(%error, "cannot begin; trying again");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The UID of the namespace kube-system: what a cluster is known by.
async fn cluster_uid(client: &Client) -> Result<String, Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = call("get Namespace kube-system", namespaces.get_metadata("kube-system")).await?;
    Ok(found.uid().unwrap_or_default())
}

/// All that a leader does.
async fn work(context: Arc<Context>, shutdown: Shutdown) {
    let controller = control(Arc::clone(&context), shutdown.clone());
    context.trigger.many(all(&context.store));
    tokio::select! {
        () = controller => {}
        () = never(tokio::join!(
            watch::references(context.client.clone(), context.references.clone(), context.trigger.clone()),
            context.workers.run_writer(),
            observe::run(Arc::clone(&context)),
            status::run(Arc::clone(&context)),
            sweep::run(Arc::clone(&context)),
        )) => {}
    }
}

fn never<T>(_: T) -> impl Future<Output = ()> {
    std::future::pending()
}

async fn control(context: Arc<Context>, shutdown: Shutdown) {
    let config = controller::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE);
    let wanted = context.trigger.stream().map(|key| ObjectRef::new(&key.name).within(&key.namespace));
    Controller::for_stream(stream::pending::<Result<Watched, kube::runtime::watcher::Error>>(), context.store.clone())
        .with_config(config)
        .reconcile_on(wanted)
        .graceful_shutdown_on(async move { shutdown.begun().await })
        .run(reconcile::reconcile, reconcile::on_error, context)
        // failures were logged by class; an object that is no longer in the store needs nothing
        .for_each(|_| std::future::ready(()))
        .await;
}

fn all(store: &Store<Watched>) -> Vec<super::board::Key> {
    store.state().iter().map(|object| key_of(&**object)).collect()
}
