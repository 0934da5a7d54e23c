//! Watches the Deployments and plan Secrets of workers: Secrets by their metadata alone. What others change or delete is told at once.

use super::Inner;
use super::apply::version;
use super::build::{SELECTOR, Worker};
use super::health::Health;
use super::memory::{Kind, Seen};
use crate::operator::watch::{Pauses, Telling};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use std::collections::HashSet;
use tracing::info;

/// An object of a worker, and for a Deployment how it does.
trait Watched: ResourceExt {
    const KIND: Kind;
    fn health(&self) -> Option<Health>;
}

impl Watched for Deployment {
    const KIND: Kind = Kind::Deployment;
    fn health(&self) -> Option<Health> {
        Some(Health::of(self))
    }
}

impl Watched for PartialObjectMeta<Secret> {
    const KIND: Kind = Kind::Secret;
    fn health(&self) -> Option<Health> {
        None
    }
}

/// Watches for ever.
pub async fn watch(inner: &Inner) {
    let config = || watcher::Config::default().labels(SELECTOR);
    let deployments = watcher::watcher(inner.objects.deployments.clone(), config());
    let secrets = watcher::watcher(inner.secrets.clone(), config());
    futures::join!(follow(inner, deployments.backoff(Pauses::default())), follow(inner, secrets.backoff(Pauses::default())));
}

async fn follow<K: Watched>(inner: &Inner, events: impl Stream<Item = watcher::Result<Event<K>>>) {
    let mut events = std::pin::pin!(events);
    let mut listed = HashSet::new();
    let mut telling = Telling::new(K::KIND.as_str(), "objects of workers cannot be watched; tried again", "watched again");
    while let Some(event) = events.next().await {
        telling.tell(&event);
        match &event {
            Err(_) => {}
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(object.name_any());
                there(inner, object);
            }
            Ok(Event::InitDone) => done(inner, K::KIND, &std::mem::take(&mut listed)),
            Ok(Event::Apply(object)) => there(inner, object),
            Ok(Event::Delete(object)) => gone(inner, object),
        }
    }
}

fn there<K: Watched>(inner: &Inner, object: &K) {
    let metadata: &ObjectMeta = object.meta();
    let worker = metadata.labels.as_ref().and_then(Worker::of_labels);
    saw(inner, object, Seen::There { version: version(metadata), worker });
    if let Some(health) = object.health() {
        inner.set_health(&object.name_any(), Some(health));
    }
}

fn gone<K: Watched>(inner: &Inner, object: &K) {
    saw(inner, object, Seen::Gone(object.resource_version().unwrap_or_default()));
    if object.health().is_some() {
        inner.set_health(&object.name_any(), None);
    }
}

fn saw<K: Watched>(inner: &Inner, object: &K, seen: Seen) {
    let changed = inner.objects.memory().saw(K::KIND, &object.name_any(), seen);
    if let Some(worker) = changed {
        repair(inner, K::KIND, &worker);
    }
}

fn done(inner: &Inner, kind: Kind, names: &HashSet<String>) {
    let missing = inner.objects.memory().listed(kind, names);
    for worker in missing {
        repair(inner, kind, &worker);
    }
    inner.synced(kind);
}

/// Has an object written again that someone else changed or deleted.
fn repair(inner: &Inner, kind: Kind, worker: &Worker) {
    inner.metrics.repaired(kind);
    info!(kind = kind.as_str(), name = worker.name(), "changed by someone else; made again as it should be");
    match worker {
        Worker::Pool(number) => inner.pools.touch(*number),
        Worker::Dedicated(destination) => inner.tell(destination),
    }
}
