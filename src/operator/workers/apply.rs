//! Applies and deletes the objects of workers. An object that is as it should be costs no request.

use super::build::Worker;
use super::memory::{Kind, Memory, Version};
use crate::operator::api::{self, FIELD_MANAGER};
use crate::operator::error::Error;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often an object is applied again at once because someone else changed it meanwhile; then it waits for the next change.
const ROUNDS: usize = 3;

/// Whether this process may write: it leads.
pub type MayWrite = Arc<dyn Fn() -> bool + Send + Sync>;

/// The objects of workers in the release namespace.
pub struct Objects {
    /// Deployments of the release namespace.
    pub deployments: Api<Deployment>,
    /// Secrets of the release namespace.
    pub secrets: Api<Secret>,
    may_write: MayWrite,
    memory: Mutex<Memory>,
}

/// What came of an apply.
#[derive(Debug)]
pub struct Written {
    /// `metadata.resourceVersion` now.
    pub resource_version: String,
    /// Whether the object had been there.
    pub existed: bool,
    /// Whether it is another than before, as far as is known.
    pub changed: bool,
}

/// A kind of object that workers are made of.
trait Part: Resource<DynamicType = ()> + Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: Kind;
    fn api(objects: &Objects) -> &Api<Self>;
}

impl Part for Deployment {
    const KIND: Kind = Kind::Deployment;
    fn api(objects: &Objects) -> &Api<Deployment> {
        &objects.deployments
    }
}

impl Part for Secret {
    const KIND: Kind = Kind::Secret;
    fn api(objects: &Objects) -> &Api<Secret> {
        &objects.secrets
    }
}

impl Objects {
    /// Those of a namespace; nothing is known of them yet.
    pub fn new(client: Client, namespace: &str, may_write: MayWrite) -> Objects {
        let deployments = Api::namespaced(client.clone(), namespace);
        Objects { deployments, secrets: Api::namespaced(client, namespace), may_write, memory: Mutex::default() }
    }

    /// What is known of them.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what only the leader may do.
    ///
    /// # Errors
    /// If another operator leads.
    pub fn check_leading(&self) -> Result<(), Error> {
        if (self.may_write)() { Ok(()) } else { Err(Error::NotLeading) }
    }

    /// Makes a plan Secret as it should be; `None` if it was.
    ///
    /// # Errors
    /// If the API server refuses or does not answer, or another operator leads.
    pub async fn apply_secret(&self, worker: &Worker, secret: &Secret) -> Result<Option<Written>, Error> {
        self.apply(worker, secret).await
    }

    /// Makes a Deployment as it should be; `None` if it was.
    ///
    /// # Errors
    /// As [`Objects::apply_secret`].
    pub async fn apply_deployment(&self, worker: &Worker, deployment: &Deployment) -> Result<Option<Written>, Error> {
        self.apply(worker, deployment).await
    }

    /// Deletes the Deployment and the plan Secret with a name, as far as they exist; the Secret last, as the pods need it.
    ///
    /// # Errors
    /// As [`Objects::apply_secret`].
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.delete_part::<Deployment>(name).await?;
        self.delete_part::<Secret>(name).await
    }

    async fn apply<K: Part>(&self, worker: &Worker, object: &K) -> Result<Option<Written>, Error> {
        let (name, hash) = (worker.name(), hash(object));
        let before = self.memory().seen_version(K::KIND, &name).cloned();
        let mut written = None;
        for _ in 0..ROUNDS {
            self.check_leading()?;
            if !self.memory().begin(K::KIND, worker, hash) {
                break;
            }
            let answer = self.patch(&name, object).await;
            let again = self.memory().end(K::KIND, &name, hash, answer.as_ref().ok().cloned());
            written = Some(answer?);
            if !again {
                break;
            }
        }
        Ok(written.map(|Version { resource_version, .. }| Written {
            existed: before.is_some(),
            changed: before.is_none_or(|before| before.resource_version != resource_version),
            resource_version,
        }))
    }

    async fn patch<K: Part>(&self, name: &str, object: &K) -> Result<Version, Error> {
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(object);
        // answered without the object: a plan Secret is large
        let request = K::api(self).patch_metadata(name, &params, &patch);
        Ok(version(&api::call(format!("apply {} {name}", K::KIND.as_str()), request).await?.metadata))
    }

    async fn delete_part<K: Part>(&self, name: &str) -> Result<(), Error> {
        if !self.memory().exists(K::KIND, name) {
            return Ok(());
        }
        self.check_leading()?;
        let doing = format!("delete {} {name}", K::KIND.as_str());
        match api::call(doing, K::api(self).delete(name, &DeleteParams::background())).await {
            Ok(_) => {}
            Err(error) if api::is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        self.memory().forget(K::KIND, name);
        Ok(())
    }
}

/// Which version of an object this is.
pub fn version(metadata: &ObjectMeta) -> Version {
    let ObjectMeta { uid, resource_version, generation, .. } = metadata;
    Version {
        uid: uid.clone().unwrap_or_default(),
        resource_version: resource_version.clone().unwrap_or_default(),
        generation: *generation,
    }
}

fn hash(object: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_vec(object).expect("an object of Kubernetes is JSON").hash(&mut hasher);
    hasher.finish()
}
