//! Hints of changed states, requests that are made once, and the head that is skipped without a worker.

use super::fixture::{Bus, burial, done, read_all, routed, settle, url};
use crate::support::eventually::{eventually, holds};
use posthorn::bus::queue::Tenure;
use posthorn::bus::routing::{self, Ask, Once};
use posthorn::bus::skip::{self, Skipped};
use posthorn::bus::state::snapshot;
use posthorn::bus::states::{Heard, States};
use std::collections::HashSet;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

async fn next(states: &States) -> Heard {
    tokio::time::timeout(DEADLINE, states.next()).await.unwrap()
}

/// A listener on a server of the test's own, which has told that it is new.
async fn listening() -> (Bus, States) {
    let bus = Bus::alone().await;
    let states = States::start(url(&bus.redis));
    assert!(next(&states).await.all);
    (bus, states)
}

/// Whether anything was told of `u` until now: hints come in order, so a last one of our own ends the wait.
async fn told(bus: &Bus, states: &States) -> bool {
    bus.cli(&["PUBLISH", &bus.bus_key("state"), "the end"]);
    let (mut all, end) = (HashSet::new(), (bus.name.clone(), "the end".to_owned()));
    while !all.contains(&end) {
        let heard = next(states).await;
        assert!(!heard.all);
        all.extend(heard.changed);
    }
    all.contains(&(bus.name.clone(), "u".to_owned()))
}

async fn report(tenure: &Tenure, state: &str, plan: &str, asked: Option<&str>) {
    done(tenure.report(state, "", plan, "Strict", asked).await);
}

#[tokio::test]
async fn an_observer_is_told_of_transitions_and_of_nothing_else() {
    let (bus, states) = listening().await;
    bus.create("u").await;
    bus.owe("u", 3).await;
    assert!(!told(&bus, &states).await, "routing");
    let tenure = bus.lease("u").await;
    assert!(told(&bus, &states).await, "a worker took it");
    report(&tenure, "Idle", "p1", None).await;
    assert!(told(&bus, &states).await, "the first report");
    let read = read_all(&tenure).await;
    report(&tenure, "Active", "p1", None).await;
    settle(&tenure, &read[..1]).await;
    done(tenure.fail(read[1].entry.sequence, 1, "Status", Some(503), "busy", Some(Duration::ZERO)).await);
    report(&tenure, "Idle", "p1", None).await;
    report(&tenure, "Idle", "p1", Some("")).await;
    assert!(!told(&bus, &states).await, "deliveries, a first failure, Idle and Active");
    for (state, plan, asked, what) in [
        ("Retrying", "p1", None, "another state"),
        ("Active", "p1", None, "back again"),
        ("Active", "p2", None, "another plan"),
        ("Active", "p2", Some("n"), "an answer"),
    ] {
        report(&tenure, state, plan, asked).await;
        assert!(told(&bus, &states).await, "{what}");
    }
    done(tenure.bury(&burial(read[1].entry.sequence)).await);
    assert!(told(&bus, &states).await, "the first dead letter");
    done(tenure.bury(&burial(read[2].entry.sequence)).await);
    assert!(!told(&bus, &states).await, "the second");
    done(tenure.halt("Unauthorized").await);
    assert!(told(&bus, &states).await, "a halt");
    done(tenure.halt("Unauthorized").await);
    assert!(!told(&bus, &states).await, "the same halt");
    done(tenure.unhalt().await);
    assert!(told(&bus, &states).await, "its end");
    routed(bus.detach("u").await);
    assert!(told(&bus, &states).await, "detached");
    routed(bus.fill("u", super::fixture::NO_QUOTA).await);
    assert!(told(&bus, &states).await, "live again");
    bus.cli(&["DEL", &bus.key("q", "u")]);
    let _ = read_all(&tenure).await;
    assert!(told(&bus, &states).await, "a queue that was deleted");
    bus.check();
}

#[tokio::test]
async fn all_is_to_be_looked_at_after_the_connection_broke() {
    let (bus, states) = listening().await;
    bus.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert!(next(&states).await.all);
    bus.cli(&["PUBLISH", &bus.bus_key("state"), "u"]);
    let changed = HashSet::from([(bus.name.clone(), "u".to_owned())]);
    assert_eq!(next(&states).await, Heard { all: false, changed });
}

#[tokio::test]
async fn nobody_listens_for_an_observer_that_is_gone() {
    let (bus, states) = listening().await;
    drop(states);
    eventually("the end of the subscription", async || holds(bus.cli(&["PUBSUB", "NUMPAT"]) == "0", || "not yet".into())).await;
}

#[tokio::test]
async fn a_request_that_lasts_is_made_once() {
    let bus = Bus::start().await;
    let sequence = bus.create("u").await;
    let once = async |ask, nonce| routing::ask_once(&bus.link, &bus.name, "u", ask, nonce).await.unwrap();
    assert_eq!(once(Ask::Retry, "r1").await, Once::Done);
    assert_eq!(once(Ask::Retry, "r1").await, Once::Repeated);
    assert!(routing::ask(&bus.link, &bus.name, "u", Ask::Retry, "someone else's").await.unwrap());
    assert_eq!(once(Ask::Retry, "r1").await, Once::Repeated);
    assert!(bus.field("u", "ask").unwrap().ends_with("someone else's"));
    assert_eq!(routing::refuse_once(&bus.link, &bus.name, "u", Ask::Skip(sequence), "s1").await.unwrap(), Once::Done);
    assert!(bus.field("u", "ask").unwrap().ends_with("someone else's"), "nothing was asked");
    assert_eq!(once(Ask::Skip(sequence), "s1").await, Once::Repeated);
    assert_eq!(once(Ask::Skip(sequence), "s2").await, Once::Done);
    assert_eq!(bus.field("u", "ask").unwrap(), format!("skip {sequence} s2"));
    assert_eq!(once(Ask::Retry, "r1").await, Once::Repeated, "each kind by itself");
    assert_eq!(routing::ask_once(&bus.link, &bus.name, "nobody", Ask::Retry, "r1").await.unwrap(), Once::Gone);
}

#[tokio::test]
async fn a_head_is_skipped_only_where_no_worker_runs() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let head = bus.owe("u", 2).await[0];
    let skip = async |uid, id| skip::without_worker(&bus.link, &bus.name, uid, id).await.unwrap();
    let tenure = bus.lease("u").await;
    assert_eq!(skip("u", head).await, Skipped::Busy);
    tenure.release().await.unwrap();
    assert_eq!(skip("u", head).await, Skipped::Done);
    assert_eq!(skip("u", head).await, Skipped::Done, "it is gone already");
    assert_eq!(skip("nobody", head).await, Skipped::Gone);
    let after = snapshot(&bus.link, &bus.name, "u").await.unwrap();
    assert_eq!((after.backlog, after.buried, after.owned), (1, 1, false));
    bus.check();
}
