//! The scripts `letters redrive purge`.

use super::fixture::{Bus, burial, done, event_named, read_all, route};
use posthorn::bus::Error;
use posthorn::bus::dead_letters::{self, briefs, purge};
use posthorn::bus::queue::Burial;
use posthorn::bus::redrive::{Redriven, redrive};
use posthorn::bus::routing::{self, Updated};
use posthorn::event::Sequence;
use posthorn::plan::{BacklogLimit, OnOverflow, Route, RouteState};

const BYTES: usize = 1 << 20;

/// A destination `u` with so many dead letters `dead-0`, `dead-1` …; their IDs.
async fn buried(bus: &Bus, count: usize) -> Vec<Sequence> {
    bus.create("u").await;
    for n in 0..count {
        bus.append(&[event_named(&format!("dead-{n}"))]).await.unwrap();
    }
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    for owed in read_all(&tenure).await {
        done(tenure.bury(&Burial { class: "Refused", ..burial(owed.entry.sequence) }).await);
    }
    letters(bus).await.iter().map(|letter| letter.id).collect()
}

async fn letters(bus: &Bus) -> Vec<dead_letters::Brief> {
    briefs(&bus.link, &bus.name, "u", Sequence::ZERO, 1000).await.unwrap()
}

async fn put_back(bus: &Bus, ids: &[Sequence]) -> Redriven {
    redrive(&bus.link, &bus.name, "u", BYTES, ids).await.unwrap()
}

async fn change(bus: &Bus, rev: i64, change: impl FnOnce(&mut Route)) {
    let mut route = route("u");
    route.rev = rev;
    change(&mut route);
    assert_eq!(routing::update(&bus.link, &bus.name, "u", &route).await.unwrap(), Updated::Done);
}

#[tokio::test]
async fn what_is_put_back_comes_last_for_its_destination_alone_and_knows_where_it_was() {
    let bus = Bus::start().await;
    let ids = buried(&bus, 3).await;
    let before = letters(&bus).await;
    let late = bus.post(1).await[0];
    assert_eq!(put_back(&bus, &[ids[0], ids[2]]).await, Redriven::Done { tried: 2, moved: 2 });
    let entries = bus.above(late).await;
    assert_eq!(entries.len(), 2);
    for (entry, letter) in entries.iter().zip([&before[0], &before[2]]) {
        assert_eq!((entry.text("to"), entry.text("orig")), (Some("u"), Some(letter.sequence.to_string().as_str())));
        assert_eq!(entry.event().unwrap(), event_named(&letter.event_id));
        assert!(["n", "class", "code", "msg", "first", "at"].iter().all(|name| entry.field(name).is_none()));
    }
    assert_eq!(letters(&bus).await, before[1..2]);
    assert_eq!((bus.count("u", "buried"), bus.count("u", "redriven")), (3, 2));
    // a call whose answer was lost is repeated
    assert_eq!(put_back(&bus, &[ids[0], ids[2], ids[1]]).await, Redriven::Done { tried: 3, moved: 1 });
    assert_eq!(bus.above(late).await.len(), 3);
    bus.check();
}

#[tokio::test]
async fn a_call_stops_at_about_so_many_bytes() {
    let bus = Bus::start().await;
    let ids = buried(&bus, 3).await;
    assert_eq!(redrive(&bus.link, &bus.name, "u", 1, &ids).await.unwrap(), Redriven::Done { tried: 1, moved: 1 });
}

#[tokio::test]
async fn nothing_is_put_back_that_would_go_nowhere() {
    let bus = Bus::start().await;
    let ids = buried(&bus, 1).await;
    change(&bus, 2, |route| route.state = RouteState::Closed).await;
    assert_eq!(put_back(&bus, &ids).await, Redriven::Closed);
    bus.cli(&["HSET", &bus.bus_key("routes"), "u", "{"]);
    assert_eq!(put_back(&bus, &ids).await, Redriven::Unreadable);
    assert_eq!(letters(&bus).await.len(), 1);
    routing::delete(&bus.link, &bus.name, "u", "default/u").await.unwrap();
    assert_eq!(put_back(&bus, &ids).await, Redriven::Gone);
    assert_eq!(purge(&bus.link, &bus.name, "u", &ids).await.unwrap(), None);
    assert!(!bus.keys().contains(&bus.key("st", "u")));
}

#[tokio::test]
async fn a_queue_at_its_limit_takes_only_what_fits() {
    let bus = Bus::start().await;
    let ids = buried(&bus, 3).await;
    bus.owe("u", 1).await;
    change(&bus, 2, |route| {
        route.limit = Some(BacklogLimit { max_events: Some(2), max_bytes: None, on_overflow: OnOverflow::DropNewest });
    })
    .await;
    assert_eq!(put_back(&bus, &ids).await, Redriven::Done { tried: 1, moved: 1 });
    // nobody knows how full it is before that one is routed
    assert_eq!(put_back(&bus, &ids[1..]).await, Redriven::Wait);
    bus.route(&["u"]).await;
    assert_eq!(put_back(&bus, &ids[1..]).await, Redriven::Full);
    change(&bus, 3, |route| {
        route.limit = Some(BacklogLimit { max_events: None, max_bytes: Some(1), on_overflow: OnOverflow::DropOldest });
    })
    .await;
    assert_eq!(put_back(&bus, &ids[1..]).await, Redriven::Full);
    assert_eq!((letters(&bus).await.len(), bus.count("u", "dropped")), (2, 0));
    bus.check();
}

#[tokio::test]
async fn a_full_redis_puts_nothing_back_and_purges_all_the_same() {
    let bus = Bus::alone().await;
    let ids = buried(&bus, 3).await;
    bus.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = redrive(&bus.link, &bus.name, "u", BYTES, &ids).await.unwrap_err();
    assert!(matches!(refused, Error::Full(_)), "{refused}");
    assert_eq!(letters(&bus).await.len(), 3);
    assert_eq!(purge(&bus.link, &bus.name, "u", &[ids[0], ids[1], Sequence { ms: 1, seq: 1 }]).await.unwrap(), Some(2));
    assert_eq!((letters(&bus).await.len(), bus.count("u", "purged")), (1, 2));
    bus.check();
}

#[tokio::test]
async fn a_log_that_was_deleted_goes_on_above_the_cursor() {
    let bus = Bus::start().await;
    let ids = buried(&bus, 1).await;
    let ahead = format!("{}-0", bus.time() + 1_000_000);
    bus.cli(&["HSET", &bus.bus_key("cursor"), "pos", &ahead]);
    bus.cli(&["DEL", &bus.bus_key("in")]);
    assert_eq!(put_back(&bus, &ids).await, Redriven::Done { tried: 1, moved: 1 });
    assert_eq!(bus.above(ahead.parse().unwrap()).await.len(), 1);
}

#[tokio::test]
async fn dead_letters_are_read_in_pages_of_about_so_many_bytes() {
    let bus = Bus::start().await;
    let ids = buried(&bus, 40).await;
    let page = dead_letters::page(&bus.link, &bus.name, "u", Sequence::ZERO, 1).await.unwrap();
    assert_eq!(page.iter().map(|letter| letter.id).collect::<Vec<_>>(), ids[..16]);
    assert_eq!(page[3].event.as_ref().unwrap(), &event_named("dead-3"));
    let rest = dead_letters::page(&bus.link, &bus.name, "u", ids[15], BYTES).await.unwrap();
    assert_eq!(rest.len(), 24);
    let two = briefs(&bus.link, &bus.name, "u", ids[1], 2).await.unwrap();
    assert_eq!(two.iter().map(|brief| brief.event_id.as_str()).collect::<Vec<_>>(), ["dead-2", "dead-3"]);
    assert_eq!(two[0].class, "Refused");
}
