//! Services: late, with other ports, gone; those of another namespace, for as long as that grants it.
//!
//! No name of a Service can be reached from here, so what is looked at is the address that the worker is given.

use super::{apply, plan, resolved_to, unresolved};
use crate::support::cluster::foreign_crds;
use crate::support::world::{Plan, SHOP};
use crate::support::{Cluster, World};
use serde_json::{Value, json};

const PAY: &str = "pay";

fn service(world: &World, namespace: &str, ports: &Value) {
    let metadata = json!({"name": "billing", "namespace": namespace});
    world.cluster.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}).to_string());
}

/// A grant of namespace `pay` to destinations of a namespace, for Services of a name.
fn grant(world: &World, from: &str, name: &str) {
    let spec = json!({
        "from": [{"group": "posthorn.dev", "kind": "EventDestination", "namespace": from}],
        "to": [{"group": "", "kind": "Service", "name": name}],
    });
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "billing", "namespace": PAY}, "spec": spec,
    });
    world.cluster.apply(&object.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_followed_from_before_it_is_there_until_it_is_gone() {
    let world = World::start().await;
    apply(&world, "billing", &json!({"ref": {"name": "billing", "path": "/hooks?team=a"}}), &json!({}));
    let message = unresolved(&world, "billing", "RefNotFound").await;
    assert!(message.contains("there is no Service billing in namespace shop"), "{message}");
    world.event("billing", "RefNotFound").await;
    service(&world, SHOP, &json!([{"name": "web", "port": 80}]));
    world.status("billing", "sinkURI", &json!("http://billing.shop.svc/hooks")).await;
    world.condition("billing", "Resolved", "True").await;
    world.ready("billing").await;
    let plan = plan(&world, "billing").unwrap().to_string();
    assert!(plan.contains("\"http://billing.shop.svc/hooks?team=a\""), "{plan}");

    apply(&world, "billing", &json!({"ref": {"name": "billing"}}), &json!({}));
    resolved_to(&world, "billing", "http://billing.shop.svc/").await;
    service(&world, SHOP, &json!([{"name": "web", "port": 8080}]));
    resolved_to(&world, "billing", "http://billing.shop.svc:8080/").await;
    service(&world, SHOP, &json!([{"name": "web", "port": 8443, "appProtocol": "https"}]));
    resolved_to(&world, "billing", "https://billing.shop.svc:8443/").await;
    service(&world, SHOP, &json!([{"name": "web", "port": 8443, "appProtocol": "https"}, {"name": "admin", "port": 9090}]));
    let message = unresolved(&world, "billing", "PortAmbiguous").await;
    assert!(message.contains("8443") && message.contains("9090"), "{message}");
    apply(&world, "billing", &json!({"ref": {"name": "billing", "port": 9090}}), &json!({}));
    resolved_to(&world, "billing", "http://billing.shop.svc:9090/").await;
    service(&world, SHOP, &json!([{"name": "web", "port": 8443}]));
    unresolved(&world, "billing", "PortNotFound").await;
    apply(&world, "billing", &json!({"ref": {"name": "billing", "scheme": "HTTPS"}}), &json!({}));
    resolved_to(&world, "billing", "https://billing.shop.svc:8443/").await;
    world.cluster.delete(&["service", "billing", "-n", SHOP]);
    unresolved(&world, "billing", "RefNotFound").await;
    service(&world, SHOP, &json!([{"name": "web", "port": 80}]));
    resolved_to(&world, "billing", "https://billing.shop.svc:80/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_namespace_is_addressed_only_while_that_grants_it() {
    let world = World::start().await;
    world.cluster.create_namespace(PAY);
    service(&world, PAY, &json!([{"port": 80}]));
    apply(&world, "billing", &json!({"ref": {"name": "billing", "namespace": PAY}}), &json!({}));
    let message = unresolved(&world, "billing", "RefNotPermitted").await;
    assert!(message.contains("ReferenceGrant") && message.contains(PAY), "{message}");
    // neither for others nor for something else
    grant(&world, "elsewhere", "billing");
    grant(&world, SHOP, "ledger");
    grant(&world, SHOP, "billing");
    resolved_to(&world, "billing", "http://billing.pay.svc/").await;
    grant(&world, SHOP, "ledger");
    unresolved(&world, "billing", "RefNotPermitted").await;
    grant(&world, SHOP, "billing");
    resolved_to(&world, "billing", "http://billing.pay.svc/").await;
    world.cluster.delete(&["referencegrant", "billing", "-n", PAY]);
    unresolved(&world, "billing", "RefNotPermitted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_grants_may_be_installed_later_and_go_again() {
    let cluster = Cluster::bare().await;
    cluster.define(&posthorn::api::crd::crd_json()).await;
    let world = World::of(Plan { cluster: Some(cluster), ..Plan::default() }).await;
    world.cluster.create_namespace(PAY);
    service(&world, PAY, &json!([{"port": 80}]));
    apply(&world, "billing", &json!({"ref": {"name": "billing", "namespace": PAY}}), &json!({}));
    let message = unresolved(&world, "billing", "RefNotPermitted").await;
    assert!(message.contains("knows no ReferenceGrants"), "{message}");
    world.cluster.define(&foreign_crds("referencegrants")[0]).await;
    grant(&world, SHOP, "billing");
    resolved_to(&world, "billing", "http://billing.pay.svc/").await;
    world.cluster.delete(&["crd", "referencegrants.gateway.networking.k8s.io"]);
    unresolved(&world, "billing", "RefNotPermitted").await;
    world.cluster.define(&foreign_crds("referencegrants")[0]).await;
    grant(&world, SHOP, "billing");
    resolved_to(&world, "billing", "http://billing.pay.svc/").await;
}
