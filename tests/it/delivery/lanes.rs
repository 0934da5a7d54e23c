//! Order by key, and none: many requests in progress (T68).

use super::scene::{attempts, destination};
use super::world::{Mode, World};
use crate::support::eventually::holds;
use crate::support::{History, eventually};
use posthorn::bus::routing::Ask;
use posthorn::event::Sequence;
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::{Value, json};
use std::time::Duration;

/// In order by the type of events; `more` goes over the spec.
fn per_key(receiver: &Receiver, most: u32, more: Value) -> Value {
    let mut object = destination("a", &receiver.url(), more);
    object["spec"]["ordering"] = json!({"mode": "PerKey", "keyAttribute": "type", "maxInFlight": most});
    object
}

fn unordered(receiver: &Receiver, most: u32, more: Value) -> Value {
    let mut object = destination("a", &receiver.url(), more);
    object["spec"]["ordering"] = json!({"mode": "Unordered", "maxInFlight": most});
    object
}

/// This answer to every event of a type, 204 to all others.
fn refusing_type(event_type: &'static str, answer: Answer) -> Behaviour {
    Behaviour::new(move |seen| if seen.event_type() == Some(event_type) { answer.clone() } else { Answer::Status(204) })
}

fn of_type<'a>(log: &'a [Seen], event_type: &str) -> Vec<&'a Seen> {
    log.iter().filter(|seen| seen.event_type() == Some(event_type)).collect()
}

#[tokio::test]
async fn a_key_that_fails_holds_only_itself() {
    let receiver = Receiver::start(refusing_type("key-0", Answer::Status(503))).await.unwrap();
    let mut world = World::standalone(&[per_key(&receiver, 4, json!({"delivery": {"retry": -1}}))]).await;
    world.post_keys(1..=60, 4).await;
    let stored = world.until("a", "the other keys", |stored| stored.settled == 45).await;
    assert_eq!(stored.queued.len(), 15);
    let failing: Vec<_> = of_type(&receiver.log(), "key-0").iter().map(|seen| seen.sequence()).collect();
    assert!(failing.iter().all(|sequence| *sequence == Some(world.sequence(4))), "only its first one is tried");
    world.state("a", "Retrying").await;
    assert_eq!(world.field("a", "order").as_deref(), Some("PerKey"));
    receiver.set_behaviour(Behaviour::ok());
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_of_types("a", &log, &stored).assert_kept();
}

#[tokio::test]
async fn as_many_requests_as_the_spec_allows_are_in_progress_one_of_a_key() {
    let receiver = Receiver::start(Behaviour::always(Answer::Hang)).await.unwrap();
    let mut world = World::standalone(&[per_key(&receiver, 3, json!({"delivery": {"timeout": "30s"}}))]).await;
    // two keys, then others
    world.post_keys(1..=6, 2).await;
    eventually("two requests", async || holds(receiver.count() == 2, || receiver.count().to_string())).await;
    world.post_keys(7..=16, 10).await;
    eventually("three requests", async || holds(receiver.count() == 3, || receiver.count().to_string())).await;
    world.routed().await;
    let earlier = world.field("a", "at");
    receiver.set_behaviour(Behaviour::ok());
    assert_eq!(receiver.count(), 3);
    // a new plan ends what hangs
    world.put(&per_key(&receiver, 4, json!({"delivery": {"timeout": "31s"}}))).await;
    world.reported_after("a", earlier).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_of_types("a", &log, &stored).assert_kept();
    assert!(log.iter().all(|seen| seen.attempt() == Some(1)), "what we ended ourselves does not count");
}

#[tokio::test]
async fn a_worker_that_is_killed_again_and_again_keeps_the_order_of_each_key() {
    let receiver = Receiver::start(Behaviour::every(7, Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    world.put(&per_key(&receiver, 8, json!({"delivery": {"retry": -1}}))).await;
    world.start().await;
    let load = world.load_keys(1..=400, 13);
    for count in [60, 150, 260] {
        eventually("events under way", async || holds(receiver.count() >= count, || receiver.count().to_string())).await;
        world.process().kill9();
        world.start().await;
    }
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 3, ..world.history_of_types("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 400);
}

#[tokio::test]
async fn a_second_worker_takes_over_in_the_middle_and_keeps_the_order_of_each_key() {
    let receiver = Receiver::start(Behaviour::every(5, Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    world.put(&per_key(&receiver, 4, json!({"delivery": {"retry": -1}}))).await;
    world.start().await;
    world.state("a", "Idle").await;
    let _second = world.start_worker("b", &world.redis.url(), "").await;
    let load = world.load_keys(1..=200, 7);
    eventually("events under way", async || holds(receiver.count() >= 60, || receiver.count().to_string())).await;
    assert!(world.process().terminate().await.success());
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_of_types("a", &log, &stored).assert_kept();
}

#[tokio::test]
async fn without_order_a_retry_that_is_due_goes_before_new_events() {
    let slow = Answer::After(Duration::from_millis(400), Box::new(Answer::Status(204)));
    let receiver = Receiver::start(Behaviour::script(vec![Answer::Status(503), slow])).await.unwrap();
    let mut world = World::standalone(&[unordered(&receiver, 1, json!({"suspend": true}))]).await;
    world.post(1..=5).await;
    world.until("a", "the backlog", |stored| stored.queued.len() == 5).await;
    world.put(&unordered(&receiver, 1, json!({}))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_unordered("a", &log, &stored).assert_kept();
    let order: Vec<_> = log.iter().map(|seen| seen.sequence().unwrap()).collect();
    assert_eq!(order, [1, 2, 1, 3, 4, 5].map(|number| world.sequence(number)));
}

#[tokio::test]
async fn without_order_a_worker_that_is_killed_loses_nothing() {
    let receiver = Receiver::start(Behaviour::every(3, Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    world.put(&unordered(&receiver, 8, json!({"delivery": {"retry": -1}}))).await;
    world.start().await;
    let load = world.load(1..=200);
    eventually("events under way", async || holds(receiver.count() >= 80, || receiver.count().to_string())).await;
    world.process().kill9();
    world.start().await;
    world.joined(load).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 1, ..world.history_unordered("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 200);
}

#[tokio::test]
async fn the_order_changes_under_load_and_nothing_is_lost() {
    let receiver = Receiver::start(Behaviour::every(9, Answer::Status(503))).await.unwrap();
    let strict = destination("a", &receiver.url(), json!({}));
    let mut world = World::standalone(std::slice::from_ref(&strict)).await;
    let mut posted = 0;
    for (object, order) in
        [(per_key(&receiver, 4, json!({})), "PerKey"), (unordered(&receiver, 4, json!({})), "Unordered"), (strict.clone(), "Strict")]
    {
        let load = world.load_keys(posted + 1..=posted + 150, 5);
        posted += 150;
        world.put(&object).await;
        eventually(order, async || holds(world.field("a", "order").as_deref() == Some(order), || "not yet".into())).await;
        let (told, reported) = (receiver.count(), posted);
        world.joined(load).await;
        world.post_keys(reported + 1..=reported + 50, 5).await;
        posted += 50;
        let (stored, log) = (world.settled("a").await, receiver.log());
        world.history_unordered("a", &log, &stored).assert_kept();
        // from the report on the new order holds
        let later = &log[told..];
        let firsts: Vec<Sequence> = later.iter().filter(|seen| seen.accepted()).filter_map(Seen::sequence).collect();
        assert!(order != "Strict" || firsts.is_sorted(), "{firsts:?}");
        for key in (0..5).map(|key| format!("key-{key}")).filter(|_| order == "PerKey") {
            let of_key: Vec<_> = of_type(later, &key).iter().filter(|seen| seen.accepted()).map(|seen| seen.sequence()).collect();
            assert!(of_key.is_sorted(), "{key}: {of_key:?}");
        }
    }
}

#[tokio::test]
async fn a_blocked_key_holds_only_itself_until_a_person_acts() {
    let receiver = Receiver::start(refusing_type("key-1", Answer::Status(500))).await.unwrap();
    let spec = json!({"delivery": {"retry": 1, "onExhausted": "Block"}});
    let mut world = World::standalone(&[per_key(&receiver, 4, spec)]).await;
    world.post_keys(1..=12, 3).await;
    world.state("a", "Blocked").await;
    world.until("a", "the other keys", |stored| stored.settled == 8).await;
    world.ask("a", Ask::Skip(world.sequence(4))).await;
    assert_eq!(world.stored("a").queued.len(), 4, "it is not the first of its key");
    world.ask("a", Ask::Skip(world.sequence(1))).await;
    world.until("a", "the next one of the key", |_| attempts(&receiver.log(), 4).len() == 2).await;
    world.state("a", "Blocked").await;
    receiver.set_behaviour(Behaviour::ok());
    world.ask("a", Ask::Retry).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_of_types("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dead.as_slice(), attempts(&log, 4)), (11, [world.sequence(1)].as_slice(), vec![1, 2, 1]));
}

#[tokio::test]
async fn a_request_that_hangs_is_skipped_and_the_others_go_on() {
    let receiver = Receiver::start(refusing_type("key-1", Answer::Hang)).await.unwrap();
    let mut world = World::standalone(&[per_key(&receiver, 2, json!({"delivery": {"timeout": "1m"}}))]).await;
    world.post_keys(1..=6, 2).await;
    world.until("a", "the other key", |stored| stored.settled == 3).await;
    for number in [1, 3, 5] {
        eventually("the request", async || holds(attempts(&receiver.log(), number).len() == 1, || "none".into())).await;
        world.ask("a", Ask::Skip(world.sequence(number))).await;
    }
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_of_types("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dead.len()), (3, 3));
}

#[tokio::test]
async fn while_halted_only_the_oldest_event_is_tried_and_one_success_resumes_all() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(500))).await.unwrap();
    let mut world = World::new(Mode::Standalone);
    world.probe = "100ms";
    world.put(&per_key(&receiver, 4, json!({"delivery": {"retry": 0}}))).await;
    world.start().await;
    world.post_keys(1..=20, 5).await;
    world.halted("a", "DestinationFailing").await;
    world.state("a", "Halted").await;
    world.routed().await;
    let oldest = world.stored("a").queued[0];
    let seen = receiver.count();
    eventually("probes", async || holds(receiver.count() >= seen + 3, || receiver.count().to_string())).await;
    assert!(receiver.log()[seen + 1..].iter().all(|request| request.sequence() == Some(oldest)));
    assert_eq!(world.stored("a").buried, 3);
    receiver.set_behaviour(Behaviour::ok());
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_of_types("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dead.len()), (17, 3));
    world.state("a", "Idle").await;
}

/// Puts events of one type into the log of the bus.
fn store(world: &World, count: u32, event_type: &str, bytes: usize) {
    let script = "for i = 1, tonumber(ARGV[1]) do \
        local a = '{\"id\":\"' .. ARGV[2] .. i .. '\",\"source\":\"/s\",\"type\":\"' .. ARGV[2] .. '\"}' \
        redis.call('XADD', KEYS[1], '*', 'v', 1, 'm', 'b', 'a', a, 'c', '', 'd', ARGV[3]) end";
    let data = "x".repeat(bytes);
    world.redis.cli(&["EVAL", script, "1", "ph:{default}:in", &count.to_string(), event_type, &data]);
}

/// Memory that a process holds, bytes.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Waits for a counter of a destination, without reading its queue.
async fn counted(world: &World, counter: &str, number: u32) {
    eventually(counter, async || {
        let found = world.field("a", counter);
        holds(found.as_ref() == Some(&number.to_string()), || format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_key_with_a_large_backlog_is_held_as_ids_and_beyond_a_limit_nothing_more_is_read() {
    let receiver = Receiver::start(refusing_type("waits", Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    world.put(&per_key(&receiver, 4, json!({"delivery": {"retry": -1}}))).await;
    world.start().await;
    world.state("a", "Idle").await;
    let before = memory(world.process().pid());
    store(&world, 9_000, "waits", 8 << 10);
    store(&world, 1, "passes", 1);
    counted(&world, "settled", 1).await;
    world.state("a", "Retrying").await;
    store(&world, 1_100, "waits", 8 << 10);
    store(&world, 1, "behind", 1);
    world.state("a", "KeyBacklogFull").await;
    counted(&world, "routed", 10_102).await;
    assert!(of_type(&receiver.log(), "behind").is_empty());
    let grown = memory(world.process().pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for a backlog of 80 MB");
    receiver.set_behaviour(Behaviour::ok());
    counted(&world, "settled", 10_102).await;
    world.state("a", "Idle").await;
    let log = receiver.log();
    let accepted: Vec<_> = of_type(&log, "waits").iter().filter(|seen| seen.accepted()).map(|seen| seen.sequence()).collect();
    assert!(accepted.len() == 10_100 && accepted.is_sorted());
}
