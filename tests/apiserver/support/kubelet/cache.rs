//! What the API server told last of the objects that are played with.

use super::Options;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use posthorn::operator::watch::Pauses;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// The objects of one kind, by name; each with what it was before.
type Objects<K> = Arc<Mutex<BTreeMap<String, Versions<K>>>>;

/// An object and what it was before it changed last.
#[derive(Clone)]
pub struct Versions<K> {
    /// What it is.
    pub present: K,
    /// What it was.
    pub previous: Option<K>,
}

/// All objects of the namespace that matter.
pub struct Cache {
    deployments: Objects<Deployment>,
    pods: Objects<Pod>,
    secrets: Objects<Secret>,
    config_maps: Objects<ConfigMap>,
    changed: Arc<Notify>,
    _watches: [AbortOnDropHandle<()>; 4],
}

impl Cache {
    /// Begins to watch, and waits until everything was listed once.
    pub async fn watch(client: &Client, options: &Options) -> Cache {
        let (deployments, pods, secrets, config_maps) = Default::default();
        let (changed, listed) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let namespace = &options.namespace;
        let watches = [
            follow(client, namespace, &options.selector, &deployments, &changed, &listed),
            follow(client, namespace, "", &pods, &changed, &listed),
            follow(client, namespace, "", &secrets, &changed, &listed),
            follow(client, namespace, "", &config_maps, &changed, &listed),
        ];
        let all = u32::try_from(watches.len()).expect("they are few");
        listed.acquire_many(all).await.expect("it is never closed").forget();
        Cache { deployments, pods, secrets, config_maps, changed, _watches: watches }
    }

    /// Waits for the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// All Deployments.
    pub fn deployments(&self) -> Vec<Deployment> {
        present(&self.deployments)
    }

    /// All pods.
    pub fn pods(&self) -> Vec<Pod> {
        present(&self.pods)
    }

    /// A Secret.
    pub fn secret(&self, name: &str) -> Option<Versions<Secret>> {
        self.secrets.lock().unwrap().get(name).cloned()
    }

    /// A ConfigMap.
    pub fn config_map(&self, name: &str) -> Option<Versions<ConfigMap>> {
        self.config_maps.lock().unwrap().get(name).cloned()
    }

    /// A pod that was just created, before the watch tells of it.
    pub fn created(&self, pod: Pod) {
        store(&mut self.pods.lock().unwrap(), pod);
    }

    /// A pod that was just deleted, before the watch tells of it.
    pub fn deleted(&self, name: &str) {
        self.pods.lock().unwrap().remove(name);
    }
}

fn present<K: Clone>(objects: &Objects<K>) -> Vec<K> {
    objects.lock().unwrap().values().map(|versions| versions.present.clone()).collect()
}

fn store<K: Resource>(objects: &mut BTreeMap<String, Versions<K>>, object: K) {
    let name = object.name_any();
    let before = objects.remove(&name);
    // An answer may be newer than what the watch tells next.
    let versions = match before {
        Some(before) if version(&before.present) >= version(&object) => before,
        Some(before) => Versions { present: object, previous: Some(before.present) },
        None => Versions { present: object, previous: None },
    };
    objects.insert(name, versions);
}

/// `resourceVersion` as a number, which it is in etcd.
pub fn version(object: &impl Resource) -> u64 {
    object.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn follow<K>(
    client: &Client,
    namespace: &str,
    selector: &str,
    objects: &Objects<K>,
    changed: &Arc<Notify>,
    all: &Arc<Semaphore>,
) -> AbortOnDropHandle<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let stream =
        watch(Api::<K>::namespaced(client.clone(), namespace), watcher::Config::default().labels(selector)).backoff(Pauses::default());
    let (objects, changed, all) = (Arc::clone(objects), Arc::clone(changed), Arc::clone(all));
    AbortOnDropHandle::new(tokio::spawn(async move {
        let (mut stream, mut listed) = (stream.boxed(), Vec::new());
        while let Some(event) = stream.next().await {
            let mut objects = objects.lock().unwrap();
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => listed.push(object),
                Ok(Event::InitDone) => {
                    objects.retain(|name, _| listed.iter().any(|object| object.name_any() == *name));
                    listed.drain(..).for_each(|object| store(&mut objects, object));
                    all.add_permits(1);
                }
                Ok(Event::Apply(object)) => store(&mut objects, object),
                Ok(Event::Delete(object)) => drop(objects.remove(&object.name_any())),
                Err(_) => {} // it tries again
            }
            changed.notify_one();
        }
    }))
}
