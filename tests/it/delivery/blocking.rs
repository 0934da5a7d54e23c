//! `onExhausted: Block`, and delivery that is suspended (T64).

use super::scene::{attempts, destination, refusing};
use super::world::World;
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::bus::routing::Ask;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;

#[tokio::test]
async fn a_blocked_head_stays_across_a_restart_until_a_person_asks_for_another_try() {
    let receiver = Receiver::start(refusing(2, Answer::Status(500))).await.unwrap();
    let spec = json!({"delivery": {"retry": 1, "onExhausted": "Block"}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=4).await;
    world.state("a", "Blocked").await;
    let earlier = world.field("a", "at");
    world.process().kill9();
    world.start().await;
    world.reported_after("a", earlier).await;
    world.state("a", "Blocked").await;
    assert_eq!((attempts(&receiver.log(), 2), receiver.count(), world.stored("a").queued.len()), (vec![1, 2], 3, 3));
    receiver.set_behaviour(Behaviour::ok());
    world.ask("a", Ask::Retry).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((attempts(&log, 2), stored.settled), (vec![1, 2, 1], 4));
}

#[tokio::test]
async fn a_blocked_head_is_skipped_when_a_person_asks() {
    let receiver = Receiver::start(refusing(2, Answer::Status(500))).await.unwrap();
    let spec = json!({"delivery": {"retry": 0, "onExhausted": "Block"}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=4).await;
    world.state("a", "Blocked").await;
    // a retry that fails blocks again, and to skip another event does nothing
    world.ask("a", Ask::Retry).await;
    eventually("the retry", async || holds(receiver.count() == 3, || receiver.count().to_string())).await;
    world.state("a", "Blocked").await;
    world.ask("a", Ask::Skip(world.sequence(3))).await;
    assert_eq!(world.stored("a").queued.len(), 3);
    world.ask("a", Ask::Skip(world.sequence(2))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, world.dead_letters("a")[0]["class"].as_str()), (3, "Skipped"));
}

#[tokio::test]
async fn a_blocked_head_that_a_limit_drops_blocks_nobody_any_more() {
    let receiver = Receiver::start(refusing(1, Answer::Status(500))).await.unwrap();
    let delivery = json!({"retry": 0, "onExhausted": "Block"});
    let spec = json!({"delivery": delivery, "limits": {"backlog": {"maxEvents": 3, "onOverflow": "DropOldest"}}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=1).await;
    world.state("a", "Blocked").await;
    world.post(2..=4).await;
    let stored = world.settled("a").await;
    assert_eq!((stored.settled, stored.dropped), (3, 1));
    world.state("a", "Idle").await;
}

#[tokio::test]
async fn a_head_that_hangs_is_skipped_in_the_middle_of_its_request() {
    let receiver = Receiver::start(refusing(1, Answer::Hang)).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({"delivery": {"timeout": "1m"}}))]).await;
    world.post(1..=3).await;
    eventually("the request", async || holds(receiver.count() == 1, || "none".into())).await;
    world.ask("a", Ask::Skip(world.sequence(1))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, world.dead_letters("a")[0]["class"].as_str(), log.len()), (2, "Skipped", 3));
}

#[tokio::test]
async fn nothing_is_sent_while_suspended_and_order_is_kept_after() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({}))]).await;
    world.post(1..=10).await;
    world.settled("a").await;
    world.put(&destination("a", &receiver.url(), json!({"suspend": true}))).await;
    world.state("a", "Suspended").await;
    world.post(11..=20).await;
    world.until("a", "the backlog", |stored| stored.queued.len() == 10).await;
    assert_eq!(receiver.count(), 10);
    world.put(&destination("a", &receiver.url(), json!({}))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(log.len(), 20);
}
