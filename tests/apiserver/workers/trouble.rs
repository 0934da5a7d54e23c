//! Workers that cannot run: the destination says so, and why, and says when it has passed.

use crate::support::eventually::{eventually, eventually_within, holds};
use crate::support::kubelet::Options;
use crate::support::world::{Plan, RELEASE, SHOP, World, condition_of, destination};
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Waits until WorkerAvailable is False with a message that contains this.
async fn complains(world: &World, name: &str, text: &str) {
    eventually_within(Duration::from_secs(60), &format!("{name} complains of {text}"), async || {
        let found = condition_of(&world.object(name), "WorkerAvailable");
        let message = found["message"].as_str().unwrap_or_default();
        let told = found["status"] == "False" && found["reason"] == "WorkerUnavailable" && message.contains(text);
        holds(told, || format!("{found}; operator: {}", world.operator.log()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_start_says_why_until_it_runs() {
    let (world, receiver) = (World::start().await, Receiver::start(Behaviour::ok()).await.unwrap());
    world.kubelet.hold(true);
    world.apply("billing", &receiver.url(), "isolation: Dedicated");
    world.apply("audit", &receiver.url(), "isolation: Shared");
    for name in ["billing", "audit"] {
        complains(&world, name, "ImagePullBackOff: Back-off pulling image").await;
        assert_eq!(world.condition(name, "Ready", "False").await, "WorkerUnavailable");
        assert_eq!(world.condition(name, "Routed", "True").await, "Routed");
    }
    world.post(1..=3).await;
    world.kubelet.hold(false);
    for name in ["billing", "audit"] {
        world.ready(name).await;
        world.delivered(name, 3).await;
        world.event(name, "Ready").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_that_begins_later_is_told_and_its_end_too() {
    // a container that dies twice waits for a quarter of an hour
    let kubelet = |options| Options { pace: 100.0, ..options };
    let (world, receiver) =
        (World::of(Plan { kubelet: Box::new(kubelet), ..Plan::default() }).await, Receiver::start(Behaviour::ok()).await.unwrap());
    world.apply("billing", &receiver.url(), "isolation: Dedicated");
    world.ready("billing").await;
    let worker = world.worker("billing");
    for restarts in 0..2 {
        eventually("it runs", async || {
            let pods = world.kubelet.pods_of(&worker);
            holds(pods.iter().any(|pod| pod.pid.is_some() && pod.restarts == restarts), || format!("{pods:?}"))
        })
        .await;
        world.kubelet.kill_worker(&worker);
    }
    complains(&world, "billing", "CrashLoopBackOff").await;
    world.event("billing", "WorkerUnavailable").await;
    let label = format!("posthorn.dev/worker={worker}");
    world.cluster.ok(&["delete", "pods", "-n", RELEASE, "-l", &label]);
    world.ready("billing").await;
    world.post(1..=3).await;
    world.delivered("billing", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_beyond_a_full_pool_get_a_second_one() {
    let (world, receiver) = (World::start().await, Receiver::start(Behaviour::ok()).await.unwrap());
    let names: Vec<String> = (0..70).map(|number| format!("d{number:02}")).collect();
    let objects: Vec<String> = names.iter().map(|name| destination(name, &receiver.url(), "isolation: Shared")).collect();
    world.cluster.apply(&objects.join("\n---\n"));
    world.cluster.ok(&["wait", "--for=condition=Ready", "--timeout=120s", "-n", SHOP, "evd", "--all"]);
    let mut pools: BTreeMap<String, usize> = BTreeMap::new();
    for object in world.cluster.json(&["get", "evd", "-n", SHOP])["items"].as_array().unwrap() {
        *pools.entry(object["status"]["worker"]["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(pools, BTreeMap::from([("posthorn-pool-0".to_owned(), 64), ("posthorn-pool-1".to_owned(), 6)]));
    world.post(1..=2).await;
    eventually("each has got both events", async || holds(receiver.count() == 140, || receiver.count().to_string())).await;
    // the second pool goes away with its last destination
    let second: Vec<String> = names.into_iter().filter(|name| world.worker(name) == "posthorn-pool-1").collect();
    for name in &second {
        world.cluster.ok(&["delete", "evd", name, "-n", SHOP, "--wait=false"]);
    }
    world.gone("posthorn-pool-1").await;
    world.patch("d00", &json!({"suspend": true}));
    world.ready("d00").await;
}
