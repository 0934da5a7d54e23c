//! What keeps the bus inside its space: the scripts `detach fill fill_drop trim expire oldest scan`.

use super::fixture::{ALL, Bus, NO_QUOTA, burial, done, quota_of, read_all, routed};
use crate::support::eventually::{eventually, holds};
use posthorn::bus::cursor::{self, FillCall, Filled, Routed};
use posthorn::bus::entry::Entry;
use posthorn::bus::routing::{self, Start};
use posthorn::event::Sequence;
use std::time::Duration;

/// A bus with a destination that is behind the cursor by so many events.
async fn behind_by(events: usize) -> (Bus, Vec<Sequence>) {
    let bus = Bus::start().await;
    bus.create("u").await;
    routed(bus.detach("u").await);
    let posted = bus.post(events).await;
    bus.route(&[]).await;
    (bus, posted)
}

/// One step of filling, for which a test changes what the router believes.
struct Fill {
    token: String,
    expected: Sequence,
    new: Sequence,
    generation: u64,
    entries: Vec<Entry>,
}

impl Fill {
    async fn of(bus: &Bus, new: Sequence) -> Fill {
        let (expected, generation) = (bus.fill_of("u").unwrap(), bus.generation());
        let mut entries = bus.above(expected).await;
        entries.retain(|entry| entry.sequence <= new);
        Fill { token: bus.router.clone(), expected, new, generation, entries }
    }

    async fn run(&self, bus: &Bus, quota: Option<u64>) -> Routed<Filled> {
        let entries: Vec<&Entry> = self.entries.iter().collect();
        let &Fill { expected, new, generation, .. } = self;
        let step = FillCall { token: &self.token, uid: "u", expected, new, generation, entries: &entries };
        match quota {
            Some(quota) => cursor::fill(&bus.link, &bus.name, &step, quota_of(quota)).await.unwrap(),
            None => cursor::fill_drop(&bus.link, &bus.name, &step).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_detached_destination_waits_at_the_cursor() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 1).await;
    assert_eq!(routed(bus.detach("u").await), Filled { position: Some(owed[0]), generation: 2 });
    assert_eq!((bus.fill_of("u"), bus.generation()), (Some(owed[0]), 2));
    bus.check();
}

#[tokio::test]
async fn detaching_is_refused_where_things_have_changed() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let detach = async |token: &str, uid: &str, generation| {
        let before = bus.everything();
        let answer = cursor::detach(&bus.link, &bus.name, token, uid, generation).await.unwrap();
        assert_eq!(bus.everything(), before);
        answer
    };
    let stale = Routed::Stale { position: bus.position() };
    assert_eq!(detach("another", "u", 1).await, Routed::Fenced);
    assert_eq!(detach(&bus.router, "u", 0).await, stale);
    assert_eq!(detach(&bus.router, "nobody", 1).await, stale);
    routed(bus.detach("u").await);
    assert_eq!(detach(&bus.router, "u", 2).await, stale, "it is detached already");
}

#[tokio::test]
async fn a_destination_that_has_caught_up_is_live() {
    let (bus, posted) = behind_by(3).await;
    let generation = bus.generation();
    let filled = routed(Fill::of(&bus, posted[1]).await.run(&bus, Some(NO_QUOTA)).await);
    assert_eq!(filled, Filled { position: Some(posted[1]), generation });
    let filled = routed(Fill::of(&bus, posted[2]).await.run(&bus, Some(NO_QUOTA)).await);
    assert_eq!(filled, Filled { position: None, generation: generation + 1 });
    assert_eq!((bus.queue("u"), bus.fill_of("u"), bus.count("u", "routed")), (posted, None, 3));
    bus.check();
}

#[tokio::test]
async fn filling_passes_over_events_that_are_not_wanted() {
    let (bus, posted) = behind_by(3).await;
    let mut fill = Fill::of(&bus, posted[2]).await;
    fill.entries.remove(1);
    routed(fill.run(&bus, Some(NO_QUOTA)).await);
    assert_eq!((bus.queue("u"), bus.fill_of("u")), (vec![posted[0], posted[2]], None));
    bus.check();
}

#[tokio::test]
async fn filling_stops_before_the_event_that_does_not_fit() {
    let (bus, posted) = behind_by(4).await;
    let fill = Fill::of(&bus, posted[3]).await;
    let quota = fill.entries[..2].iter().map(|entry| entry.size() as u64).sum();
    assert_eq!(routed(fill.run(&bus, Some(quota)).await).position, Some(posted[1]));
    assert_eq!((bus.queue("u"), bus.fill_of("u")), (posted[..2].to_vec(), Some(posted[1])));
    let before = bus.everything();
    assert_eq!(routed(Fill::of(&bus, posted[3]).await.run(&bus, Some(quota)).await).position, Some(posted[1]));
    assert_eq!(bus.everything(), before, "there is no room yet");
    bus.check();
}

#[tokio::test]
async fn an_empty_queue_takes_an_event_larger_than_its_quota() {
    let (bus, posted) = behind_by(2).await;
    assert_eq!(routed(bus.fill("u", 1).await).position, Some(posted[0]));
    assert_eq!(bus.queue("u"), posted[..1]);
    bus.check();
}

#[tokio::test]
async fn filling_finds_what_one_part_of_a_split_event_left() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let posted = bus.post(1).await;
    let mut part = bus.step(&["u"]).await;
    part.last = false;
    routed(bus.send(&part).await);
    routed(bus.detach("u").await);
    bus.route(&[]).await;
    routed(bus.fill("u", 1).await);
    assert_eq!((bus.queue("u"), bus.count("u", "routed"), bus.fill_of("u")), (posted, 1, None));
    bus.check();
}

#[tokio::test]
async fn filling_is_refused_where_things_have_changed() {
    let (bus, posted) = behind_by(2).await;
    bus.post(1).await;
    for quota in [Some(NO_QUOTA), None] {
        let refused = async |change: fn(&mut Fill)| {
            let mut fill = Fill::of(&bus, posted[1]).await;
            change(&mut fill);
            let before = bus.everything();
            let answer = fill.run(&bus, quota).await;
            assert_eq!(bus.everything(), before);
            answer
        };
        let stale = Routed::Stale { position: posted[1] };
        assert_eq!(refused(|fill| fill.token.clear()).await, Routed::Fenced);
        assert_eq!(refused(|fill| fill.expected = fill.expected.next()).await, stale);
        assert_eq!(refused(|fill| fill.generation += 1).await, stale);
        assert_eq!(refused(|fill| fill.new = fill.new.next()).await, stale, "beyond the cursor");
    }
    routing::delete(&bus.link, &bus.name, "u", "default/u").await.unwrap();
    let fill = Fill { token: bus.router.clone(), expected: posted[0], new: posted[1], generation: bus.generation(), entries: Vec::new() };
    assert_eq!(fill.run(&bus, Some(NO_QUOTA)).await, Routed::Stale { position: posted[1] });
}

#[tokio::test]
async fn filling_makes_a_lost_queue_again_from_its_own_position() {
    let (bus, posted) = behind_by(3).await;
    routed(Fill::of(&bus, posted[0]).await.run(&bus, Some(NO_QUOTA)).await);
    bus.cli(&["DEL", &bus.key("q", "u")]);
    routed(bus.fill("u", NO_QUOTA).await);
    assert_eq!((bus.queue("u"), bus.count("u", "lost")), (posted[1..].to_vec(), 1));
    bus.check();
}

#[tokio::test]
async fn what_the_bus_no_longer_keeps_is_counted_as_dropped() {
    let (bus, posted) = behind_by(3).await;
    let filled = routed(Fill::of(&bus, posted[1]).await.run(&bus, None).await);
    assert_eq!(filled, Filled { position: Some(posted[1]), generation: bus.generation() });
    assert_eq!((bus.queue("u").len(), bus.count("u", "routed"), bus.count("u", "dropped")), (0, 2, 2));
    assert_eq!(bus.last_id(&bus.key("q", "u")), posted[1], "the IDs are used up");
    let generation = bus.generation();
    assert_eq!(routed(Fill::of(&bus, posted[2]).await.run(&bus, None).await), Filled { position: None, generation: generation + 1 });
    bus.check();
}

#[tokio::test]
async fn what_is_in_the_queue_already_is_not_dropped() {
    let (bus, posted) = behind_by(3).await;
    let fill = Fill::of(&bus, posted[1]).await;
    routed(fill.run(&bus, Some(NO_QUOTA)).await);
    bus.cli(&["HSET", &bus.bus_key("fills"), "u", &fill.expected.to_string()]);
    routed(fill.run(&bus, None).await);
    assert_eq!((bus.queue("u"), bus.count("u", "dropped")), (posted[..2].to_vec(), 0));
    bus.check();
}

#[tokio::test]
async fn trimming_never_passes_the_cursor_or_a_destination_that_is_behind() {
    let (bus, posted) = behind_by(2).await;
    let later = bus.post(2).await;
    let start = bus.fill_of("u").unwrap();
    assert_eq!(routed(bus.trim(later[1]).await), start);
    routed(Fill::of(&bus, posted[0]).await.run(&bus, Some(NO_QUOTA)).await);
    assert_eq!(routed(bus.trim(later[1]).await), posted[0]);
    routed(bus.fill("u", NO_QUOTA).await);
    assert_eq!(routed(bus.trim(later[1]).await), posted[1]);
    assert_eq!(bus.load().await.trimmed, posted[1]);
    assert_eq!(routed(bus.trim(posted[0]).await), posted[0]);
    assert_eq!(bus.load().await.trimmed, posted[1], "it never goes back");
    let kept: Vec<_> = bus.above(posted[1]).await.iter().map(|entry| entry.sequence).collect();
    assert_eq!(kept, later);
    bus.check();
}

#[tokio::test]
async fn trimming_frees_the_log() {
    let bus = Bus::start().await;
    let posted = bus.post(250).await;
    bus.route(&[]).await;
    let generation = bus.generation();
    let (held, removed) = routed(cursor::trim(&bus.link, &bus.name, &bus.router, posted[249], generation).await.unwrap());
    let left = bus.above(Sequence::ZERO).await.len() as u64;
    assert!(left < 100, "whole nodes go");
    assert_eq!((held, removed + left), (posted[249], 250));
    assert!(cursor::log_bytes(&bus.link, &bus.name).await.unwrap() > 0);
}

#[tokio::test]
async fn trimming_is_for_the_router_alone() {
    let (bus, posted) = behind_by(1).await;
    let before = bus.everything();
    let answer = cursor::trim(&bus.link, &bus.name, "another", posted[0], 0).await.unwrap();
    assert_eq!((answer, bus.everything()), (Routed::Fenced, before));
}

#[tokio::test]
async fn a_deleted_destination_is_remembered_until_the_router_has_read_of_it() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.create("w").await;
    routing::delete(&bus.link, &bus.name, "u", "default/u").await.unwrap();
    let trim = async |generation| routed(cursor::trim(&bus.link, &bus.name, &bus.router, Sequence::ZERO, generation).await.unwrap());
    trim(2).await;
    assert_eq!(bus.cli(&["ZSCORE", &bus.bus_key("changes"), "u"]), "3");
    trim(3).await;
    assert_eq!(bus.cli(&["ZRANGE", &bus.bus_key("changes"), "0", "-1"]), "w");
}

#[tokio::test]
async fn old_dead_letters_are_removed_and_counted() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    done(tenure.bury(&burial(owed[0])).await);
    let dead = bus.key("dead", "u");
    let buried = bus.time();
    eventually("another millisecond", async || holds(bus.time() > buried, || "not yet".into())).await;
    bus.cli(&["XADD", &dead, &format!("{}-0", bus.time() + 60_000), "orig", "later"]);
    bus.cli(&["HINCRBY", &bus.key("st", "u"), "buried", "1"]);
    bus.cli(&["HINCRBY", &bus.key("st", "u"), "routed", "1"]);
    let expire = async |token: &str, age| cursor::expire(&bus.link, &bus.name, token, "u", age).await.unwrap();
    assert_eq!(expire("another", Duration::ZERO).await, Routed::Fenced);
    assert_eq!(expire(&bus.router, Duration::from_secs(3600)).await, Routed::Done(0));
    assert_eq!(expire(&bus.router, Duration::MAX).await, Routed::Done(0));
    assert_eq!(expire(&bus.router, Duration::from_secs(0)).await, Routed::Done(1));
    assert_eq!((bus.entries(&dead).len(), bus.count("u", "purged")), (1, 1));
    assert_eq!(cursor::expire(&bus.link, &bus.name, &bus.router, "nobody", Duration::ZERO).await.unwrap(), Routed::Done(0));
    bus.check();
}

#[tokio::test]
async fn scanning_ends_at_a_number_of_entries_or_bytes() {
    let bus = Bus::start().await;
    let posted = bus.post(40).await;
    let scan = async |after, max, bytes| {
        let entries = cursor::scan(&bus.link, &bus.name, after, max, bytes).await.unwrap();
        entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>()
    };
    assert_eq!(scan(Sequence::ZERO, ALL, ALL).await, posted);
    assert_eq!(scan(posted[9], 20, ALL).await, posted[10..30]);
    assert_eq!(scan(posted[9], ALL, 1).await, posted[10..26], "16 a step");
    assert_eq!(scan(posted[39], ALL, ALL).await, []);
}

#[tokio::test]
async fn the_oldest_events_are_measured_by_their_bytes() {
    let bus = Bus::start().await;
    let oldest = async |after, bytes| cursor::oldest(&bus.link, &bus.name, after, bytes).await.unwrap();
    assert_eq!(oldest(Sequence::ZERO, 1).await, None);
    let posted = bus.post(5).await;
    let size = bus.above(Sequence::ZERO).await[0].size() as u64;
    assert_eq!(oldest(Sequence::ZERO, 1).await, Some(posted[0]));
    assert_eq!(oldest(posted[0], size + 1).await, Some(posted[2]));
    assert_eq!(oldest(Sequence::ZERO, NO_QUOTA).await, Some(posted[4]));
}

#[tokio::test]
async fn queues_that_hold_something_are_told_with_their_bytes() {
    let bus = Bus::start().await;
    bus.create("empty").await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    let expected = [cursor::Backlog { uid: "u".to_owned(), bytes: bus.count("u", "bytes"), events: 2, done: 0 }];
    assert_eq!(cursor::sizes(&bus.link, &bus.name, &[]).await.unwrap(), expected);
    assert_eq!(cursor::sizes(&bus.link, &bus.name, &["u", "empty"]).await.unwrap(), expected);
    bus.check();
}

#[tokio::test]
async fn a_destination_from_the_past_and_one_of_the_present_meet() {
    let bus = Bus::start().await;
    bus.create("now").await;
    let posted = bus.owe("now", 3).await;
    bus.create_from("u", Start::Earliest).await;
    routed(bus.fill("u", NO_QUOTA).await);
    let more = bus.post(1).await;
    bus.route(&["now", "u"]).await;
    assert_eq!(bus.queue("u"), [posted, more].concat());
    assert_eq!(bus.queue("u"), bus.queue("now"));
    bus.check();
}
