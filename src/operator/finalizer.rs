//! Our finalizer: an object is not gone before what it holds in Redis and in the release namespace is.

use super::api::{FIELD_MANAGER, call, is_missing, unparsed};
use super::board::Key;
use super::error::{Class, Error};
use crate::api::EventDestination;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

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

/// Takes it off. An object that is gone is all right. One that was changed meanwhile is read again: to clean up once more would tell once more of it.
///
/// # Errors
/// As [`add`].
pub async fn remove(client: &Client, key: &Key, metadata: &ObjectMeta) -> Result<(), Error> {
    match remove_from(client, key, metadata).await {
        Err(error) if error.class() == Class::Conflict => {
            let api: Api<EventDestination> = Api::namespaced(client.clone(), &key.namespace);
            let found = call(format!("get EventDestination {key}"), api.get_metadata_opt(&key.name)).await?;
            match found.filter(|found| found.metadata.uid == metadata.uid) {
                Some(found) => remove_from(client, key, &found.metadata).await,
                None => Ok(()),
            }
        }
        result => result,
    }
}

async fn remove_from(client: &Client, key: &Key, metadata: &ObjectMeta) -> Result<(), Error> {
    let finalizers = without_ours(metadata);
    let removed = match set(client, key, metadata, &finalizers, "remove finalizer from").await {
        Err(error) if error.class() == Class::Invalid => remove_with_spec(client, key, metadata).await,
        result => result,
    };
    match removed {
        Err(error) if is_missing(&error) => Ok(()),
        result => result,
    }
}

fn without_ours(metadata: &ObjectMeta) -> Vec<&str> {
    metadata.finalizers.iter().flatten().map(String::as_str).filter(|name| *name != FINALIZER).collect()
}

/// An object that an older, looser definition let in may be such that the API server takes no change of it at all, however small. So that it can go, its spec
/// goes first: nobody needs it any more.
async fn remove_with_spec(client: &Client, key: &Key, metadata: &ObjectMeta) -> Result<(), Error> {
    let api = unparsed(client, &key.namespace);
    let found = call(format!("get EventDestination {key}"), api.get(&key.name)).await?;
    let finalizers = without_ours(&found.metadata);
    let spec = found.data.get("spec").cloned().unwrap_or_default();
    let mut least = json!({"sink": {"http": {"uri": "https://deleted.invalid/"}}});
    for field in ["bus", "startFrom", "startTime"] {
        // they never change
        if let Some(value) = spec.get(field) {
            least[field] = value.clone();
        }
    }
    let patch = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": found.metadata.resource_version, "finalizers": finalizers},
        "spec": difference(&spec, &least),
    });
    let (params, patch) = (ours(), Patch::Merge(patch));
    call(format!("remove finalizer and spec from EventDestination {key}"), api.patch_metadata(&key.name, &params, &patch)).await.map(drop)
}

/// The merge patch (RFC 7396) that makes one value the other.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let kept = to.iter().map(|(key, value)| (key.clone(), from.get(key).map_or_else(|| value.clone(), |from| difference(from, value))));
    Value::Object(gone.chain(kept).collect())
}

fn ours() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// The version makes it a conflict if anyone changed the list meanwhile, the UID if it is another object by now.
async fn set(client: &Client, key: &Key, metadata: &ObjectMeta, finalizers: &[&str], doing: &str) -> Result<(), Error> {
    let api: Api<EventDestination> = Api::namespaced(client.clone(), &key.namespace);
    let patch = json!({"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": finalizers}});
    let (params, patch) = (ours(), Patch::Merge(patch));
    call(format!("{doing} EventDestination {key}"), api.patch_metadata(&key.name, &params, &patch)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_takes_out_what_is_not_wanted() {
        let to = json!({"sink": {"http": {"uri": "b"}}});
        for (from, patch) in [
            (json!({"sink": 5}), json!({"sink": {"http": {"uri": "b"}}})),
            (json!({"a": 1, "sink": {"http": {"uri": "a", "c": 1}}}), json!({"a": null, "sink": {"http": {"uri": "b", "c": null}}})),
            (Value::Null, to.clone()),
        ] {
            assert_eq!(difference(&from, &to), patch);
        }
    }
}
