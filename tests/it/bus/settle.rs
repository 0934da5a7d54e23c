//! The scripts `settle report`.

use super::fixture::{Bus, done, read_all, settle};
use posthorn::bus::queue::Settled;
use posthorn::bus::routing::{self, Ask};
use std::time::Duration;

#[tokio::test]
async fn a_delivered_event_leaves_its_queue_and_is_counted() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 3).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    done(tenure.begin(owed[0], 1, false, false).await);
    assert_eq!(settle(&tenure, &read[..2]).await, 2);
    assert_eq!((bus.queue("u"), bus.consumers("u")["w"]), (owed[2..].to_vec(), 1));
    assert_eq!((bus.count("u", "settled"), bus.trial("u", owed[0])), (2, None));
    assert!(bus.field("u", "lastOK").is_some());
    bus.check();
}

#[tokio::test]
async fn a_repeated_settle_counts_nothing() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    assert_eq!(settle(&tenure, &read[..1]).await, 1);
    assert_eq!(settle(&tenure, &read).await, 1);
    assert_eq!(settle(&tenure, &read).await, 0);
    assert_eq!(bus.count("u", "settled"), 2);
    bus.check();
}

#[tokio::test]
async fn settling_nothing_is_nothing() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let tenure = bus.lease("u").await;
    assert_eq!(done(tenure.settle(&[]).await), 0);
    assert_eq!(bus.field("u", "lastOK"), None);
}

#[tokio::test]
async fn a_thousand_events_are_settled_at_once() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.append(&(0..1000).map(|_| super::fixture::event()).collect::<Vec<_>>()).await.unwrap();
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    assert_eq!(settle(&tenure, &read).await, 1000);
    bus.check();
}

#[tokio::test]
async fn a_success_ends_streaks_and_halts() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 1).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    done(tenure.halt("Unauthorized").await);
    bus.cli(&["HSET", &bus.key("st", "u"), "streak", "2", "evstreak", "5"]);
    settle(&tenure, &read).await;
    assert_eq!((bus.field("u", "streak"), bus.field("u", "evstreak"), bus.field("u", "halted")), (None, None, None));
}

#[tokio::test]
async fn a_success_after_failures_is_a_retry() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    done(tenure.fail(owed[0], 1, "Timeout", None, "", Some(Duration::ZERO)).await);
    let events = [2, 1].into_iter().zip(&read);
    let events: Vec<_> = events.map(|(attempts, owed)| Settled { id: owed.entry.sequence, size: owed.entry.size(), attempts }).collect();
    assert_eq!(done(tenure.settle(&events).await), 2);
    assert_eq!((bus.count("u", "retried"), bus.count("u", "failed")), (1, 1));
    bus.check();
}

#[tokio::test]
async fn settling_into_a_lost_queue_counts_nothing() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    bus.cli(&["DEL", &bus.key("q", "u")]);
    assert_eq!(settle(&tenure, &read).await, 0);
    bus.take_over("u").await;
    assert_eq!((bus.count("u", "settled"), bus.count("u", "lost")), (0, 2));
    bus.check();
}

#[tokio::test]
async fn a_report_says_what_the_worker_does_and_answers_a_person() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let tenure = bus.lease("u").await;
    done(tenure.report("Retrying", "503 busy", "plan-1", "Strict", None).await);
    let state = bus.state("u");
    assert_eq!((state["state"].as_str(), state["reason"].as_str(), state["plan"].as_str()), ("Retrying", "503 busy", "plan-1"));
    assert!(state["at"].parse::<u64>().unwrap() <= bus.time() && !state.contains_key("asked"));
    routing::ask(&bus.link, &bus.name, "u", Ask::Retry, "first").await.unwrap();
    routing::ask(&bus.link, &bus.name, "u", Ask::Retry, "second").await.unwrap();
    done(tenure.report("Active", "", "plan-1", "Strict", Some("first")).await);
    assert_eq!((bus.field("u", "asked").as_deref(), bus.field("u", "ask").as_deref()), (Some("first"), Some("retry - second")));
    done(tenure.report("Active", "", "plan-1", "Strict", Some("second")).await);
    assert_eq!((bus.field("u", "asked").as_deref(), bus.field("u", "ask")), (Some("second"), None));
}
