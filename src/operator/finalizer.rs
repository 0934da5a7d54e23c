//! Our finalizer: an object is not gone before what it holds in Redis and in the release namespace is.

use super::api::{call, is_missing};
use super::board::Key;
use super::error::Error;
use crate::api::EventDestination;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

/// Its name.
pub const FINALIZER: &str = "posthorn.dev/delivery";

/// Whether it is on the object.
pub fn is_on(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

/// Puts it on.
///
/// # Errors
/// If the API server refuses; a conflict if the object was changed meanwhile.
pub async fn add(client: &Client, key: &Key, metadata: &ObjectMeta) -> Result<(), Error> {
    let finalizers: Vec<&str> = metadata.finalizers.iter().flatten().map(String::as_str).chain([FINALIZER]).collect();
    set(client, key, metadata, &finalizers, "add finalizer to").await
}

/// Takes it off. An object that is gone is all right.
///
/// # Errors
/// As [`add`].
pub async fn remove(client: &Client, key: &Key, metadata: &ObjectMeta) -> Result<(), Error> {
    let finalizers: Vec<&str> = metadata.finalizers.iter().flatten().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    match set(client, key, metadata, &finalizers, "remove finalizer from").await {
        Err(error) if is_missing(&error) => Ok(()),
        result => result,
    }
}

/// The version makes it a conflict if anyone changed the list meanwhile, the UID if it is another object by now.
async fn set(client: &Client, key: &Key, metadata: &ObjectMeta, finalizers: &[&str], doing: &str) -> Result<(), Error> {
    let api: Api<EventDestination> = Api::namespaced(client.clone(), &key.namespace);
    let patch = json!({"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": finalizers}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    call(format!("{doing} EventDestination {key}"), api.patch_metadata(&key.name, &params, &patch)).await.map(drop)
}
