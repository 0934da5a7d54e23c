//! Failed attempts, and what follows: retries, dead letters, and neighbours that must not notice (T42–T44, T49, T69, T70).

use super::scene::{accepted, attempts, destination, of_type, refusing, secret};
use super::world::{Mode, World};
use crate::support::client::Post;
use crate::support::eventually::holds;
use crate::support::redis::Options;
use crate::support::{History, eventually};
use posthorn::plan::Plan;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn every_tenth_first_attempt_fails_and_order_and_counts_are_exact() {
    let receiver = Receiver::start(Behaviour::every(10, Answer::Status(503))).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({}))]).await;
    world.post(1..=200).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((log.len(), stored.settled), (220, 200));
    assert_eq!((world.field("a", "failed").as_deref(), world.field("a", "retried").as_deref()), (Some("20"), Some("20")));
}

#[tokio::test]
async fn a_destination_that_hangs_holds_up_no_other() {
    let (hanging, healthy) =
        (Receiver::start(Behaviour::always(Answer::Hang)).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let hangs = destination("hanging", &hanging.url(), json!({"delivery": {"timeout": "1m"}}));
    let mut world = World::standalone(&[hangs, destination("healthy", &healthy.url(), json!({}))]).await;
    world.post(1..=100).await;
    let (stored, log) = (world.settled("healthy").await, healthy.log());
    world.history("healthy", &log, &stored).assert_kept();
    let (stored, log) = (world.stored("hanging"), hanging.log());
    world.history("hanging", &log, &stored).assert_kept();
    assert_eq!((log.len(), stored.queued.len()), (1, 100));
}

#[tokio::test]
async fn while_everything_fails_the_head_alone_is_tried() {
    let down = (0..6).map(|_| Answer::Status(500)).collect();
    let receiver = Receiver::start(Behaviour::script(down)).await.unwrap();
    let spec = json!({"delivery": {"backoffPolicy": "Exponential", "backoffMax": "50ms"}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=5).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((attempts(&log, 1), log.len()), ((1..=7).collect(), 11));
}

#[tokio::test]
async fn an_event_that_fails_to_the_limit_becomes_a_dead_letter_with_its_story() {
    let receiver = Receiver::start(refusing(2, Answer::Status(500))).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({"delivery": {"retry": 3}}))]).await;
    world.post(1..=4).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(attempts(&log, 2), [1, 2, 3, 4]);
    let letters = world.dead_letters("a");
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter["orig"], world.sequence(2).to_string());
    assert_eq!((letter["class"].as_str(), letter["code"].as_str(), letter["n"].as_str()), ("ServerError", "500", "4"));
    assert!(letter["msg"].contains("500"), "{letter:?}");
    let (first, at): (u64, u64) = (letter["first"].parse().unwrap(), letter["at"].parse().unwrap());
    assert!(first < at, "{letter:?}");
    assert_eq!((letter["v"].as_str(), letter["d"].as_str()), ("1", "{\"number\":2}"));
}

#[tokio::test]
async fn a_refused_event_has_two_quick_retries_and_the_lane_goes_on() {
    let receivers = [
        Receiver::start(refusing(1, Answer::Status(400))).await.unwrap(),
        Receiver::start(refusing(1, Answer::Status(422))).await.unwrap(),
    ];
    let [a, b] = &receivers;
    let mut world = World::standalone(&[destination("a", &a.url(), json!({})), destination("b", &b.url(), json!({}))]).await;
    world.post(1..=3).await;
    for (name, receiver, class) in [("a", a, "BadRequest"), ("b", b, "Unprocessable")] {
        let (stored, log) = (world.settled(name).await, receiver.log());
        world.history(name, &log, &stored).assert_kept();
        assert_eq!((attempts(&log, 1), stored.settled), (vec![1, 2, 3], 2));
        assert_eq!(world.dead_letters(name)[0]["class"], class);
    }
}

#[tokio::test]
async fn retry_after_is_honoured_and_clamped() {
    let once = |status, value| Behaviour::script(vec![Answer::with_header(status, "retry-after", value)]);
    let honoured = Receiver::start(once(503, "1")).await.unwrap();
    let clamped = Receiver::start(once(429, "3600")).await.unwrap();
    let ignored = Receiver::start(once(503, "3600")).await.unwrap();
    let at_most = |limit: &str| json!({"sink": {"http": {"retryAfterMax": limit}}});
    let destinations = [
        destination("honoured", &honoured.url(), json!({})),
        destination("clamped", &clamped.url(), at_most("1s")),
        destination("ignored", &ignored.url(), at_most("0s")),
    ];
    let mut world = World::standalone(&destinations).await;
    world.post(1..=2).await;
    for (name, receiver, least) in [("honoured", honoured, 990), ("clamped", clamped, 990), ("ignored", ignored, 0)] {
        let (stored, log) = (world.settled(name).await, receiver.log());
        world.history(name, &log, &stored).assert_kept();
        assert_eq!(attempts(&log, 1), [1, 2], "{name}");
        assert!(log[1].at - log[0].at >= Duration::from_millis(least), "{name} waited {:?}", log[1].at - log[0].at);
    }
}

#[tokio::test]
async fn drop_counts_an_event_and_forgets_it() {
    let receiver = Receiver::start(refusing(2, Answer::Status(500))).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({"delivery": {"retry": 0, "onExhausted": "Drop"}}))]).await;
    world.post(1..=3).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dropped, stored.dead.len()), (2, 1, 0));
}

#[tokio::test]
async fn a_denied_address_spends_no_attempt() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::new(Mode::Standalone);
    world.probe = "50ms";
    world.put(&destination("a", "http://169.254.169.254/latest", json!({"delivery": {"retry": 0}}))).await;
    world.start().await;
    world.post(1..=2).await;
    world.halted("a", "AddressDenied").await;
    world.state("a", "Halted").await;
    assert_eq!((world.field("a", "failed"), world.stored("a").queued.len()), (None, 2));
    world.put(&destination("a", &receiver.url(), json!({"delivery": {"retry": 0}}))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(attempts(&log, 1), [1]);
}

#[tokio::test]
async fn an_event_that_waited_too_long_is_given_up_without_an_attempt() {
    let receiver = Receiver::start(refusing(1, Answer::Status(503))).await.unwrap();
    let mut world = World::new(Mode::Worker);
    // a bus whose clock was not lifted: an event's age is that of its ID
    let info = world.redis.cli(&["INFO"]);
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let history = format!("{}:{}", field("run_id:"), field("master_replid:"));
    world.redis.cli(&["HSET", "ph:{default}:cursor", "v", "1", "pos", "0-0", "gen", "0", "trimmed", "0-0", "hist", &history]);
    let spec = json!({"delivery": {"backoffDelay": "400ms", "retry": -1}});
    let impatient = |mut plan: Plan| {
        plan.delivery.max_event_age = Some(Duration::from_millis(500));
        plan
    };
    world.put_plan(&destination("a", &receiver.url(), spec), impatient).await;
    world.start().await;
    world.post(1..=1).await;
    world.until("a", "the burial", |stored| stored.buried == 1).await;
    world.post(2..=3).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(world.dead_letters("a")[0]["class"], "Expired");
    assert_eq!(world.dead_letters("a")[0]["n"], attempts(&log, 1).len().to_string());
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_becomes_a_dead_letter_and_blocks_nothing() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({}))]).await;
    world.post(1..=1).await;
    let attributes = r#"{"id":"x","source":"/s","type":"t"}"#;
    world.redis.cli(&["XADD", "ph:{default}:in", "*", "foo", "bar"]);
    world.redis.cli(&["XADD", "ph:{default}:in", "*", "v", "2", "m", "b", "a", attributes, "c", "", "d", "x"]);
    world.redis.cli(&["XADD", "ph:{default}:in", "*", "v", "1", "m", "b", "a", "{\"id\":", "c", "", "d", "x"]);
    world.post(2..=2).await;
    let stored = world.settled("a").await;
    assert_eq!((stored.routed, stored.settled, stored.buried, stored.dead.len()), (5, 2, 3, 3));
    for letter in world.dead_letters("a") {
        assert_eq!((letter["class"].as_str(), letter["n"].as_str()), ("Undecodable", "0"), "{letter:?}");
    }
    let log = receiver.log();
    assert_eq!((log.len(), attempts(&log, 1), attempts(&log, 2)), (2, vec![1], vec![1]));
    assert_eq!(world.field("a", "halted"), None);
}

#[tokio::test]
async fn an_event_with_fields_of_a_later_version_is_delivered() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let world = World::standalone(&[destination("a", &receiver.url(), json!({}))]).await;
    let attributes = r#"{"id":"event-1","source":"/test","type":"t"}"#;
    world.redis.cli(&["XADD", "ph:{default}:in", "*", "v", "1", "m", "b", "a", attributes, "c", "text/plain", "d", "x", "new", "1"]);
    eventually("the event", async || holds(receiver.count() == 1, || "not yet".into())).await;
    assert_eq!(world.settled("a").await.settled, 1);
    assert_eq!(receiver.log()[0].body, "x");
}

#[tokio::test]
async fn a_panic_in_the_sink_is_a_failed_attempt_and_the_lane_goes_on() {
    let receivers = [Receiver::start(Behaviour::ok()).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap()];
    let mut world = World::new(Mode::Standalone);
    for (name, receiver) in ["a", "b"].into_iter().zip(&receivers) {
        world.put(&destination(name, &receiver.url(), json!({"delivery": {"retry": 2}, "filters": of_type(name)}))).await;
    }
    world.start_with("worker.send:event-2=panic@1,worker.send:event-12=panic").await;
    for number in 1..=3 {
        world.post_type(number, "a").await;
        world.post_type(number + 10, "b").await;
    }
    let (a, b) = (world.settled("a").await, world.settled("b").await);
    let (log_a, log_b) = (receivers[0].log(), receivers[1].log());
    History { wanted: &|event| event.event_type == "a", ..world.history("a", &log_a, &a) }.assert_kept();
    History { wanted: &|event| event.event_type == "b", ..world.history("b", &log_b, &b) }.assert_kept();
    assert_eq!((attempts(&log_a, 2), accepted(&log_a, 2)), (vec![2], 1));
    assert_eq!((attempts(&log_b, 12).len(), b.dead.len()), (0, 1));
    let letter = &world.dead_letters("b")[0];
    assert_eq!((letter["class"].as_str(), letter["n"].as_str()), ("Internal", "3"));
    assert!(world.process().runs());
}

#[tokio::test]
async fn while_redis_is_full_deliveries_go_on_and_make_room() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    let mut world = World::with(Options { maxmemory: 24 << 20, ..Options::default() }, Mode::Standalone);
    let spec = json!({"delivery": {"retry": -1, "backoffDelay": "200ms"}});
    world.put(&destination("a", &receiver.url(), spec)).await;
    world.start().await;
    world.post(1..=50).await;
    world.until("a", "the backlog", |stored| stored.routed == 50).await;
    // somebody else fills the rest
    world.redis.cli(&["SETRANGE", "filler", "24000000", "x"]);
    let refused = world.client.post(&Post::numbered(51)).await.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"));
    receiver.set_behaviour(refusing(25, Answer::Status(400)));
    let queue = world.key("q", "a");
    // a transaction, by which the rest is read, would be refused
    eventually("the deliveries", async || holds(world.redis.cli(&["XLEN", &queue]) == "0", || world.redis.cli(&["XLEN", &queue]))).await;
    world.redis.cli(&["DEL", "filler"]);
    world.post(51..=60).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.buried), (59, 1));
}

#[tokio::test]
async fn a_secret_that_is_missing_is_waited_for_and_no_attempt_is_spent() {
    let (receiver, other) = (Receiver::start(Behaviour::ok()).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let spec = json!({"sink": {"http": {"signing": {"secretKeyRefs": [{"name": "keys", "key": "key"}]}}}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec), destination("b", &other.url(), json!({}))]).await;
    world.post(1..=3).await;
    world.settled("b").await;
    assert_eq!((receiver.count(), world.stored("a").queued.len()), (0, 3));
    world.put(&secret("keys", json!({"key": "whsec_short"}))).await;
    world.process().line("24 to 64 bytes").await;
    world.post(4..=4).await;
    world.put(&secret("keys", json!({"key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}))).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert!(log.iter().all(|seen| seen.attempt() == Some(1) && seen.header("webhook-signature").is_some()));
    assert!(!world.process().log().contains("MfKQ9r8"));
}
