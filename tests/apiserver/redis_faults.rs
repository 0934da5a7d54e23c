//! Redis goes away, comes back, or has forgotten: what is told, and that all is made good without anybody's help.

use crate::support::History;
use crate::support::World;
use crate::support::client::Post;
use crate::support::eventually::{eventually_within, holds};
use crate::support::load::{Load, Shape};
use crate::support::pieces::metric;
use crate::support::world::{SHOP, condition_of};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition has this reason, and returns its status.
async fn shown(world: &World, name: &str, condition: &str, reason: &str) -> String {
    world.reason(name, condition, reason).await["status"].as_str().unwrap().to_owned()
}

/// Waits until the operator's metrics say this of the Redis of the bus.
async fn stored(admin: SocketAddr, state: &str) {
    let series = format!("posthorn_operator_storage{{bus=\"default\",state=\"{state}\"}}");
    eventually_within(PATIENCE, &series, async || holds(metric(admin, &series).await == 1.0, || "not yet".into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_down_is_told_and_all_recovers_by_itself() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    for (name, isolation) in [("alone", "Dedicated"), ("pooled", "Shared")] {
        world.apply(name, &receiver.url(), &format!("isolation: {isolation}"));
        world.ready(name).await;
    }
    let mut client = world.post(1..=5).await;
    world.delivered("alone", 5).await;
    world.status("pooled", "delivered", &json!(5)).await;

    world.pieces.redis.kill9();
    for name in ["alone", "pooled"] {
        for condition in ["StorageSafe", "Routed", "WorkerAvailable", "Delivering", "Ready"] {
            assert_eq!(shown(&world, name, condition, "RedisUnavailable").await, "Unknown", "{condition}");
        }
        assert_eq!(world.object(name)["status"]["delivered"], json!(5), "what was known stays");
    }
    // an operator that begins while Redis is down tells the same, and takes what is new
    world.replace_operator("").await;
    world.apply("new", &receiver.url(), "isolation: Shared");
    assert_eq!(shown(&world, "new", "StorageSafe", "RedisUnavailable").await, "Unknown");
    assert_eq!(shown(&world, "new", "Ready", "RedisUnavailable").await, "Unknown");
    assert_eq!(world.condition("new", "Accepted", "True").await, "Accepted");

    world.pieces.redis.restart();
    for name in ["alone", "pooled", "new"] {
        world.ready(name).await;
        assert_eq!(world.condition(name, "StorageSafe", "True").await, "Safe");
        assert_eq!(condition_of(&world.object(name), "DataLost"), json!(null), "nothing was lost");
    }
    for number in 6..=10 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    world.delivered("alone", 10).await;
    world.delivered("pooled", 10).await;
    world.delivered("new", 5).await;
    let reasons = world.events("alone");
    assert_eq!(
        reasons.iter().filter(|reason| *reason == "Ready").count(),
        1,
        "that Redis is back is no news of the destination: {reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_emptied_under_load_is_filled_again_and_the_loss_is_told() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    for (name, isolation) in [("alone", "Dedicated"), ("pooled", "Shared")] {
        world.apply(name, &format!("{}{name}", receiver.url()), &format!("isolation: {isolation}"));
        world.ready(name).await;
    }
    let started = ["alone", "pooled"].map(|name| world.object(name)["status"]["startSequence"].clone());
    assert!(started.iter().all(|start| start.is_string()), "{started:?}");
    let shape = Shape { clients: 2, events: 100_000, pause: Duration::from_millis(2), ..Shape::default() };
    let load = Load::start(world.ingest.addr, shape);
    eventually_within(PATIENCE, "events are delivered", async || holds(receiver.count() > 100, || receiver.count().to_string())).await;
    world.pieces.redis.cli(&["FLUSHALL"]);
    for (name, start) in ["alone", "pooled"].iter().zip(&started) {
        assert_eq!(shown(&world, name, "DataLost", "QueueDeleted").await, "True");
        world.ready(name).await;
        assert_eq!(world.object(name)["status"]["startSequence"], *start, "where it began is not forgotten");
        world.event(name, "DataLost").await;
    }
    let before = receiver.count();
    eventually_within(PATIENCE, "events are delivered again", async || {
        holds(receiver.count() > before + 100, || receiver.log().len().to_string())
    })
    .await;
    let _ = load.stop().await;
    // what is accepted from now on is delivered whole, in order, once
    let before = receiver.count();
    let client = world.post(1..=20).await;
    let last = client.accepted.last().unwrap().sequence;
    for name in ["alone", "pooled"] {
        let path = format!("/{name}");
        eventually_within(PATIENCE, &format!("{name} gets all"), async || {
            let log = receiver.log();
            let came = log.iter().skip(before).filter(|seen| seen.path == path).any(|seen| seen.sequence() == Some(last));
            holds(came, || format!("{} requests", log.len()))
        })
        .await;
        let log = receiver.log();
        let ids: Vec<_> =
            log.iter().filter(|seen| seen.path == path && seen.source() == Some("/test")).filter_map(|seen| seen.id()).collect();
        assert_eq!(ids, (1..=20).map(|number| format!("event-{number}")).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_someone_deletes_is_a_loss_of_that_destination_alone() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    for (name, isolation) in [("hit", "Shared"), ("spared", "Shared"), ("alone", "Dedicated")] {
        world.apply(name, &format!("{}{name}", receiver.url()), &format!("isolation: {isolation}"));
        world.ready(name).await;
    }
    let mut client = world.post(1..=4).await;
    for name in ["hit", "spared", "alone"] {
        world.status(name, "backlog", &json!(4)).await;
    }
    let redis = &world.pieces.redis;
    redis.cli(&["DEL", &format!("ph:{{default}}:q:{}", world.uid("hit"))]);
    // the group alone is made again without a loss
    redis.cli(&["XGROUP", "DESTROY", &format!("ph:{{default}}:q:{}", world.uid("alone")), "delivery"]);
    client.post_until_accepted(&Post::numbered(5)).await;
    let found = world.reason("hit", "DataLost", "QueueDeleted").await;
    assert!(found["message"].as_str().unwrap().contains("with 4 events in it"), "{found}");
    world.status("hit", "lost", &json!(4)).await;
    world.told("hit", "DataLost").await;
    receiver.set_behaviour(Behaviour::ok());
    world.status("hit", "delivered", &json!(1)).await;
    for name in ["spared", "alone"] {
        world.delivered(name, 5).await;
        world.status(name, "delivered", &json!(5)).await;
        let object = world.object(name);
        assert_eq!(object["status"]["lost"], json!(0));
        assert_eq!(condition_of(&object, "DataLost"), json!(null));
        let log: Vec<_> = receiver.log().into_iter().filter(|seen| seen.path == format!("/{name}")).collect();
        History::strict(&format!("{SHOP}/{name}"), &client.accepted, &log, &world.stored(name)).assert_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_keep_what_it_accepts_is_told_and_no_new_worker_runs_on_it() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("billing", &receiver.url(), "isolation: Dedicated");
    world.ready("billing").await;
    let admin = world.admin().await;
    stored(admin, "Safe").await;
    let redis = &world.pieces.redis;
    redis.cli(&["CONFIG", "SET", "appendonly", "no"]);
    // looked at on each new connection, and each minute
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(world.condition("billing", "StorageSafe", "False").await, "NoAppendOnlyFile");
    stored(admin, "Unsafe").await;
    world.ready("billing").await;
    let worker = world.object("billing")["status"]["worker"]["name"].as_str().unwrap().to_owned();
    world.kubelet.kill_worker(&worker);
    assert_eq!(world.condition("billing", "Ready", "False").await, "WorkerUnavailable");
    assert!(world.kubelet.logs(&worker).contains("set appendonly yes"), "it says why, and what to do");
    world.pieces.redis.restart();
    world.ready("billing").await;
    assert_eq!(world.condition("billing", "StorageSafe", "True").await, "Safe");
}
