//! Several workers, frozen ones, and broken connections: one queue has one owner (T36, T38).

use super::scene::{accepted, destination, refusing_once};
use super::world::{Mode, World};
use crate::support::client::get;
use crate::support::eventually::holds;
use crate::support::pieces::address;
use crate::support::proxy::Mode as Traffic;
use crate::support::{History, Posthorn, Proxy, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;
use std::time::Duration;

/// A destination, a front, and a first worker that holds its queue.
async fn owned(receiver: &Receiver) -> World {
    let mut world = World::new(Mode::Worker);
    world.put(&destination("a", &receiver.url(), json!({"delivery": {"retry": -1, "timeout": "30s"}}))).await;
    world.start().await;
    world.state("a", "Idle").await;
    world
}

async fn second(world: &World) -> Posthorn {
    world.start_worker("b", &world.redis.url(), "").await
}

async fn seen(receiver: &Receiver, count: usize) {
    eventually("events under way", async || holds(receiver.count() >= count, || receiver.count().to_string())).await;
}

#[tokio::test]
async fn a_second_worker_takes_the_queue_when_the_first_one_dies() {
    let receiver = Receiver::start(Behaviour::every(10, Answer::Status(503))).await.unwrap();
    let mut world = owned(&receiver).await;
    let _second = second(&world).await;
    let load = world.load(1..=200);
    seen(&receiver, 60).await;
    world.process().kill9();
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 1, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 200);
}

#[tokio::test]
async fn a_worker_that_ends_in_order_hands_its_queue_over_and_nothing_is_repeated() {
    let receiver = Receiver::start(Behaviour::every(10, Answer::Status(503))).await.unwrap();
    let mut world = owned(&receiver).await;
    let _second = second(&world).await;
    let load = world.load(1..=200);
    seen(&receiver, 60).await;
    assert!(world.process().terminate().await.success());
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
}

#[tokio::test]
async fn a_worker_that_was_frozen_is_fenced_and_nothing_advances_twice() {
    let late = Answer::After(Duration::from_millis(500), Box::new(Answer::Status(204)));
    let receiver = Receiver::start(refusing_once(3, late)).await.unwrap();
    let mut world = owned(&receiver).await;
    world.post(1..=6).await;
    seen(&receiver, 3).await;
    // what went before is settled a moment after the next request has begun
    world.until("a", "two are settled", |stored| stored.settled == 2).await;
    world.process().freeze();
    let mut second = second(&world).await;
    let stored = world.settled("a").await;
    world.process().thaw();
    world.process().line("delivery was interrupted").await;
    assert_eq!(world.stored("a"), stored);
    // who holds the lease measures the queue, and nobody else
    let admin = address(&world.process().log(), "admin_listen");
    eventually("the first one tells nothing of it", async || {
        let page = String::from_utf8_lossy(&get(admin, "/metrics").await.unwrap().body).into_owned();
        holds(!page.contains("destination=\"a\""), || page)
    })
    .await;
    // the first one is of use again
    assert!(second.terminate().await.success());
    world.post(7..=8).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 1, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!((accepted(&log, 3), log.len(), stored.settled), (2, 9, 8));
}

#[tokio::test]
async fn a_worker_cut_off_from_redis_stops_before_another_one_begins() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::new(Mode::Worker);
    let proxy = Proxy::start(world.redis.addr()).await;
    world.put(&destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))).await;
    world.start_front().await;
    let mut first = world.start_worker("a", &format!("redis://{}", proxy.addr), "").await;
    world.state("a", "Idle").await;
    let _second = second(&world).await;
    let load = world.load(1..=300);
    seen(&receiver, 60).await;
    proxy.set(Traffic::Stall);
    world.joined(load).await;
    world.settled("a").await;
    // what it sent late arrives now, and is refused
    proxy.set(Traffic::Pass);
    world.post(301..=310).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 1, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 310);
    assert!(first.runs());
}

#[tokio::test]
async fn connections_to_redis_that_break_again_and_again_cost_repeats_only() {
    let receiver = Receiver::start(Behaviour::every(10, Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    let proxy = Proxy::start(world.redis.addr()).await;
    world.put(&destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))).await;
    world.start_front().await;
    let _worker = world.start_worker("a", &format!("redis://{}", proxy.addr), "").await;
    world.state("a", "Idle").await;
    let load = world.load(1..=200);
    for count in [30, 80, 130] {
        seen(&receiver, count).await;
        proxy.reset();
    }
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 3, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 200);
}

#[tokio::test]
async fn while_redis_does_not_answer_a_bounded_number_of_events_is_sent_and_repeated_once() {
    let late = Answer::After(Duration::from_millis(300), Box::new(Answer::Status(204)));
    let receiver = Receiver::start(refusing_once(100, late)).await.unwrap();
    let mut world = owned(&receiver).await;
    // each of these is settled before the next, so that reading ahead has begun anew
    world.post(1..=99).await;
    world.settled("a").await;
    let load = world.load(100..=300);
    seen(&receiver, 100).await;
    world.redis.freeze();
    world.process().line("connection to redis ended").await;
    let sent = receiver.count();
    assert!(sent <= 99 + 64 + 1, "{sent} were sent");
    world.redis.thaw();
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 1, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 300);
}
