//! How the API server serves the kinds that destinations refer to.

use super::api::is_not_found;
use super::references::Kind;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use kube::error::DiscoveryError;
use kube::{Client, Error};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The API group of ReferenceGrants, and its versions, newest first.
const GATEWAY: &str = "gateway.networking.k8s.io";
const GRANT_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// A kind as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Group, version and plural.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// Finds kinds, and remembers those that are there.
#[derive(Debug, Default)]
pub struct Kinds {
    found: Mutex<HashMap<Kind, Served>>,
}

impl Kinds {
    fn found(&self) -> MutexGuard<'_, HashMap<Kind, Served>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kind as it is served; `None` if it is not.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn find(&self, client: &Client, kind: &Kind) -> Result<Option<Served>, Error> {
        let builtin = |resource| Ok(Some(Served { resource, namespaced: true }));
        let asked = match kind {
            Kind::Secret => return builtin(ApiResource::erase::<Secret>(&())),
            Kind::ConfigMap => return builtin(ApiResource::erase::<ConfigMap>(&())),
            Kind::Service => return builtin(ApiResource::erase::<Service>(&())),
            Kind::ReferenceGrant => GRANT_VERSIONS.map(|version| GroupVersionKind::gvk(GATEWAY, version, "ReferenceGrant")).to_vec(),
            Kind::Addressable(gvk) => vec![gvk.clone()],
        };
        if let Some(served) = self.found().get(kind) {
            return Ok(Some(served.clone()));
        }
        for gvk in asked {
            if let Some(served) = ask(client, &gvk).await? {
                self.found().insert(kind.clone(), served.clone());
                return Ok(Some(served));
            }
        }
        Ok(None)
    }

    /// Forgets a kind that may be served no more.
    pub fn forget(&self, kind: &Kind) {
        self.found().remove(kind);
    }
}

async fn ask(client: &Client, gvk: &GroupVersionKind) -> Result<Option<Served>, Error> {
    match discovery::pinned_kind(client, gvk).await {
        Ok((resource, capabilities)) => Ok(Some(Served { resource, namespaced: capabilities.scope == Scope::Namespaced })),
        Err(Error::Api(status)) if is_not_found(&status) => Ok(None),
        Err(Error::Discovery(DiscoveryError::MissingKind(_))) => Ok(None),
        Err(error) => Err(error),
    }
}
