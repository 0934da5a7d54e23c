//! How many requests there are: rates, batches, and events that are not worth one.

use super::scene::destination;
use super::world::{Mode, World};
use crate::support::client::Post;
use crate::support::eventually::holds;
use crate::support::{History, eventually};
use bytes::Bytes;
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::{Value, json};
use std::time::Duration;

/// Batches with these limits; `more` goes over the spec.
fn batches(receiver: &Receiver, batch: Value, more: Value) -> Value {
    let mut object = destination("a", &receiver.url(), more);
    object["spec"]["sink"]["http"]["format"] = json!("Batch");
    object["spec"]["sink"]["http"]["batch"] = batch;
    object
}

/// Numbers of the events of each request.
fn sizes(log: &[Seen]) -> Vec<usize> {
    log.iter().map(|seen| seen.events().len()).collect()
}

/// Each event for itself, without the batches that were refused.
fn events(log: &[Seen]) -> Vec<Seen> {
    log.iter()
        .map(|seen| (seen, seen.events()))
        .filter(|(seen, events)| seen.accepted() || events.len() == 1)
        .flat_map(|(_, events)| events)
        .collect()
}

fn holds_number(seen: &Seen, number: u64) -> bool {
    let id = Post::numbered(number).id;
    seen.events().iter().any(|event| event.id() == Some(&id))
}

/// A standalone whose queue holds these events before the first request.
async fn waiting(object: &Value, count: u64) -> World {
    let mut suspended = object.clone();
    suspended["spec"]["suspend"] = json!(true);
    let mut world = World::standalone(&[suspended]).await;
    world.post_keys(1..=count, 3).await;
    world.until("a", "the backlog", |stored| stored.queued.len() as u64 == count).await;
    world.put(object).await;
    world
}

#[tokio::test]
async fn requests_are_no_more_than_the_rate_allows_and_retries_count() {
    let receiver = Receiver::start(Behaviour::every(3, Answer::Status(503))).await.unwrap();
    let spec = json!({"limits": {"rate": {"requests": 40, "per": "1s"}}, "ordering": {"mode": "Unordered", "maxInFlight": 8}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=60).await;
    world.state("a", "RateLimited").await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_unordered("a", &log, &stored).assert_kept();
    assert_eq!(log.len(), 80);
    // a burst of four at most, one each 25 ms; what arrives late may be close to the next one
    let span = |from: usize, to: usize| log[to].at - log[from].at;
    for from in (0..60).step_by(10) {
        let least = Duration::from_millis(25 * (20 - 4)) - Duration::from_millis(100);
        assert!(span(from, from + 19) >= least, "20 requests from {from} in {:?}", span(from, from + 19));
    }
    assert!(span(0, 79) >= Duration::from_millis(25 * (79 - 4)), "{:?}", span(0, 79));
    world.state("a", "Idle").await;
}

#[tokio::test]
async fn events_that_wait_go_in_batches_and_each_is_settled() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let world = waiting(&batches(&receiver, json!({"maxEvents": 10}), json!({})), 25).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    assert_eq!(sizes(&log), [10, 10, 5]);
    world.history("a", &events(&log), &stored).assert_kept();
    assert_eq!(stored.settled, 25);
    assert!(log.iter().all(|seen| seen.header("webhook-id").is_some_and(|id| id.starts_with("bat_"))));
}

#[tokio::test]
async fn a_batch_is_no_larger_than_its_bytes_but_for_a_single_event() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let object = batches(&receiver, json!({"maxBytes": "1Ki"}), json!({"suspend": true}));
    let mut world = World::standalone(std::slice::from_ref(&object)).await;
    for number in 1..=20 {
        let size = if number == 7 { 2000 } else { 40 * (number as usize % 5) };
        let data = Bytes::from(format!("\"{}\"", "x".repeat(size)));
        world.client.post_until_accepted(&Post { data, ..Post::numbered(number) }).await;
    }
    world.until("a", "the backlog", |stored| stored.queued.len() == 20).await;
    world.put(&batches(&receiver, json!({"maxBytes": "1Ki"}), json!({}))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &events(&log), &stored).assert_kept();
    for seen in &log {
        assert!(seen.body.len() <= 1024 || sizes(std::slice::from_ref(seen)) == [1], "{} bytes", seen.body.len());
    }
    // about 200 bytes of attributes each
    assert!(log.len() <= 8, "{:?}", sizes(&log));
}

#[tokio::test]
async fn a_batch_waits_for_others_but_not_when_it_is_full() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::standalone(&[batches(&receiver, json!({"maxEvents": 4, "maxWait": "1m"}), json!({}))]).await;
    world.post(1..=3).await;
    world.routed().await;
    assert_eq!(receiver.count(), 0);
    world.post(4..=4).await;
    eventually("the batch", async || holds(receiver.count() == 1, || "not yet".into())).await;
    world.put(&batches(&receiver, json!({"maxEvents": 4, "maxWait": "300ms"}), json!({}))).await;
    world.post(5..=6).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &events(&log), &stored).assert_kept();
    assert_eq!(sizes(&log)[0], 4);
}

#[tokio::test]
async fn a_batch_whose_destination_fails_is_tried_again_as_a_whole() {
    let down = (0..3).map(|_| Answer::Status(503)).collect();
    let receiver = Receiver::start(Behaviour::script(down)).await.unwrap();
    let world = waiting(&batches(&receiver, json!({"maxEvents": 8}), json!({})), 8).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &events(&log), &stored).assert_kept();
    assert_eq!((sizes(&log), log.iter().filter_map(Seen::attempt).collect::<Vec<_>>()), (vec![8; 4], vec![1, 2, 3, 4]));
    assert_eq!((world.field("a", "failed").as_deref(), stored.settled), (Some("3"), 8));
}

#[tokio::test]
async fn a_batch_that_is_refused_is_split_and_only_the_culprit_is_given_up() {
    for ordering in [json!({}), json!({"mode": "PerKey", "keyAttribute": "type"}), json!({"mode": "Unordered"})] {
        let refused = |seen: &Seen| if holds_number(seen, 5) { Answer::Status(422) } else { Answer::Status(204) };
        let receiver = Receiver::start(Behaviour::new(refused)).await.unwrap();
        let more = json!({"ordering": ordering, "delivery": {"retry": 0}});
        let world = waiting(&batches(&receiver, json!({"maxEvents": 30}), more), 24).await;
        let (stored, log) = (world.settled("a").await, receiver.log());
        let events = events(&log);
        match ordering["mode"].as_str() {
            None => world.history("a", &events, &stored).assert_kept(),
            Some("PerKey") => world.history_of_types("a", &events, &stored).assert_kept(),
            Some(_) => world.history_unordered("a", &events, &stored).assert_kept(),
        }
        assert_eq!((stored.settled, stored.dead.as_slice()), (23, [world.sequence(5)].as_slice()), "{ordering}");
        assert_eq!(log.iter().filter(|seen| holds_number(seen, 5)).count(), 2, "once with others, once alone");
    }
}

#[tokio::test]
async fn batches_of_a_key_keep_its_order_when_their_worker_is_killed() {
    let receiver = Receiver::start(Behaviour::every(5, Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    let ordering = json!({"mode": "PerKey", "keyAttribute": "type", "maxInFlight": 4});
    world.put(&batches(&receiver, json!({"maxEvents": 5}), json!({"ordering": ordering, "delivery": {"retry": -1}}))).await;
    world.start().await;
    let load = world.load_keys(1..=300, 3);
    for count in [60, 150] {
        // requests may hold one event or five
        eventually("events under way", async || {
            let seen = events(&receiver.log()).len();
            holds(seen >= count, || seen.to_string())
        })
        .await;
        world.process().kill9();
        world.start().await;
    }
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 2, ..world.history_of_types("a", &events(&log), &stored) }.assert_kept();
    assert_eq!(stored.settled, 300);
}

#[tokio::test]
async fn an_event_whose_expirytime_is_over_is_given_up_without_an_attempt() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let world = World::standalone(&[destination("a", &receiver.url(), json!({}))]).await;
    for (id, time) in [("old", "2026-01-01T00:00:00Z"), ("new", "2999-01-01T00:00:00+01:00"), ("odd", "tomorrow")] {
        let attributes = format!(r#"{{"id":"{id}","source":"/s","type":"t","expirytime":"{time}"}}"#);
        world.redis.cli(&["XADD", "ph:{default}:in", "*", "v", "1", "m", "b", "a", &attributes, "c", "", "d", "x"]);
    }
    let stored = world.settled("a").await;
    let ids: Vec<_> = receiver.log().iter().map(|seen| seen.id().unwrap().to_owned()).collect();
    assert_eq!((ids, stored.settled, stored.buried), (vec!["new".to_owned(), "odd".to_owned()], 2, 1));
    let letter = &world.dead_letters("a")[0];
    assert_eq!((letter["class"].as_str(), letter["n"].as_str()), ("Expired", "0"));
}
