//! The scripts `append` and `hello`.

use super::fixture::{Bus, event, event_named, shared, url, without_aof};
use crate::support::redis::{Options, Redis};
use posthorn::bus::{Error, Supervisor};
use posthorn::event::Sequence;
use std::sync::Arc;

#[tokio::test]
async fn an_event_is_stored_as_it_came_above_every_earlier_one() {
    let bus = Bus::start().await;
    let sequences = bus.post(3).await;
    assert!(sequences.is_sorted_by(|a, b| a < b));
    let event = event_named("as it came");
    let receipt = bus.append(std::slice::from_ref(&event)).await.unwrap()[0];
    let entry = bus.above(sequences[2]).await.remove(0);
    assert_eq!((entry.sequence, entry.event().unwrap()), (receipt.sequence, event));
    assert!(!receipt.duplicate);
    assert_eq!(bus.hash(&bus.bus_key("cursor"))["accepted"], "4");
}

#[tokio::test]
async fn the_same_event_is_stored_once_inside_the_window() {
    let bus = Bus::start().await;
    let first = bus.append(&[event_named("same")]).await.unwrap()[0];
    let seen = bus.keys().into_iter().find(|key| key.contains(":seen:")).unwrap();
    bus.cli(&["PEXPIRE", &seen, "30000"]);
    let second = bus.append(&[event_named("same")]).await.unwrap()[0];
    assert_eq!((second.sequence, second.duplicate), (first.sequence, true));
    let left: u64 = bus.cli(&["PTTL", &seen]).parse().unwrap();
    assert!(left > 30_000, "a repeat is a write, so that WAIT covers the first copy too");
    assert_eq!(bus.above(Sequence::ZERO).await.len(), 1);
    assert_eq!(bus.hash(&bus.bus_key("cursor"))["accepted"], "1");
}

#[tokio::test]
async fn the_same_event_twice_in_one_request_is_stored_once() {
    let bus = Bus::start().await;
    let receipts = bus.append(&[event_named("a"), event_named("b"), event_named("a")]).await.unwrap();
    assert_eq!(receipts[0].sequence, receipts[2].sequence);
    assert_eq!(receipts.iter().map(|receipt| receipt.duplicate).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(bus.above(Sequence::ZERO).await.len(), 2);
}

#[tokio::test]
async fn a_window_without_end_is_understood() {
    let bus = Bus::start().await;
    bus.post(1).await;
    let receipts = bus.appender.append(&bus.name, &[event()], std::time::Duration::MAX, 0).await.unwrap();
    assert_eq!(bus.above(Sequence::ZERO).await.len(), 2);
    assert!(!receipts[0].duplicate);
}

#[tokio::test]
async fn a_bus_that_was_deleted_is_made_again() {
    let bus = Bus::start().await;
    let before = bus.post(1).await[0];
    for key in bus.keys() {
        bus.cli(&["DEL", &key]);
    }
    let after = bus.post(1).await[0];
    assert!(after > before);
    let cursor = bus.hash(&bus.bus_key("cursor"));
    assert_eq!((cursor["v"].as_str(), cursor["pos"].as_str(), cursor["gen"].as_str()), ("1", "0-0", "0"));
}

#[tokio::test]
async fn a_log_that_was_deleted_begins_again_above_the_cursor() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    bus.cli(&["DEL", &bus.bus_key("in")]);
    let position = bus.position();
    let after = bus.post(2).await;
    assert!(after[0] > position && after[1] > after[0]);
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u").len(), 4);
    bus.check();
}

#[tokio::test]
async fn a_cursor_that_was_deleted_never_gives_a_generation_twice() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.create("w").await;
    let generation = bus.generation();
    bus.cli(&["DEL", &bus.bus_key("cursor")]);
    bus.post(1).await;
    assert_eq!(bus.generation(), generation);
}

#[tokio::test]
async fn a_new_connection_lifts_no_id() {
    let bus = Bus::start().await;
    let last = bus.post(1).await[0];
    let links = Supervisor::start(url(&bus.redis), "second");
    links.link().await.hello(&bus.name).await.unwrap();
    assert_eq!(bus.last_id(&bus.bus_key("in")), last);
}

#[tokio::test]
async fn a_restart_lifts_the_next_id_above_every_lost_one() {
    let mut redis = Redis::with(Options::default());
    let before = {
        let bus = Bus::on(Arc::new(redis)).await;
        let sequence = bus.post(1).await[0];
        let (name, hist) = (bus.name.clone(), bus.hash(&bus.bus_key("cursor"))["hist"].clone());
        let Bus { redis: shared, .. } = bus;
        redis = Arc::try_unwrap(shared).ok().expect("nobody else holds it");
        (name, sequence, hist)
    };
    redis.kill9();
    redis.restart();
    let (name, sequence, hist) = before;
    let links = Supervisor::start(url(&redis), "after");
    links.link().await.hello(&name).await.unwrap();
    let cursor = format!("ph:{{{name}}}:cursor");
    assert_ne!(redis.cli(&["HGET", &cursor, "hist"]), hist);
    let id: String = redis.query(redis::cmd("XADD").arg(format!("ph:{{{name}}}:in")).arg("*").arg("v").arg(1));
    let (id, seconds): (Sequence, u64) = (id.parse().unwrap(), redis.cli(&["TIME"]).lines().next().unwrap().parse().unwrap());
    assert!(id > sequence && id.ms > (seconds + 5) * 1000, "{id} after {sequence}");
    assert_eq!(redis.cli(&["XLEN", &format!("ph:{{{name}}}:in")]), "2");
}

#[tokio::test]
async fn a_last_id_in_the_future_is_lifted_too() {
    let bus = Bus::start().await;
    let log = bus.bus_key("in");
    bus.cli(&["XADD", &log, "99999999999999-7", "v", "1"]);
    bus.cli(&["HSET", &bus.bus_key("cursor"), "hist", "another"]);
    let links = Supervisor::start(url(&bus.redis), "second");
    links.link().await.hello(&bus.name).await.unwrap();
    assert_eq!(bus.last_id(&log).to_string(), "100000000000000-0");
}

#[tokio::test]
async fn a_bus_of_a_newer_version_is_refused() {
    let bus = Bus::on(Arc::new(Redis::with(without_aof()))).await;
    bus.cli(&["HSET", &bus.bus_key("cursor"), "v", "2"]);
    let before = bus.everything();
    let error = bus.append(&[event()]).await.unwrap_err();
    assert!(matches!(&error, Error::TooNew { bus: name, version } if *name == bus.name && version == "2"), "{error}");
    assert_eq!(bus.everything(), before);
}

#[tokio::test]
async fn events_of_two_buses_do_not_meet() {
    let redis = shared();
    let (one, two) = (Bus::on(redis.clone()).await, Bus::on(redis).await);
    one.append(&[event_named("same")]).await.unwrap();
    assert!(!two.append(&[event_named("same")]).await.unwrap()[0].duplicate);
    assert_eq!((one.above(Sequence::ZERO).await.len(), two.above(Sequence::ZERO).await.len()), (1, 1));
}
