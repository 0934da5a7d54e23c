//! Five hundred destinations come and go at once: what that costs the API server is bounded, and nothing stays.

use crate::support::World;
use crate::support::audit::Mark;
use crate::support::eventually::{eventually_within, holds};
use crate::support::world::{OPERATOR, RELEASE, SHOP};
use futures::StreamExt;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use posthorn::api::EventDestination;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const COUNT: usize = 500;
/// On two busy cores, with eight pools of workers.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn many_destinations_come_and_go_at_once_with_few_calls_each() {
    let world = World::start().await;
    let mark = world.cluster.mark();
    let api: Api<EventDestination> = Api::namespaced(world.cluster.client().await, SHOP);
    let create = async |number| drop(api.create(&PostParams::default(), &object(number)).await.unwrap());
    futures::stream::iter(0..COUNT).map(create).buffer_unordered(16).collect::<Vec<()>>().await;
    eventually_within(PATIENCE, "all are ready", async || {
        let ready = list(&world).iter().filter(|object| is_ready(object)).count();
        tokio::time::sleep(Duration::from_millis(300)).await;
        holds(ready == COUNT, || format!("{ready} are, operator: {}", world.operator.log()))
    })
    .await;
    let pools = sizes_of_pools(&world);
    assert_eq!(pools.iter().sum::<usize>(), COUNT);
    assert!(pools.len() == COUNT.div_ceil(64) && pools.iter().all(|size| *size <= 64), "{pools:?}");
    let made = told(&world, "made", mark);
    bound(&made, "patch eventdestinations", 1.1);
    bound(&made, "patch eventdestinations/status", 3.0);
    bound(&made, "create events", 1.0);
    bound(&made, "get secrets", 0.1);
    // a pool is written at most once a second, however many destinations come
    bound(&made, "patch secrets", 0.5);
    bound(&made, "patch deployments", 0.1);
    bound(&made, "patch pods", 1.0);

    // what does not change costs nothing: the last of what was under way apart
    let rest = quiet(&world).await;

    let mark = world.cluster.mark();
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    eventually_within(PATIENCE, "all are gone", async || {
        let left = list(&world).len();
        tokio::time::sleep(Duration::from_millis(300)).await;
        holds(left == 0, || format!("{left} are left, operator: {}", world.operator.log()))
    })
    .await;
    eventually_within(PATIENCE, "nothing is left in the release namespace", async || {
        let objects = world.cluster.json(&["get", "secrets,deployments,pods", "-n", RELEASE, "-l", "app.kubernetes.io/component=worker"]);
        let left = objects["items"].as_array().unwrap().len();
        holds(left == 0, || format!("{left} objects"))
    })
    .await;
    eventually_within(PATIENCE, "nothing is left in Redis", async || {
        let keys: Vec<String> = world.pieces.redis.query(redis::cmd("KEYS").arg("*"));
        let own = ["in", "cursor", "own:router"].map(|key| format!("ph:{{default}}:{key}"));
        let left: Vec<_> = keys.into_iter().filter(|key| !own.contains(key)).collect();
        holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
    let gone = told(&world, "gone", mark);
    bound(&gone, "patch eventdestinations", 1.1);
    bound(&gone, "patch eventdestinations/status", 0.2);
    bound(&gone, "create events", 1.02);
    bound(&gone, "get eventdestinations", 0.1);
    println!("at rest: {rest:?}; operator: {} MiB at most", peak_memory(world.operator.pid()) / 1024);
    assert!(peak_memory(world.operator.pid()) < 200 * 1024, "a debug build needs this much");
    assert!(!world.operator.log().contains("ERROR"), "{}", world.operator.log());
}

fn object(number: usize) -> EventDestination {
    let spec = json!({"isolation": "Shared", "sink": {"http": {"uri": format!("http://127.0.0.1:9/{number}")}}});
    let metadata = json!({"name": format!("d{number}"), "namespace": SHOP});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn list(world: &World) -> Vec<Value> {
    world.cluster.json(&["get", "evd", "-n", SHOP])["items"].as_array().unwrap().clone()
}

fn is_ready(object: &Value) -> bool {
    crate::support::world::condition_of(object, "Ready")["status"] == "True"
}

/// How many plans each pool has.
fn sizes_of_pools(world: &World) -> Vec<usize> {
    let secrets = world.cluster.json(&["get", "secrets", "-n", RELEASE, "-l", "posthorn.dev/pool"]);
    secrets["items"].as_array().unwrap().iter().map(|secret| secret["data"].as_object().map_or(0, |data| data.len())).collect()
}

/// Waits until a while passes without a write of the operator, its lease apart; returns what it wrote before that.
async fn quiet(world: &World) -> BTreeMap<String, usize> {
    let mark = world.cluster.mark();
    let mut last = usize::MAX;
    eventually_within(PATIENCE, "the operator writes nothing", async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let writes = calls(world, mark).into_iter().filter(|(call, _)| is_write(call)).map(|(_, count)| count).sum();
        holds(std::mem::replace(&mut last, writes) == writes, || format!("{writes} writes"))
    })
    .await;
    calls(world, mark)
}

fn is_write(call: &str) -> bool {
    !["get ", "list ", "watch "].iter().any(|verb| call.starts_with(verb))
}

/// What the operator asked, by verb and resource; that of the lease apart.
fn calls(world: &World, mark: Mark) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    let of_operator = |request: &crate::support::Request| request.user() == OPERATOR && request.resource() != "leases";
    for request in world.cluster.requests_since(mark).iter().filter(|request| of_operator(request)) {
        *calls.entry(format!("{} {}", request.verb, request.resource())).or_default() += 1;
    }
    calls
}

fn told(world: &World, what: &str, mark: Mark) -> BTreeMap<String, usize> {
    let calls = calls(world, mark);
    for (call, count) in &calls {
        println!("{what}: {call}: {count}, {:.2} for each", *count as f64 / COUNT as f64);
    }
    calls
}

fn bound(calls: &BTreeMap<String, usize>, call: &str, each: f64) {
    let count = calls.get(call).copied().unwrap_or(0);
    assert!(count as f64 <= each * COUNT as f64, "{call}: {count}, more than {each} for each: {calls:?}");
}

/// Most resident memory that a process ever had, KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
