//! Destinations and Secrets that change while events flow, and that go (T58, T59, T62).

use super::scene::{attempts, destination, secret};
use super::world::World;
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::receiver::signature::Key;
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::json;
use std::time::SystemTime;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Whether a request is signed with each of the two.
fn signatures(seen: &Seen) -> [bool; 2] {
    [OLD, NEW].map(|key| Key::parse(key).unwrap().verify(&seen.headers, &seen.body, SystemTime::now()).is_ok())
}

#[tokio::test]
async fn a_plan_that_changes_under_load_loses_and_overtakes_nothing() {
    let (old, new) =
        (Receiver::start(Behaviour::ok()).await.unwrap(), Receiver::start(Behaviour::every(9, Answer::Status(503))).await.unwrap());
    let key = |value: &str| secret("keys", json!({"key": value}));
    let signing = json!({"secretKeyRefs": [{"name": "keys", "key": "key"}]});
    let (first, second) = (json!({"prefix": {"type": "com."}}), json!({"suffix": {"type": ".test"}}));
    let at = |url: &str, filters| destination("a", url, json!({"filters": filters, "sink": {"http": {"signing": signing}}}));
    let mut world = World::standalone(&[key(OLD), at(&old.url(), json!([first, second]))]).await;
    let mut posted = 0;
    for (object, receiver, signed) in [
        (at(&new.url(), json!([second, first])), &new, [true, false]),
        (key(NEW), &new, [false, true]),
        (at(&old.url(), json!([first])), &old, [false, true]),
    ] {
        let load = world.load(posted + 1..=posted + 150);
        posted += 150;
        world.put(&object).await;
        world.joined(load).await;
        eventually("an event by the new plan", async || {
            posted += 1;
            world.post(posted..=posted).await;
            let log = receiver.log();
            holds(log.iter().any(|seen| seen.accepted() && signatures(seen) == signed), || log.len().to_string())
        })
        .await;
    }
    let stored = world.settled("a").await;
    let mut log = [old.log(), new.log()].concat();
    log.sort_by_key(|seen| seen.at);
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(stored.settled, posted);
}

#[tokio::test]
async fn a_waiting_head_is_tried_at_once_with_all_its_retries_when_the_plan_changes() {
    let (old, new) =
        (Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let spec = json!({"delivery": {"backoffDelay": "1h", "backoffMax": "1h"}});
    let mut world = World::standalone(&[destination("a", &old.url(), spec.clone())]).await;
    world.post(1..=3).await;
    eventually("the failure", async || holds(world.field("a", "failed").as_deref() == Some("1"), || "none".into())).await;
    world.put(&destination("a", &new.url(), spec)).await;
    let (stored, log) = (world.settled("a").await, new.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((attempts(&log, 1), old.count()), (vec![1], 1));
}

#[tokio::test]
async fn a_request_under_way_ends_before_the_next_plan_begins() {
    let late = Answer::After(std::time::Duration::from_millis(1500), Box::new(Answer::Status(204)));
    let (old, new) = (Receiver::start(Behaviour::always(late)).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let mut world = World::standalone(&[destination("a", &old.url(), json!({"delivery": {"timeout": "30s"}}))]).await;
    world.post(1..=3).await;
    eventually("the request", async || holds(old.count() == 1, || "none".into())).await;
    world.put(&destination("a", &new.url(), json!({"delivery": {"timeout": "30s"}}))).await;
    let stored = world.settled("a").await;
    let log = [old.log(), new.log()].concat();
    world.history("a", &log, &stored).assert_kept();
}

#[tokio::test]
async fn while_a_signing_secret_is_rotated_both_sign() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let signed_by = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| json!({"name": "keys", "key": key})).collect();
        destination("a", &receiver.url(), json!({"sink": {"http": {"signing": {"secretKeyRefs": keys}}}}))
    };
    let mut world = World::standalone(&[secret("keys", json!({"old": OLD, "new": NEW})), signed_by(&["old"])]).await;
    let mut number = 0;
    for (keys, expected) in [(&["old"][..], [true, false]), (&["new", "old"], [true, true]), (&["new"], [false, true])] {
        world.put(&signed_by(keys)).await;
        eventually("an event signed so", async || {
            number += 1;
            world.post(number..=number).await;
            world.settled("a").await;
            let last = signatures(receiver.log().last().unwrap());
            holds(last == expected, || format!("{last:?}"))
        })
        .await;
    }
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert!(!world.process().log().contains("MfKQ9r8"));
}

#[tokio::test]
async fn a_large_backlog_is_deleted_at_once_and_nothing_of_it_remains() {
    let receiver = Receiver::start(Behaviour::always(Answer::Hang)).await.unwrap();
    let other = Receiver::start(Behaviour::ok()).await.unwrap();
    let hangs = destination("a", &receiver.url(), json!({"delivery": {"timeout": "1m"}}));
    let mut world = World::standalone(&[hangs, destination("b", &other.url(), json!({}))]).await;
    world.post(1..=3).await;
    eventually("the request", async || holds(receiver.count() == 1, || "none".into())).await;
    // the receivers do not answer while this thread is busy
    world.settled("b").await;
    let script = "for i = 1, 10000 do redis.call('XADD', KEYS[1], '*', 'v', 1, 'm', 'b', 'a', ARGV[1], 'c', '', 'd', '') end";
    let (queue, uid) = (world.key("q", "a"), world.key("q", "a").rsplit(':').next().unwrap().to_owned());
    for _ in 0..20 {
        world.redis.cli(&["EVAL", script, "1", &queue, r#"{"id":"x","source":"/s","type":"t"}"#]);
    }
    world.remove("a");
    eventually("the end of its keys", async || {
        let keys = world.redis.cli(&["KEYS", &format!("*{uid}*")]);
        let names = world.redis.cli(&["HGETALL", "ph:{default}:names"]) + &world.redis.cli(&["HKEYS", "ph:{default}:routes"]);
        holds(keys.is_empty() && !names.contains(&uid), || format!("{keys} {names}"))
    })
    .await;
    // the request under way ends, and nothing makes a key again
    world.process().line("destination deleted").await;
    world.post(4..=5).await;
    let (stored, log) = (world.settled("b").await, other.log());
    world.history("b", &log, &stored).assert_kept();
    eventually("the end of its lane", async || {
        let page = world.metrics().await;
        holds(!page.contains("destination=\"a\""), || "its metrics are still there".into())
    })
    .await;
    assert_eq!((receiver.count(), world.redis.cli(&["KEYS", &format!("*{uid}*")])), (1, String::new()));
}
