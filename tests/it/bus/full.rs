//! Redis at its `maxmemory`: what brings something in is refused whole, what drains goes on.

use super::fixture::{Bus, burial, done, event, read_all, route, routed, settle};
use posthorn::bus::cursor::{self, FillCall};
use posthorn::bus::queue::{Buried, Tenure};
use posthorn::bus::routing::{self, Ask, Start, Updated};
use posthorn::bus::state::snapshot;
use posthorn::bus::{Error, lease};
use posthorn::event::Sequence;
use std::time::Duration;

/// A bus whose server is full. `u` owes five events that its owner has read; `w` is behind by one.
async fn full() -> (Bus, Tenure, Vec<Sequence>) {
    let bus = Bus::alone().await;
    bus.create("u").await;
    bus.create("w").await;
    let owed = bus.owe("u", 5).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    routed(bus.detach("w").await);
    bus.post(1).await;
    bus.route(&[]).await;
    bus.post(1).await;
    bus.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    (bus, tenure, owed)
}

#[tokio::test]
async fn what_brings_something_in_is_refused_whole() {
    let (bus, _, _) = full().await;
    let before = bus.everything();
    let is_full = |error: Error| matches!(error, Error::Full(_));
    assert!(is_full(bus.append(&[event(), event()]).await.unwrap_err()));
    assert!(is_full(routing::create(&bus.link, &bus.name, "new", &route("new"), Start::Latest).await.unwrap_err()));
    let step = bus.step(&["u"]).await;
    let entries: Vec<_> = step.entries.iter().collect();
    let queues = [("u", super::fixture::quota_of(super::fixture::NO_QUOTA), vec![0])];
    let call = cursor::RouteCall {
        token: &step.token,
        expected: step.expected,
        new: step.new,
        generation: step.generation,
        last: true,
        unmatched: 0,
        entries: &entries,
        queues: &queues,
        beyond_memory: false,
    };
    assert!(is_full(cursor::route(&bus.link, &bus.name, &call).await.unwrap_err()));
    let fill = FillCall {
        token: &bus.router,
        uid: "w",
        expected: bus.fill_of("w").unwrap(),
        new: step.expected,
        generation: step.generation,
        entries: &entries,
    };
    assert!(is_full(cursor::fill(&bus.link, &bus.name, &fill, super::fixture::quota_of(super::fixture::NO_QUOTA)).await.unwrap_err()));
    assert_eq!(bus.everything(), before);
    assert!(!bus.link.is_closed(), "it is no fault of the connection");
    bus.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    bus.append(&[event()]).await.unwrap();
    bus.route(&["u"]).await;
    bus.check();
}

#[tokio::test]
async fn a_full_redis_is_drained() {
    let (bus, tenure, owed) = full().await;
    assert!(tenure.renew().await.unwrap().is_some());
    tenure.release().await.unwrap();
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    assert_eq!(settle(&tenure, &read[..1]).await, 1);
    done(tenure.begin(owed[1], 1, true, false).await);
    done(tenure.fail(owed[1], 1, "Timeout", None, "slow", Some(Duration::ZERO)).await);
    done(tenure.begin(owed[1], 2, true, false).await);
    done(tenure.abort(owed[1]).await);
    done(tenure.reset(&[owed[1]]).await);
    assert_eq!(done(tenure.bury(&burial(owed[1])).await), Buried::Done);
    done(tenure.halt("Gone").await);
    done(tenure.unhalt().await);
    done(tenure.report("Active", "", "plan", "Strict", None).await);
    assert_eq!((bus.count("u", "settled"), bus.count("u", "buried"), bus.queue("u").len()), (1, 1, 3));
    bus.check();
}

#[tokio::test]
async fn the_control_plane_and_the_space_of_a_full_redis_are_managed() {
    let (bus, _, owed) = full().await;
    let link = bus.links.link().await;
    link.hello("another").await.unwrap();
    assert!(lease::lease_router(&bus.link, &bus.name, &bus.router).await.unwrap());
    let mut newer = route("u");
    newer.rev = 2;
    assert_eq!(routing::update(&bus.link, &bus.name, "u", &newer).await.unwrap(), Updated::Done);
    assert!(routing::ask(&bus.link, &bus.name, "u", Ask::Retry, "n").await.unwrap());
    routed(bus.detach("u").await);
    let behind = bus.fill_of("w").unwrap();
    let entries = bus.above(behind).await;
    let step = FillCall {
        token: &bus.router,
        uid: "w",
        expected: behind,
        new: bus.position(),
        generation: bus.generation(),
        entries: &[&entries[0]],
    };
    assert_eq!(routed(cursor::fill_drop(&bus.link, &bus.name, &step).await.unwrap()).position, None);
    assert_eq!(bus.count("w", "dropped"), 1);
    assert_eq!(routed(bus.trim(owed[1]).await), owed[1]);
    routed(cursor::expire(&bus.link, &bus.name, &bus.router, "u", Duration::ZERO).await.unwrap());
    assert_eq!(snapshot(&bus.link, &bus.name, "u").await.unwrap().backlog, 5);
    bus.check();
    assert_eq!(routing::delete(&bus.link, &bus.name, "u", "default/u").await.unwrap().backlog, 5);
    assert!(bus.load().await.destinations.iter().all(|(uid, _)| uid != "u"));
}

#[tokio::test]
async fn a_lost_queue_is_made_again_even_when_redis_is_full() {
    let (bus, _, _) = full().await;
    bus.cli(&["DEL", &bus.key("q", "u")]);
    bus.take_over("u").await;
    assert_eq!(bus.count("u", "lost"), 5);
    bus.check();
}
