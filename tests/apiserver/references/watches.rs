//! What is changed while nobody watches: an API server that starts again, a watch that is refused for a while.

use super::{apply, assert_runs, certified, key, plan, resolved_to, secret, unresolved};
use crate::support::World;
use crate::support::eventually::holds;
use crate::support::eventually_within;
use crate::support::world::SHOP;
use posthorn::operator::rbac::OPERATOR;
use posthorn::receiver::Behaviour;
use serde_json::{Value, json};

/// Waits until the worker of a destination is given this text.
async fn given(world: &World, name: &str, text: &str) {
    eventually_within(super::PATIENCE, &format!("{name} is given {text}"), async || {
        let plan = plan(world, name).map(|plan| plan.to_string()).unwrap_or_default();
        holds(plan.contains(text), || format!("{plan}; operator: {}", world.operator.log()))
    })
    .await;
}

fn bearer(uri: &str) -> Value {
    json!({"uri": uri, "auth": {"bearer": {"secretKeyRef": key("credentials", "token")}}})
}

fn service(world: &World, port: u16) {
    world.cluster.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: billing, namespace: {SHOP}}}, spec: {{ports: [{{name: web, port: {port}}}]}}}}"
    ));
}

/// What the operator may watch in all namespaces, without these resources.
fn rules_without(world: &World, resources: &[&str]) -> (Value, Value) {
    let role = world.cluster.json(&["get", "clusterrole", OPERATOR]);
    let all = role["rules"].clone();
    let mut fewer = all.clone();
    for rule in fewer.as_array_mut().unwrap() {
        if resources.iter().any(|resource| rule["resources"][0] == *resource && rule["verbs"][0] == "get") {
            rule["verbs"] = json!(["get"]);
        }
    }
    (all, fewer)
}

fn allow(world: &World, rules: &Value) {
    world.cluster.ok(&["patch", "clusterrole", OPERATOR, "--type=merge", "-p", &json!({"rules": rules}).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_the_api_server_starts_again_is_noticed() {
    let mut world = World::start().await;
    secret(&world, "credentials", true, &json!({"token": "first"}));
    service(&world, 80);
    apply(&world, "hook", &bearer("https://127.0.0.1:9/"), &json!({}));
    apply(&world, "billing", &json!({"ref": {"name": "billing"}}), &json!({}));
    world.ready("hook").await;
    resolved_to(&world, "billing", "http://billing.shop.svc/").await;
    for (token, port) in [("second", 81), ("third", 82)] {
        world.cluster.restart().await;
        secret(&world, "credentials", true, &json!({"token": token}));
        service(&world, port);
        given(&world, "hook", token).await;
        resolved_to(&world, "billing", &format!("http://billing.shop.svc:{port}/")).await;
        world.ready("hook").await;
    }
    assert_runs(&mut world.operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_watch_is_refused_is_noticed_once_it_is_allowed() {
    let mut world = World::start().await;
    secret(&world, "credentials", true, &json!({"token": "first"}));
    secret(&world, "gone", true, &json!({"token": "first"}));
    service(&world, 80);
    apply(&world, "hook", &bearer("https://127.0.0.1:9/"), &json!({}));
    let mut second = bearer("https://127.0.0.1:9/");
    second["auth"]["bearer"]["secretKeyRef"]["name"] = "gone".into();
    apply(&world, "second", &second, &json!({}));
    apply(&world, "billing", &json!({"ref": {"name": "billing"}}), &json!({}));
    world.ready("hook").await;
    world.ready("second").await;
    resolved_to(&world, "billing", "http://billing.shop.svc/").await;
    // a watch that goes on is not asked again whether it may: it must be broken
    let (all, fewer) = rules_without(&world, &["secrets", "services"]);
    allow(&world, &fewer);
    world.cluster.restart().await;
    world.operator.line("cannot watch what destinations refer to").await;
    secret(&world, "credentials", true, &json!({"token": "second"}));
    world.cluster.delete(&["secret", "gone", "-n", SHOP]);
    service(&world, 81);
    allow(&world, &all);
    given(&world, "hook", "second").await;
    resolved_to(&world, "billing", "http://billing.shop.svc:81/").await;
    unresolved(&world, "second", "SecretNotFound").await;
    assert_runs(&mut world.operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_authorities_is_followed_too() {
    let world = World::start().await;
    let sink = json!({"uri": "https://127.0.0.1:9/", "tls": {"caBundleRef": {"name": "authority"}}});
    apply(&world, "hook", &sink, &json!({}));
    unresolved(&world, "hook", "ConfigMapNotFound").await;
    let receiver = certified(&world, Behaviour::ok()).await;
    world.ready("hook").await;
    let sink = json!({"uri": format!("https://{}/", receiver.addr), "tls": {"caBundleRef": {"name": "authority"}}});
    apply(&world, "hook", &sink, &json!({}));
    world.ready("hook").await;
    world.post([1]).await;
    world.delivered("hook", 1).await;
    world.cluster.ok(&["patch", "configmap", "authority", "-n", SHOP, "-p", r#"{"data": {"ca.crt": "nonsense"}}"#]);
    unresolved(&world, "hook", "InvalidCABundle").await;
    // a receiver of another authority at the place of the first
    let other = certified(&world, Behaviour::ok()).await;
    let sink = json!({"uri": format!("https://{}/", other.addr), "tls": {"caBundleRef": {"name": "authority"}}});
    apply(&world, "hook", &sink, &json!({}));
    world.ready("hook").await;
    world.post([2]).await;
    world.delivered("hook", 2).await;
    assert_eq!((receiver.count(), other.count()), (1, 1));
}
