//! Wake-ups, and waiting for new events.

use super::fixture::{Bus, read_all, url};
use crate::support::eventually::{eventually, holds};
use posthorn::bus::Supervisor;
use posthorn::bus::cursor;
use posthorn::bus::routing::{self, Ask};
use posthorn::bus::wake::Wakes;
use posthorn::event::Sequence;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// Listeners on a server of the test's own.
async fn listening() -> (Bus, Wakes) {
    let bus = Bus::alone().await;
    let wakes = Wakes::start(url(&bus.redis));
    heard(&bus).await;
    (bus, wakes)
}

async fn heard(bus: &Bus) {
    eventually("the subscription", async || holds(bus.cli(&["PUBSUB", "NUMPAT"]) == "1", || "not yet".into())).await;
}

#[tokio::test]
async fn a_worker_that_ran_dry_is_woken_by_the_next_event() {
    let (bus, wakes) = listening().await;
    bus.create("u").await;
    bus.create("w").await;
    let (woken, other) = (wakes.register("u"), wakes.register("w"));
    read_all(&bus.lease("u").await).await;
    bus.owe("u", 1).await;
    tokio::time::timeout(DEADLINE, woken.notified()).await.unwrap();
    assert!(bus.field("u", "want").is_none(), "woken once");
    bus.owe("u", 1).await;
    bus.cli(&["PUBLISH", &bus.bus_key("wake"), "w"]);
    tokio::time::timeout(DEADLINE, other.notified()).await.unwrap();
    assert!(futures::FutureExt::now_or_never(woken.notified()).is_none(), "it did not ask again");
    bus.check();
}

#[tokio::test]
async fn a_request_and_a_free_lease_wake_too() {
    let (bus, wakes) = listening().await;
    bus.create("u").await;
    let woken = wakes.register("u");
    routing::ask(&bus.link, &bus.name, "u", Ask::Retry, "n").await.unwrap();
    tokio::time::timeout(DEADLINE, woken.notified()).await.unwrap();
    bus.lease("u").await.release().await.unwrap();
    tokio::time::timeout(DEADLINE, woken.notified()).await.unwrap();
}

#[tokio::test]
async fn wake_ups_are_heard_again_after_their_connection_broke() {
    let (bus, wakes) = listening().await;
    let woken = wakes.register("u");
    bus.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    heard(&bus).await;
    bus.cli(&["PUBLISH", &bus.bus_key("wake"), "u"]);
    tokio::time::timeout(DEADLINE, woken.notified()).await.unwrap();
}

#[tokio::test]
async fn nobody_listens_for_those_who_are_gone() {
    let (bus, wakes) = listening().await;
    drop(wakes);
    eventually("the end of the subscription", async || holds(bus.cli(&["PUBSUB", "NUMPAT"]) == "0", || "not yet".into())).await;
}

#[tokio::test]
async fn a_router_waits_for_the_next_event() {
    let bus = Bus::start().await;
    let links = Supervisor::start_blocking(url(&bus.redis), "blocking", Duration::from_secs(1));
    let link = links.link().await;
    let nothing = cursor::wait(&link, &bus.name, Sequence::ZERO, Duration::from_millis(1)).await.unwrap();
    assert_eq!(nothing, []);
    let first = bus.post(1).await[0];
    let found = cursor::wait(&link, &bus.name, Sequence::ZERO, Duration::from_secs(1)).await.unwrap();
    assert_eq!(found, bus.above(Sequence::ZERO).await);
    let waiting = async {
        loop {
            let found = cursor::wait(&link, &bus.name, first, Duration::from_secs(1)).await.unwrap();
            if !found.is_empty() {
                break found;
            }
        }
    };
    let (found, posted) = tokio::join!(waiting, bus.post(1));
    assert_eq!(found[0].sequence, posted[0]);
}
