//! `kubectl delete namespace` never hangs on our finalizer.

use super::{destination, fill, forgotten, gone};
use crate::support::World;
use crate::support::eventually::{eventually_within, holds};
use crate::support::world::SHOP;
use std::time::Duration;

/// A Secret that destinations may use.
const SECRET: &str =
    "{apiVersion: v1, kind: Secret, metadata: {name: token, namespace: shop, labels: {posthorn.dev/allow: \"true\"}}, stringData: {a: b}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_with_destinations_in_every_state() {
    let world = World::start().await;
    world.cluster.apply(SECRET);
    let bearer = "auth: {bearer: {secretKeyRef: {name: token, key: a}}}";
    let dead = "https://127.0.0.1:9/";
    world.cluster.apply(&destination("secret", dead, bearer, "retry: -1", "isolation: Shared"));
    world.cluster.apply(&destination("drain", dead, bearer, "retry: -1", "isolation: Dedicated, deletionPolicy: Drain, drainTimeout: 3s"));
    world.cluster.apply(&destination("paused", dead, "", "retry: -1", "isolation: Dedicated"));
    world.cluster.apply(&destination("suspended", dead, "", "retry: -1", "isolation: Dedicated, suspend: true"));
    world.cluster.apply(&destination("rejected", dead, "", "retry: -1", "bus: nowhere"));
    for name in ["secret", "drain", "paused", "suspended"] {
        world.ready(name).await;
    }
    assert_eq!(world.condition("rejected", "Accepted", "False").await, "UnknownBus");
    world.cluster.ok(&["annotate", "evd", "paused", "-n", SHOP, "posthorn.dev/paused=true"]);
    world.condition("paused", "ReconciliationPaused", "True").await;
    world.post(1..=3).await;
    world.status("drain", "backlog", &serde_json::json!(3)).await;
    // namespaces are emptied in no order: Secrets may go first
    world.cluster.delete(&["secret", "token", "-n", SHOP]);
    world.condition("secret", "Resolved", "False").await;
    let uids = ["secret", "drain", "paused", "suspended", "rejected"].map(|name| world.uid(name));
    world.cluster.delete_namespace(SHOP).await;
    for uid in &uids {
        forgotten(&world, uid).await;
    }
    assert!(!world.operator.log().contains("ERROR"), "{}", world.operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_while_redis_is_down_and_what_redis_held_goes_later() {
    let mut world = World::start().await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Shared");
    world.ready("billing").await;
    let uid = world.uid("billing");
    fill(&world.pieces.redis, &uid, 1_000);
    world.pieces.redis.kill9();
    world.cluster.delete_namespace(SHOP).await;
    world.pieces.redis.restart();
    forgotten(&world, &uid).await;
    assert!(world.operator.log().contains("its object is gone"), "{}", world.operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_waits_for_an_operator_that_is_away_and_goes_once_one_is_back() {
    let mut world = World::start().await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.ready("billing").await;
    let uid = world.uid("billing");
    fill(&world.pieces.redis, &uid, 1_000);
    world.operator.kill9();
    world.cluster.ok(&["delete", "evd", "billing", "-n", SHOP, "--wait=false"]);
    world.release_lease();
    let (operator, ()) = tokio::join!(
        async {
            let ending = "{.status.phase}";
            eventually_within(Duration::from_secs(60), "the namespace is being deleted", async || {
                let phase = world.cluster.kubectl(&["get", "namespace", SHOP, "-o", &format!("jsonpath={ending}")]);
                holds(phase.stdout == b"Terminating", || String::from_utf8_lossy(&phase.stdout).into_owned())
            })
            .await;
            world.another_operator("")
        },
        world.cluster.delete_namespace(SHOP),
    );
    world.operator = operator;
    forgotten(&world, &uid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_namespace_stays_goes_while_redis_is_down_too() {
    let mut world = World::start().await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.ready("billing").await;
    let uid = world.uid("billing");
    world.pieces.redis.kill9();
    world.cluster.ok(&["delete", "evd", "billing", "-n", SHOP, "--wait=false"]);
    gone(&world, "billing").await;
    let told = world.told("billing", "Discarded").await;
    assert!(told.starts_with("what Redis holds of it is removed once Redis answers again: "), "{told}");
    // made again before Redis is back: nothing of the former is taken over
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.pieces.redis.restart();
    world.ready("billing").await;
    forgotten(&world, &uid).await;
}
