//! The worker dies at each step of an event's life (T35), and Redis with its files kept (T40).

use super::scene::{Gate, accepted, attempts, destination, refusing, refusing_once};
use super::world::{Mode, World};
use crate::support::eventually::holds;
use crate::support::stored::Stored;
use crate::support::{History, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::{Value, json};
use std::time::Duration;

/// Six events wait; the process dies at this failpoint and is started again. What arrived in all, and what is stored at the end.
async fn killed_at(mode: Mode, failpoint: &str, spec: Value, behaviour: Behaviour) -> (World, Vec<Seen>, Stored) {
    let gate = Gate::default();
    let receiver = Receiver::start(gate.before(behaviour)).await.unwrap();
    let mut world = World::new(mode);
    world.put(&destination("a", &receiver.url(), spec)).await;
    world.start_with(failpoint).await;
    world.post(1..=6).await;
    gate.open();
    world.died().await;
    world.start().await;
    let stored = world.settled("a").await;
    (world, receiver.log(), stored)
}

/// What `killed_at` gives is kept: in order, at most one repeat of each event.
fn assert_kept(world: &World, log: &[Seen], stored: &Stored) {
    History { repeats: 1, ..world.history("a", log, stored) }.assert_kept();
}

#[tokio::test]
async fn killed_before_it_sends_an_event_nothing_of_it_is_repeated() {
    for mode in Mode::BOTH {
        let (world, log, stored) = killed_at(mode, "worker.send:event-3=kill", json!({"delivery": {"retry": -1}}), Behaviour::ok()).await;
        assert_kept(&world, &log, &stored);
        assert_eq!(attempts(&log, 3), [1], "{mode:?}");
    }
}

#[tokio::test]
async fn killed_before_the_answer_it_sends_that_event_once_more() {
    for mode in Mode::BOTH {
        let late = Answer::After(Duration::from_secs(3600), Box::new(Answer::Status(204)));
        let receiver = Receiver::start(refusing_once(3, late)).await.unwrap();
        let mut world = World::new(mode);
        world.put(&destination("a", &receiver.url(), json!({"delivery": {"timeout": "60s"}}))).await;
        world.start().await;
        world.post(1..=6).await;
        eventually("the third event", async || holds(receiver.count() == 3, || receiver.count().to_string())).await;
        world.process().kill9();
        world.start().await;
        let (stored, log) = (world.settled("a").await, receiver.log());
        assert_kept(&world, &log, &stored);
        assert_eq!((attempts(&log, 3), accepted(&log, 3)), (vec![1, 1], 2), "{mode:?}");
        assert_eq!(stored.settled, 6);
    }
}

#[tokio::test]
async fn killed_between_2xx_and_settling_it_repeats_that_event_once() {
    for mode in Mode::BOTH {
        let spec = json!({"delivery": {"retry": -1}});
        let (world, log, stored) = killed_at(mode, "worker.answered:event-3=kill", spec, Behaviour::ok()).await;
        assert_kept(&world, &log, &stored);
        assert_eq!((attempts(&log, 3), accepted(&log, 3)), (vec![1, 1], 2), "{mode:?}");
    }
}

#[tokio::test]
async fn killed_after_settling_it_repeats_nothing() {
    for mode in Mode::BOTH {
        let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
        let mut world = World::new(mode);
        world.put(&destination("a", &receiver.url(), json!({}))).await;
        world.start_with("worker.settled=kill@3").await;
        for number in 1..=3 {
            world.post(number..=number).await;
            world.settled("a").await;
        }
        world.died().await;
        world.start().await;
        world.post(4..=6).await;
        let (stored, log) = (world.settled("a").await, receiver.log());
        world.history("a", &log, &stored).assert_kept();
        assert_eq!(log.len(), 6, "{mode:?}");
    }
}

#[tokio::test]
async fn killed_after_recording_a_failure_it_goes_on_counting() {
    for mode in Mode::BOTH {
        let spec = json!({"delivery": {"retry": -1}});
        let (world, log, stored) = killed_at(mode, "worker.failed:event-3=kill", spec, refusing_once(3, Answer::Status(503))).await;
        assert_kept(&world, &log, &stored);
        assert_eq!(attempts(&log, 3), [1, 2], "{mode:?}");
    }
}

#[tokio::test]
async fn an_attempt_whose_end_was_not_recorded_counts_from_the_second_worker_on() {
    let gate = Gate::default();
    let receiver = Receiver::start(gate.before(refusing_once(3, Answer::Status(503)))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    world.put(&destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))).await;
    world.start_with("worker.answered:event-3=kill").await;
    world.post(1..=6).await;
    gate.open();
    world.died().await;
    world.start_with("worker.answered:event-3=kill").await;
    world.died().await;
    world.start().await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 2, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!(attempts(&log, 3), [1, 1, 2]);
}

#[tokio::test]
async fn killed_after_the_last_attempt_it_buries_without_another_one() {
    for mode in Mode::BOTH {
        let spec = json!({"delivery": {"retry": 1}});
        // the second failure of the third event is its last
        let gate = Gate::default();
        let receiver = Receiver::start(gate.before(refusing(3, Answer::Status(500)))).await.unwrap();
        let mut world = World::new(mode);
        world.put(&destination("a", &receiver.url(), spec)).await;
        gate.open();
        world.start_with("worker.failed:event-3=kill@2").await;
        world.post(1..=3).await;
        world.died().await;
        world.start().await;
        world.post(4..=6).await;
        let (stored, log) = (world.settled("a").await, receiver.log());
        assert_kept(&world, &log, &stored);
        assert_eq!((attempts(&log, 3), stored.dead.as_slice()), (vec![1, 2], [world.sequence(3)].as_slice()), "{mode:?}");
        let letter = &world.dead_letters("a")[0];
        assert_eq!((letter["class"].as_str(), letter["code"].as_str(), letter["n"].as_str()), ("ServerError", "500", "2"));
        assert!(letter["msg"].contains("500"), "{letter:?}");
    }
}

#[tokio::test]
async fn killed_after_burying_it_neither_sends_nor_buries_that_event_again() {
    for mode in Mode::BOTH {
        let spec = json!({"delivery": {"retry": 0}});
        let receiver = Receiver::start(refusing(3, Answer::Status(400))).await.unwrap();
        let mut world = World::new(mode);
        world.put(&destination("a", &receiver.url(), spec)).await;
        world.start_with("worker.buried:event-3=kill").await;
        world.post(1..=3).await;
        world.died().await;
        world.start().await;
        world.post(4..=6).await;
        let (stored, log) = (world.settled("a").await, receiver.log());
        assert_kept(&world, &log, &stored);
        assert_eq!((attempts(&log, 3), stored.dead.as_slice()), (vec![1], [world.sequence(3)].as_slice()), "{mode:?}");
    }
}

#[tokio::test]
async fn a_redis_that_is_killed_comes_back_and_delivery_goes_on() {
    let receiver = Receiver::start(Behaviour::every(7, Answer::Status(503))).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))]).await;
    let load = world.load(1..=150);
    for seen in [40, 90] {
        eventually("events under way", async || holds(receiver.count() >= seen, || receiver.count().to_string())).await;
        world.redis.kill9();
        world.redis.restart();
    }
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    let uncertain: Vec<_> = world.client.uncertain.iter().map(|post| (post.source.clone(), post.id.clone())).collect();
    History { repeats: 2, uncertain: &uncertain, ..world.history("a", &log, &stored) }.assert_kept();
}

#[tokio::test]
async fn attempts_and_the_next_time_outlive_a_restart_of_redis() {
    let receiver = Receiver::start(refusing(1, Answer::Status(503))).await.unwrap();
    let spec = json!({"delivery": {"retry": 3, "backoffDelay": "1s"}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=2).await;
    eventually("the first failure", async || holds(world.field("a", "failed").as_deref() == Some("1"), || "none".into())).await;
    world.redis.kill9();
    world.redis.restart();
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(attempts(&log, 1), [1, 2, 3, 4]);
    assert_eq!(world.dead_letters("a")[0]["n"], "4");
    // half of a wait is fixed
    assert!(log[1].at - log[0].at >= Duration::from_millis(490), "the next time was kept");
}
