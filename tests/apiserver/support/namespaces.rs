//! What a controller manager does for namespaces: the default ServiceAccount of a new one, and the end of one that is deleted.

use super::Cluster;
use super::it::eventually::{eventually_within, holds};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long finalizers of others may hold a namespace.
const PATIENCE: Duration = Duration::from_secs(90);

impl Cluster {
    /// A new namespace whose name begins like this.
    pub fn namespace(&self, prefix: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.create_namespace(&name);
        name
    }

    /// A new namespace of this name.
    pub fn create_namespace(&self, name: &str) {
        let account = format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: default, namespace: {name}}}}}");
        self.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}\n---\n{account}"));
    }

    /// Deletes a namespace as `kubectl delete namespace` does, and waits until it is gone: everything in it is deleted, and once nothing is left
    /// (finalizers are others' business) the namespace itself.
    pub async fn delete_namespace(&self, name: &str) {
        let client = self.client().await;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        let discovery = Discovery::new(client.clone()).run().await.unwrap();
        eventually_within(PATIENCE, &format!("nothing is left in namespace {name}"), async || {
            let left = empty(&client, &discovery, name).await.map_err(|error| error.to_string())?;
            holds(left.is_empty(), || left.join(", "))
        })
        .await;
        let done = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}});
        let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize")).header("content-type", "application/json");
        client.request::<Value>(request.body(done.to_string().into_bytes()).unwrap()).await.unwrap();
    }
}

/// Deletes everything in a namespace; returns what is there still.
async fn empty(client: &kube::Client, discovery: &Discovery, namespace: &str) -> kube::Result<Vec<String>> {
    let mut left = Vec::new();
    for (resource, capabilities) in discovery.groups().flat_map(|group| group.recommended_resources()) {
        let collection = [verbs::LIST, verbs::DELETE_COLLECTION].iter().all(|verb| capabilities.supports_operation(verb));
        if capabilities.scope != Scope::Namespaced || !collection {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        if api.list_metadata(&ListParams::default()).await?.items.is_empty() {
            continue;
        }
        api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let names = api.list_metadata(&ListParams::default()).await?;
        left.extend(names.items.iter().filter_map(|it| Some(format!("{} {}", resource.kind, it.metadata.name.as_deref()?))));
    }
    Ok(left)
}
