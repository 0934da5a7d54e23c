//! A destination is given a rest before its backlog is burnt (T45, T47).

use super::scene::{Gate, attempts, destination};
use super::world::{Mode, World};
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::bus::routing::Ask;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::{Value, json};

async fn world(probe: &'static str, destinations: &[Value]) -> World {
    let mut world = World::new(Mode::Standalone);
    world.probe = probe;
    for destination in destinations {
        world.put(destination).await;
    }
    world.start().await;
    world
}

#[tokio::test]
async fn after_three_dead_letters_the_backlog_is_kept_and_a_probe_resumes() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(500))).await.unwrap();
    let mut world = world("100ms", &[destination("a", &receiver.url(), json!({"delivery": {"retry": 1}}))]).await;
    world.post(1..=10).await;
    world.halted("a", "DestinationFailing").await;
    world.state("a", "Halted").await;
    world.measured("posthorn_delivery_state{namespace=\"default\",destination=\"a\",state=\"Halted\"} 1").await;
    let seen = receiver.count();
    eventually("probes", async || holds(receiver.count() >= seen + 3, || receiver.count().to_string())).await;
    let stored = world.stored("a");
    assert_eq!((stored.buried, stored.queued.len()), (3, 7));
    // the probed head has no limit
    assert!(attempts(&receiver.log(), 4).len() >= 3);
    assert!(attempts(&receiver.log(), 5).is_empty());
    receiver.set_behaviour(Behaviour::ok());
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dead.len(), world.field("a", "halted")), (7, 3, None));
    world.state("a", "Idle").await;
    world.measured("posthorn_delivery_state{namespace=\"default\",destination=\"a\",state=\"Halted\"} 0").await;
}

#[tokio::test]
async fn a_halt_outlives_the_worker_and_ends_when_a_person_asks() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(500))).await.unwrap();
    let mut world = world("1h", &[destination("a", &receiver.url(), json!({"delivery": {"retry": 0}}))]).await;
    world.post(1..=6).await;
    world.halted("a", "DestinationFailing").await;
    world.state("a", "Halted").await;
    let earlier = world.field("a", "at");
    world.process().kill9();
    world.start().await;
    world.reported_after("a", earlier).await;
    world.state("a", "Halted").await;
    assert_eq!(receiver.count(), 3);
    // asked too early: one request, and the halt stays
    world.ask("a", Ask::Retry).await;
    eventually("the request", async || holds(receiver.count() == 4, || receiver.count().to_string())).await;
    receiver.set_behaviour(Behaviour::ok());
    world.ask("a", Ask::Retry).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((log.len(), stored.dead.len(), stored.settled), (7, 3, 3));
}

#[tokio::test]
async fn after_twenty_refused_events_it_is_halted_and_one_more_is_not_buried() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(422))).await.unwrap();
    let mut world = world("100ms", &[destination("a", &receiver.url(), json!({"delivery": {"retry": 0}}))]).await;
    world.post(1..=25).await;
    world.halted("a", "EventsRefused").await;
    let seen = receiver.count();
    eventually("probes", async || holds(receiver.count() >= seen + 2, || receiver.count().to_string())).await;
    assert_eq!((world.stored("a").buried, world.stored("a").queued.len()), (20, 5));
    receiver.set_behaviour(Behaviour::ok());
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dead.len()), (5, 20));
}

#[tokio::test]
async fn refused_credentials_halt_at_once() {
    let gate = Gate::default();
    let then = |code| Behaviour::script(vec![Answer::Status(code)]);
    let receivers = [Receiver::start(then(401)).await.unwrap(), Receiver::start(then(403)).await.unwrap()];
    let [a, b] = &receivers;
    let spec = json!({"delivery": {"retry": 0}});
    let mut world = world("300ms", &[destination("a", &a.url(), spec.clone()), destination("b", &b.url(), spec)]).await;
    gate.open();
    world.post(1..=3).await;
    for (name, receiver) in [("a", a), ("b", b)] {
        let (stored, log) = (world.settled(name).await, receiver.log());
        world.history(name, &log, &stored).assert_kept();
        assert_eq!((attempts(&log, 1), stored.settled), (vec![1, 2], 3), "{name}");
        assert!(world.process().log().contains("AuthRejected"));
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_the_plan_changes() {
    let gone = Receiver::start(Behaviour::always(Answer::Status(410))).await.unwrap();
    let other = Receiver::start(Behaviour::always(Answer::Status(401))).await.unwrap();
    let mut world = world("50ms", &[destination("gone", &gone.url(), json!({})), destination("other", &other.url(), json!({}))]).await;
    world.post(1..=3).await;
    world.halted("gone", "Gone").await;
    let probes =
        async |count: usize| eventually("probes of the other", async || holds(other.count() >= count, || other.count().to_string())).await;
    probes(5).await;
    let earlier = world.field("gone", "at");
    world.process().kill9();
    world.start().await;
    world.reported_after("gone", earlier).await;
    probes(other.count() + 5).await;
    assert_eq!((gone.count(), world.stored("gone").queued.len()), (1, 3));
    // a person asks: one request, and then a receiver that fails in another way is probed again
    gone.set_behaviour(Behaviour::script(vec![Answer::Status(410), Answer::Status(503)]));
    world.ask("gone", Ask::Retry).await;
    eventually("the request", async || holds(gone.count() == 2, || gone.count().to_string())).await;
    probes(other.count() + 5).await;
    assert_eq!(gone.count(), 2);
    let changed = json!({"sink": {"http": {"headers": [{"name": "x-new", "value": "1"}]}}});
    world.put(&destination("gone", &gone.url(), changed)).await;
    let (stored, log) = (world.settled("gone").await, gone.log());
    world.history("gone", &log, &stored).assert_kept();
    assert_eq!((stored.settled, world.field("gone", "halted")), (3, None));
    assert!(log[2..].iter().all(|seen| seen.header("x-new").is_some()));
}

#[tokio::test]
async fn a_receiver_buries_an_event_and_halts_by_its_answer() {
    let asks = |directive: &str| Answer::with_header(503, "posthorn-directive", directive);
    let (bury, halt) = (asks("bury"), asks("Halt"));
    let behaviour = Behaviour::new(move |seen| match (seen.id(), seen.number) {
        (Some("event-2"), _) => bury.clone(),
        // its first attempt and two probes
        (Some("event-3"), 3..=5) => halt.clone(),
        _ => Answer::Status(204),
    });
    let receiver = Receiver::start(behaviour).await.unwrap();
    let mut world = world("100ms", &[destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))]).await;
    world.post(1..=5).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!((stored.settled, stored.dead.len()), (4, 1));
    assert_eq!((attempts(&log, 2), attempts(&log, 3)), (vec![1], vec![1, 2, 3, 4]));
    let told = world.process().log();
    assert!(told.contains("BuriedByReceiver") && told.contains("AskedByReceiver"));
}

#[tokio::test]
async fn a_probed_event_may_be_buried() {
    let bury = Answer::with_header(410, "posthorn-directive", "bury");
    let behaviour = Behaviour::new(move |seen| match (seen.id(), seen.number) {
        (Some("event-1"), 1) => Answer::Status(401),
        (Some("event-1"), _) => bury.clone(),
        _ => Answer::Status(204),
    });
    let receiver = Receiver::start(behaviour).await.unwrap();
    let mut world = world("100ms", &[destination("a", &receiver.url(), json!({}))]).await;
    world.post(1..=2).await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    assert_eq!((stored.settled, stored.dead.len(), attempts(&log, 1)), (1, 1, vec![1, 2]));
}
