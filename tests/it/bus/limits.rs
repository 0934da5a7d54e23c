//! `spec.limits.backlog`: what `route` and `fill` do where a queue is at the limit of its spec.

use super::fixture::{Bus, NO_QUOTA, done, read_all, routed, settle};
use posthorn::bus::cursor::{Batch, Filled, Room};
use posthorn::bus::queue::Answered;
use posthorn::bus::routing::Start;
use posthorn::event::Sequence;
use posthorn::plan::{BacklogLimit, OnOverflow};

const TWO: BacklogLimit = BacklogLimit { max_events: Some(2), max_bytes: None, on_overflow: OnOverflow::DropNewest };
const LAST_TWO: BacklogLimit = BacklogLimit { on_overflow: OnOverflow::DropOldest, ..TWO };

fn bytes(max_bytes: usize, on_overflow: OnOverflow) -> BacklogLimit {
    BacklogLimit { max_events: None, max_bytes: Some(max_bytes as u64), on_overflow }
}

/// Routes everything above the cursor to `u`, within this limit.
async fn route(bus: &Bus, limit: BacklogLimit) -> Batch {
    let step = bus.step(&["u"]).await;
    routed(bus.send(&super::fixture::Step { limit: Some(limit), ..step }).await)
}

async fn bus_with(events: usize) -> (Bus, Vec<Sequence>) {
    let bus = Bus::start().await;
    bus.create("u").await;
    let posted = bus.post(events).await;
    (bus, posted)
}

#[tokio::test]
async fn the_newest_events_are_dropped_and_counted_and_their_ids_are_used_up() {
    let (bus, posted) = bus_with(5).await;
    let batch = route(&bus, TWO).await;
    assert_eq!(batch.dropped, [("u".to_owned(), 3)]);
    assert_eq!((bus.queue("u"), bus.count("u", "routed"), bus.count("u", "dropped")), (posted[..2].to_vec(), 5, 3));
    assert_eq!(bus.last_id(&bus.key("q", "u")), posted[4]);
    bus.check();
}

#[tokio::test]
async fn the_oldest_events_make_room_and_are_counted() {
    let (bus, posted) = bus_with(5).await;
    assert_eq!(route(&bus, LAST_TWO).await.dropped, [("u".to_owned(), 3)]);
    assert_eq!((bus.queue("u"), bus.count("u", "routed"), bus.count("u", "dropped")), (posted[3..].to_vec(), 5, 3));
    bus.check();
}

#[tokio::test]
async fn a_repeated_call_drops_nothing_more() {
    for limit in [TWO, LAST_TWO] {
        let (bus, _) = bus_with(5).await;
        let step = super::fixture::Step { limit: Some(limit), ..bus.step(&["u"]).await };
        routed(bus.send(&step).await);
        let before = bus.everything();
        bus.cli(&["HSET", &bus.bus_key("cursor"), "pos", &step.expected.to_string()]);
        assert_eq!(routed(bus.send(&step).await).dropped, []);
        assert_eq!(bus.everything(), before);
    }
}

#[tokio::test]
async fn bytes_limit_as_events_do() {
    let (bus, posted) = bus_with(5).await;
    let sizes: Vec<_> = bus.above(bus.position()).await.iter().map(|entry| entry.size()).collect();
    route(&bus, bytes(sizes[0] + sizes[1], OnOverflow::DropNewest)).await;
    assert_eq!(bus.queue("u"), posted[..2]);
    let more = bus.post(3).await;
    let sizes: Vec<_> = bus.above(bus.position()).await.iter().map(|entry| entry.size()).collect();
    route(&bus, bytes(sizes[1] + sizes[2], OnOverflow::DropOldest)).await;
    assert_eq!(bus.queue("u"), more[1..]);
    bus.check();
}

#[tokio::test]
async fn an_event_larger_than_the_limit_is_the_one_that_goes() {
    for policy in [OnOverflow::DropNewest, OnOverflow::DropOldest] {
        let (bus, posted) = bus_with(1).await;
        bus.route(&["u"]).await;
        bus.post(1).await;
        assert_eq!(route(&bus, bytes(10, policy)).await.dropped, [("u".to_owned(), 1)]);
        assert_eq!(bus.queue("u"), posted);
        bus.check();
    }
}

#[tokio::test]
async fn a_head_that_is_dropped_in_flight_is_dropped_and_not_settled() {
    let (bus, _) = bus_with(2).await;
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    let held = read_all(&tenure).await;
    done(tenure.fail(held[0].entry.sequence, 1, "Timeout", None, "", None).await);
    bus.post(2).await;
    route(&bus, LAST_TWO).await;
    assert_eq!(bus.trial("u", held[0].entry.sequence), None);
    assert_eq!(settle(&tenure, &held[..1]).await, 0);
    assert_eq!(tenure.fail(held[1].entry.sequence, 1, "Timeout", None, "", None).await.unwrap(), Answered::Gone);
    assert_eq!((bus.count("u", "settled"), bus.count("u", "dropped"), bus.consumers("u")["w"]), (0, 2, 0));
    bus.check();
}

#[tokio::test]
async fn the_quota_of_the_bus_holds_below_the_limit_of_the_spec() {
    let (bus, posted) = bus_with(5).await;
    let mut step = super::fixture::Step { limit: Some(BacklogLimit { max_events: Some(3), ..TWO }), ..bus.step(&["u"]).await };
    step.queues[0].1 = step.entries[0].size() as u64;
    let batch = routed(bus.send(&step).await);
    assert_eq!((batch.detached, batch.dropped), (vec![("u".to_owned(), posted[0])], Vec::new()));
    bus.check();
}

#[tokio::test]
async fn filling_waits_for_room_and_drops_nothing() {
    for limit in [TWO, LAST_TWO] {
        let bus = Bus::start().await;
        let posted = bus.post(3).await;
        bus.route(&[]).await;
        bus.create_from("u", Start::Earliest).await;
        let room = Room { quota: NO_QUOTA, limit: Some(limit) };
        let Filled { position, .. } = routed(bus.fill_into("u", room).await);
        assert_eq!((position, bus.queue("u"), bus.count("u", "dropped")), (Some(posted[1]), posted[..2].to_vec(), 0));
        let tenure = bus.lease("u").await;
        let held = read_all(&tenure).await;
        settle(&tenure, &held[..1]).await;
        assert_eq!(routed(bus.fill_into("u", room).await).position, None);
        assert_eq!(bus.queue("u"), posted[1..]);
        bus.check();
    }
}

#[tokio::test]
async fn an_empty_queue_is_filled_with_an_event_larger_than_the_limit() {
    let bus = Bus::start().await;
    let posted = bus.post(2).await;
    bus.route(&[]).await;
    bus.create_from("u", Start::Earliest).await;
    let room = Room { quota: NO_QUOTA, limit: Some(bytes(1, OnOverflow::DropNewest)) };
    assert_eq!(routed(bus.fill_into("u", room).await).position, Some(posted[0]));
    bus.check();
}

#[tokio::test]
async fn that_a_limit_drops_is_noted_until_there_is_room_again() {
    let (bus, _) = bus_with(3).await;
    route(&bus, TWO).await;
    assert!(bus.field("u", "overflow").is_some());
    let tenure = bus.lease("u").await;
    let held = read_all(&tenure).await;
    settle(&tenure, &held).await;
    bus.post(1).await;
    route(&bus, TWO).await;
    assert_eq!(bus.field("u", "overflow"), None);
    bus.check();
}

#[tokio::test]
async fn a_lowered_limit_takes_what_is_too_much_with_the_next_event() {
    let (bus, _) = bus_with(20).await;
    bus.route(&["u"]).await;
    let last = bus.post(1).await;
    route(&bus, LAST_TWO).await;
    assert_eq!((bus.queue("u").len(), bus.queue("u")[1], bus.count("u", "dropped")), (2, last[0], 19));
    bus.check();
}

#[tokio::test]
async fn who_waits_for_events_is_woken_for_one_that_makes_another_go() {
    let (bus, _) = bus_with(2).await;
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    assert!(bus.field("u", "want").is_some());
    bus.post(1).await;
    route(&bus, LAST_TWO).await;
    assert_eq!(bus.field("u", "want"), None);
    bus.check();
}
