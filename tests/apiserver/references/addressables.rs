//! Objects of any kind that publish `status.address.url`: their kind comes late, and so do the right to read it, the object and its address.

use super::{apply, plan, resolved_to, unresolved};
use crate::support::World;
use crate::support::world::SHOP;
use posthorn::operator::rbac::ADDRESSABLES;
use serde_json::{Value, json};

/// A kind that publishes its address.
fn brokers() -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "brokers.one.example"},
        "spec": {
            "group": "one.example", "scope": "Namespaced", "names": {"kind": "Broker", "plural": "brokers", "singular": "broker"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
            }],
        },
    })
}

/// What a cluster's controller collects into the role of the operator from ClusterRoles with the label.
fn may_read(world: &World) {
    let rules = json!([{"apiGroups": ["one.example"], "resources": ["brokers"], "verbs": ["get", "list", "watch"]}]);
    world.cluster.ok(&["patch", "clusterrole", ADDRESSABLES, "--type=merge", "-p", &json!({"rules": rules}).to_string()]);
}

fn publish(world: &World, status: &Value) {
    let patch = json!({"status": status}).to_string();
    world.cluster.ok(&["patch", "broker", "main", "-n", SHOP, "--subresource=status", "--type=merge", "-p", &patch]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_addressable_kind_is_followed_from_before_it_is_served_until_it_is_gone() {
    let world = World::start().await;
    let reference = json!({"apiVersion": "one.example/v1", "kind": "Broker", "name": "main", "path": "/in"});
    apply(&world, "main", &json!({"ref": reference}), &json!({}));
    let message = unresolved(&world, "main", "RefKindNotFound").await;
    assert!(message.contains("knows no Broker of one.example/v1"), "{message}");
    world.cluster.define(&brokers()).await;
    let message = unresolved(&world, "main", "RefForbidden").await;
    assert!(message.contains("may not read Broker"), "{message}");
    may_read(&world);
    unresolved(&world, "main", "RefNotFound").await;
    world.cluster.apply(&format!("{{apiVersion: one.example/v1, kind: Broker, metadata: {{name: main, namespace: {SHOP}}}}}"));
    let message = unresolved(&world, "main", "RefNotAddressable").await;
    assert!(message.contains("status.address.url"), "{message}");
    publish(&world, &json!({"address": {"url": "https://one.example/"}}));
    resolved_to(&world, "main", "https://one.example/in").await;
    // its writer may be anyone: of such an address nothing is believed
    assert_eq!(plan(&world, "main").unwrap()["sink"].to_string().matches("\"inCluster\":true").count(), 0);
    publish(&world, &json!({"address": {"url": "https://two.example/base"}}));
    resolved_to(&world, "main", "https://two.example/base/in").await;
    publish(&world, &json!({"address": {"url": "file:///etc/passwd"}}));
    unresolved(&world, "main", "RefNotAddressable").await;
    publish(&world, &json!({"address": {"url": "https://three.example"}}));
    resolved_to(&world, "main", "https://three.example/in").await;
    world.cluster.delete(&["broker", "main", "-n", SHOP]);
    unresolved(&world, "main", "RefNotFound").await;
    world.cluster.delete(&["crd", "brokers.one.example"]);
    unresolved(&world, "main", "RefKindNotFound").await;
}
