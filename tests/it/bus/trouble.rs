//! Events in trouble: the scripts `begin fail abort reset`.

use super::fixture::{Bus, done, read_all};
use posthorn::bus::queue::{Answered, Tenure};
use posthorn::event::Sequence;
use serde_json::json;
use std::time::Duration;

/// A queue with one event that its owner has read.
async fn owned() -> (Bus, Tenure, Sequence) {
    let bus = Bus::start().await;
    bus.create("u").await;
    let owed = bus.owe("u", 1).await;
    let tenure = bus.lease("u").await;
    read_all(&tenure).await;
    (bus, tenure, owed[0])
}

#[tokio::test]
async fn an_attempt_is_recorded_before_it_is_made() {
    let (bus, tenure, id) = owned().await;
    assert_eq!(done(tenure.begin(id, 1, false, false).await), 0);
    assert_eq!(bus.trial("u", id).unwrap(), json!({"n": 1, "open": true, "solo": false, "deaths": 0}));
    bus.check();
}

#[tokio::test]
async fn a_death_counts_only_while_the_event_was_tried_alone() {
    let (bus, tenure, id) = owned().await;
    let begin = async |solo, mine| done(tenure.begin(id, 1, solo, mine).await);
    assert_eq!(begin(false, false).await, 0);
    assert_eq!(begin(true, false).await, 0, "it was open among others: a suspect only");
    assert_eq!(begin(true, false).await, 1);
    assert_eq!(begin(true, true).await, 1, "this process began it and lives");
    assert_eq!(begin(true, false).await, 2);
    assert_eq!(begin(true, false).await, 3);
    done(tenure.abort(id).await);
    assert_eq!(begin(true, false).await, 3, "it was closed");
    bus.check();
}

#[tokio::test]
async fn a_failed_attempt_is_closed_and_counted() {
    let (bus, tenure, id) = owned().await;
    let before = bus.time();
    done(tenure.begin(id, 1, true, false).await);
    done(tenure.fail(id, 1, "Status", Some(503), "busy", Some(Duration::from_secs(5))).await);
    let trial = bus.trial("u", id).unwrap();
    assert_eq!((&trial["open"], &trial["solo"], &trial["class"]), (&json!(false), &json!(false), &json!("Status")));
    assert_eq!((&trial["code"], &trial["msg"]), (&json!(503), &json!("busy")));
    let (first, next) = (trial["first"].as_f64().unwrap(), trial["next"].as_f64().unwrap());
    assert!(first >= before as f64 && next - first == 5000.0);
    assert_eq!((bus.count("u", "failed"), bus.count("u", "retried")), (1, 0));
    done(tenure.fail(id, 2, "Timeout", None, "slow", Some(Duration::ZERO)).await);
    let trial = bus.trial("u", id).unwrap();
    assert_eq!((&trial["n"], trial["first"].as_f64(), trial.get("code")), (&json!(2), Some(first), None));
    assert_eq!((bus.count("u", "failed"), bus.count("u", "retried")), (2, 1));
    assert_eq!(done(tenure.begin(id, 3, true, false).await), 0);
    bus.check();
}

#[tokio::test]
async fn a_wait_without_end_is_kept() {
    let (bus, tenure, id) = owned().await;
    done(tenure.fail(id, 1, "Timeout", None, "\u{1F4EF} \"quoted\"", Some(Duration::MAX)).await);
    let read = read_all(&bus.take_over("u").await).await;
    assert!(read[0].trial.as_ref().unwrap().next > 1e18);
    assert_eq!(bus.trial("u", id).unwrap()["msg"], "\u{1F4EF} \"quoted\"");
}

#[tokio::test]
async fn an_attempt_that_we_ended_is_taken_back() {
    let (bus, tenure, id) = owned().await;
    done(tenure.begin(id, 3, true, false).await);
    for _ in 0..2 {
        done(tenure.abort(id).await);
        let trial = bus.trial("u", id).unwrap();
        assert_eq!((&trial["n"], &trial["open"], &trial["deaths"]), (&json!(2), &json!(false), &json!(0)));
    }
    bus.check();
}

#[tokio::test]
async fn an_event_without_trouble_has_nothing_to_take_back() {
    let (bus, tenure, id) = owned().await;
    done(tenure.abort(id).await);
    done(tenure.reset(&[id]).await);
    assert_eq!(bus.trial("u", id), None);
}

#[tokio::test]
async fn a_reset_event_has_all_its_retries_again() {
    let (bus, tenure, id) = owned().await;
    done(tenure.fail(id, 7, "Status", Some(500), "broken", Some(Duration::from_secs(60))).await);
    done(tenure.reset(&[id, id.next()]).await);
    let trial = bus.trial("u", id).unwrap();
    assert_eq!((&trial["n"], &trial["next"], &trial["class"]), (&json!(0), &json!(0), &json!("Status")));
    assert_eq!(bus.trial("u", id.next()), None);
    bus.check();
}

#[tokio::test]
async fn an_event_that_is_gone_is_forgotten() {
    let (bus, tenure, id) = owned().await;
    let queue = bus.key("q", "u");
    for by in [0, 1, 2] {
        let id = if by == 0 { id } else { bus.owe("u", 1).await[0] };
        done(tenure.begin(id, 1, false, false).await);
        bus.cli(&["XDEL", &queue, &id.to_string()]);
        let gone = match by {
            0 => tenure.begin(id, 2, false, false).await.unwrap() == Answered::Gone,
            1 => tenure.fail(id, 1, "Timeout", None, "", Some(Duration::ZERO)).await.unwrap() == Answered::Gone,
            _ => tenure.abort(id).await.unwrap() == Answered::Gone,
        };
        assert!(gone);
        assert_eq!(bus.trial("u", id), None);
    }
    assert_eq!(bus.consumers("u").values().sum::<u64>(), 0, "and no longer pending");
    bus.cli(&["DEL", &queue]);
    assert_eq!(tenure.begin(id, 1, false, false).await.unwrap(), Answered::Gone);
    bus.take_over("u").await;
    bus.check();
}
