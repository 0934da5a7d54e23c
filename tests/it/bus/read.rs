//! The script `read`.

use super::fixture::{ALL, Bus, done, ids, read_all, settle};
use posthorn::event::Sequence;
use std::time::Duration;

#[tokio::test]
async fn new_events_are_read_in_order_and_once() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 20).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    assert_eq!(ids(&read), owed);
    assert!(read.iter().all(|owed| !owed.pending && owed.trial.is_none()));
    assert_eq!(read.iter().map(|owed| owed.entry.clone()).collect::<Vec<_>>(), bus.above(Sequence::ZERO).await);
    assert_eq!(bus.consumers("u")["w"], 20);
    assert_eq!(ids(&done(tenure.read(owed[19], ALL, ALL, 20).await)), []);
    bus.check();
}

#[tokio::test]
async fn a_new_owner_reads_what_is_pending_first() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 12).await;
    done(bus.lease("u").await.read(Sequence::ZERO, 10, ALL, 0).await);
    let read = read_all(&bus.take_over("u").await).await;
    assert_eq!(ids(&read), owed);
    assert_eq!(read.iter().map(|owed| owed.pending).collect::<Vec<_>>(), [[true; 10].as_slice(), &[false; 2]].concat());
    bus.check();
}

#[tokio::test]
async fn reading_ends_at_a_number_of_entries_or_bytes() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 30).await;
    let tenure = bus.lease("u").await;
    assert_eq!(ids(&done(tenure.read(Sequence::ZERO, 10, ALL, 0).await)), owed[..10]);
    assert_eq!(ids(&done(tenure.read(owed[9], ALL, 1, 10).await)), owed[10..18], "8 a step");
    assert!(bus.field("u", "want").is_none(), "it was not the last");
    let tenure = bus.take_over("u").await;
    assert_eq!(ids(&done(tenure.read(Sequence::ZERO, 18, ALL, 0).await)), owed[..18]);
    assert_eq!(ids(&done(tenure.read(owed[17], 100, ALL, 18).await)), owed[18..]);
    assert!(bus.field("u", "want").is_some());
    bus.check();
}

#[tokio::test]
async fn pending_events_are_read_by_a_limit_too() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 20).await;
    read_all(&bus.lease("u").await).await;
    let tenure = bus.take_over("u").await;
    assert_eq!(ids(&done(tenure.read(Sequence::ZERO, 9, ALL, 0).await)), owed[..9]);
    let read = done(tenure.read(owed[8], ALL, ALL, 9).await);
    assert_eq!(ids(&read), owed[9..]);
    assert!(read.iter().all(|owed| owed.pending));
}

#[tokio::test]
async fn an_event_that_someone_deleted_is_skipped() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 3).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    done(tenure.begin(owed[1], 1, false, false).await);
    bus.cli(&["XDEL", &bus.key("q", "u"), &owed[1].to_string()]);
    let tenure = bus.take_over("u").await;
    assert_eq!(ids(&read_all(&tenure).await), [owed[0], owed[2]]);
    assert_eq!(bus.consumers("u")["w"], 2);
    assert_eq!(bus.count("u", "lost"), 1);
    bus.check_counters();
}

#[tokio::test]
async fn only_deleted_events_are_no_end() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 12).await;
    read_all(&bus.lease("u").await).await;
    for id in &owed[..11] {
        bus.cli(&["XDEL", &bus.key("q", "u"), &id.to_string()]);
    }
    assert_eq!(ids(&read_all(&bus.take_over("u").await).await), owed[11..]);
}

#[tokio::test]
async fn an_event_comes_with_the_trouble_it_had() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    done(tenure.fail(owed[0], 3, "Status", Some(503), "busy", Some(Duration::from_secs(60))).await);
    let read = read_all(&bus.take_over("u").await).await;
    let trial = read[0].trial.clone().unwrap();
    assert_eq!((trial.n, trial.open, trial.class.as_deref()), (3, false, Some("Status")));
    assert!(trial.next > bus.time() as f64);
    assert_eq!(read[1].trial, None);
}

#[tokio::test]
async fn a_damaged_record_of_trouble_is_none() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 1).await;
    bus.cli(&["HSET", &bus.key("try", "u"), &owed[0].to_string(), "{"]);
    let tenure = bus.lease("u").await;
    assert_eq!(read_all(&tenure).await[0].trial, None);
    done(tenure.begin(owed[0], 1, false, false).await);
    assert_eq!(bus.trial("u", owed[0]).unwrap()["n"], 1);
    bus.check();
}

#[tokio::test]
async fn events_that_someone_moved_the_group_past_are_still_read() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 3).await;
    let tenure = bus.lease("u").await;
    bus.cli(&["XGROUP", "SETID", &bus.key("q", "u"), "delivery", "$"]);
    assert_eq!(ids(&done(tenure.read(Sequence::ZERO, ALL, ALL, 1).await)), [], "not while it holds others");
    assert_eq!(ids(&read_all(&tenure).await), owed);
    bus.check();
}

#[tokio::test]
async fn an_event_that_someone_acknowledged_is_still_read() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 1).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    bus.cli(&["XACK", &bus.key("q", "u"), "delivery", &owed[0].to_string()]);
    assert_eq!(ids(&done(tenure.read(owed[0], ALL, ALL, 0).await)), owed);
    bus.check();
}

#[tokio::test]
async fn a_queue_that_vanished_while_it_was_owned_is_made_again() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    bus.cli(&["DEL", &bus.key("q", "u")]);
    assert_eq!(ids(&read_all(&tenure).await), []);
    assert_eq!(bus.count("u", "lost"), 2);
    let next = bus.owe("u", 1).await;
    assert_eq!(ids(&read_all(&tenure).await), next);
    bus.check();
}

#[tokio::test]
async fn an_empty_queue_is_not_read_twice() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let tenure = bus.lease("u").await;
    assert_eq!(ids(&read_all(&tenure).await), []);
    bus.owe("u", 2).await;
    let read = read_all(&tenure).await;
    settle(&tenure, &read).await;
    assert_eq!(ids(&done(tenure.read(read[1].entry.sequence, ALL, ALL, 0).await)), []);
    bus.check();
}
