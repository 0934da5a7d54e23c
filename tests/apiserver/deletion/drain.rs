//! `deletionPolicy: Drain`: what waits is delivered first, for a bounded time.

use super::{forgotten, gone};
use crate::support::World;
use crate::support::eventually::{eventually, holds};
use crate::support::it::stored::behind;
use crate::support::world::SHOP;
use posthorn::receiver::{Answer, Behaviour, Receiver};

async fn routed(world: &World) {
    eventually("everything is routed", async || {
        let behind = behind(&world.pieces.redis, "default");
        holds(behind == 0, || format!("{behind} are not"))
    })
    .await;
}

fn numbers(receiver: &Receiver) -> Vec<String> {
    receiver.log().iter().filter(|seen| seen.accepted()).map(|seen| seen.id().unwrap_or_default().to_owned()).collect()
}

fn delete(world: &World, name: &str) {
    world.cluster.ok(&["delete", "evd", name, "-n", SHOP, "--wait=false"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_delivered_and_nothing_new_is_taken() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    for (name, isolation) in [("alone", "Dedicated"), ("pooled", "Shared")] {
        let path = format!("{}{name}", receiver.url());
        world.apply(name, &path, &format!("isolation: {isolation}, deletionPolicy: Drain, drainTimeout: 1h"));
        world.ready(name).await;
    }
    let uids = ["alone", "pooled"].map(|name| world.uid(name));
    world.post(1..=5).await;
    routed(&world).await;

    for name in ["alone", "pooled"] {
        delete(&world, name);
        assert_eq!(world.condition(name, "Routed", "False").await, "Draining");
    }
    // another operator goes on with it
    world.replace_operator("").await;
    world.post(6..=8).await;
    routed(&world).await;
    assert!(["alone", "pooled"].iter().all(|name| world.stored(name).queued.len() == 5));
    receiver.set_behaviour(Behaviour::ok());
    for (name, uid) in ["alone", "pooled"].iter().zip(&uids) {
        gone(&world, name).await;
        assert_eq!(world.told(name, "Drained").await, "nothing waited any more; removed 0 waiting events and 0 dead letters");
        forgotten(&world, uid).await;
    }
    let mut delivered = numbers(&receiver);
    delivered.sort();
    let wanted: Vec<String> = (1..=5).flat_map(|number| [format!("event-{number}"), format!("event-{number}")]).collect();
    assert_eq!(delivered, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_holds_it_no_longer_than_the_drain_timeout() {
    let world = World::start().await;
    world.apply("dead", "http://127.0.0.1:9/", "isolation: Shared, deletionPolicy: Drain, drainTimeout: 3s");
    world.ready("dead").await;
    let uid = world.uid("dead");
    world.post(1..=4).await;
    routed(&world).await;
    delete(&world, "dead");
    gone(&world, "dead").await;
    let told = world.told("dead", "Discarded").await;
    assert_eq!(told, "removed 4 waiting events and 0 dead letters: they were not delivered within drainTimeout (3s)");
    forgotten(&world, &uid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_is_mended_while_it_drains_is_followed() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let more = "isolation: Shared, deletionPolicy: Drain, drainTimeout: 1h";
    world.apply("moved", "http://127.0.0.1:9/", more);
    world.ready("moved").await;
    world.post(1..=3).await;
    routed(&world).await;
    delete(&world, "moved");
    assert_eq!(world.condition("moved", "Routed", "False").await, "Draining");
    world.apply("moved", &receiver.url(), more);
    gone(&world, "moved").await;
    assert_eq!(numbers(&receiver), ["event-1", "event-2", "event-3"]);
    world.told("moved", "Drained").await;
}
