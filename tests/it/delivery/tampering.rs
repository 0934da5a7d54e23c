//! Redis changed by others under a running worker: counted, healed, gone on (T26, T27, T70).

use super::scene::{Gate, attempts, destination, of_type};
use super::world::World;
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;

/// A standalone with a destination whose head fails until the gate is opened.
async fn gated() -> (World, Receiver, Gate) {
    let gate = Gate::default();
    let receiver = Receiver::start(gate.before(Behaviour::ok())).await.unwrap();
    let spec = json!({"delivery": {"retry": -1}, "filters": of_type("com.example.test")});
    let world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    (world, receiver, gate)
}

#[tokio::test]
async fn a_queue_that_someone_deletes_is_counted_as_lost_and_delivery_goes_on() {
    let (mut world, receiver, gate) = gated().await;
    world.post(1..=100).await;
    world.until("a", "the backlog", |stored| stored.queued.len() == 100).await;
    world.redis.cli(&["DEL", &world.key("q", "a")]);
    gate.open();
    world.post(101..=120).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.lost, stored.settled), (100, 20));
    assert!(world.field("a", "dataLost").is_some());
    assert!((101..=120).all(|number| attempts(&log, number) == [1]));
}

#[tokio::test]
async fn after_flushall_everything_is_made_again_and_delivery_goes_on() {
    let (mut world, receiver, gate) = gated().await;
    world.post(1..=10).await;
    world.until("a", "the backlog", |stored| stored.queued.len() == 10).await;
    world.redis.cli(&["FLUSHALL"]);
    gate.open();
    world.client.accepted.clear();
    world.post(11..=30).await;
    eventually("the destination, made again and brought forward", async || {
        let known = world.redis.cli(&["HGETALL", "ph:{default}:names"]);
        holds(known.contains("default/a") && world.stored("a").routed == 20, || known.clone())
    })
    .await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    let log: Vec<_> = log.into_iter().filter(|seen| seen.sequence().is_some_and(|sequence| sequence >= world.sequence(11))).collect();
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(stored.settled, 20);
    assert!(world.field("a", "dataLost").is_some(), "it says that something was lost");
    world.post(31..=32).await;
    world.settled("a").await;
    assert!(world.process().runs());
}

#[tokio::test]
async fn a_group_that_someone_moves_or_deletes_repeats_and_overtakes_nothing() {
    let (mut world, receiver, gate) = gated().await;
    world.post(1..=100).await;
    world.until("a", "the backlog", |stored| stored.queued.len() == 100).await;
    let queue = world.key("q", "a");
    world.redis.cli(&["XGROUP", "SETID", &queue, "delivery", "0"]);
    world.redis.cli(&["XACK", &queue, "delivery", &world.sequence(5).to_string(), &world.sequence(60).to_string()]);
    // a new event makes the lane read again
    world.post(101..=101).await;
    gate.open();
    world.until("a", "half of it", |stored| stored.settled > 20).await;
    world.redis.cli(&["XGROUP", "SETID", &queue, "delivery", "0"]);
    world.redis.cli(&["XGROUP", "DELCONSUMER", &queue, "delivery", "w"]);
    world.post(102..=140).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    world.redis.cli(&["XGROUP", "DESTROY", &queue, "delivery"]);
    world.post(141..=160).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(stored.settled, 160);
}

#[tokio::test]
async fn an_event_that_someone_acknowledged_or_read_is_delivered_all_the_same() {
    let (mut world, receiver, gate) = gated().await;
    world.post(1..=30).await;
    world.until("a", "the backlog", |stored| stored.queued.len() == 30).await;
    let queue = world.key("q", "a");
    world.process().kill9();
    world.redis.cli(&["XACK", &queue, "delivery", &world.sequence(7).to_string()]);
    world.redis.cli(&["XCLAIM", &queue, "delivery", "thief", "0", &world.sequence(9).to_string()]);
    world.redis.cli(&["XGROUP", "SETID", &queue, "delivery", "$"]);
    gate.open();
    world.start().await;
    let stored = world.settled("a").await;
    assert_eq!((stored.settled, stored.routed), (30, 30));
    assert!((1..=30).all(|number| super::scene::accepted(&receiver.log(), number) == 1));
}

#[tokio::test]
async fn what_someone_puts_into_a_queue_becomes_a_dead_letter() {
    let (mut world, receiver, gate) = gated().await;
    gate.open();
    world.post(1..=2).await;
    world.settled("a").await;
    // an ID that no later event will have
    world.post_type(3, "other").await;
    world.redis.cli(&["XADD", &world.key("q", "a"), &world.sequence(3).to_string(), "foo", "bar"]);
    world.post(4..=5).await;
    let stored = world.settled("a").await;
    assert_eq!((stored.settled, stored.dead.len()), (4, 1));
    assert_eq!(world.dead_letters("a")[0]["class"], "Undecodable");
    assert_eq!(receiver.count(), 4);
}
