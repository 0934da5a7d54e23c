use super::*;
use crate::event::Sequence;
use crate::plan::BacklogLimit;
use std::time::Duration;

const CREATED: &str = "2026-01-02T03:04:05Z";

pub(crate) fn route() -> Route {
    Route {
        owner: String::new(),
        rev: 3,
        namespace: "default".into(),
        name: "billing".into(),
        created: CREATED.into(),
        sink_uri: "https://billing.example/hooks".into(),
        filters: Vec::new(),
        state: RouteState::Open,
        suspend: false,
        dead_letter_max_age: Duration::from_secs(604_800),
        limit: None,
        dead_letters_to: None,
        unresolved: None,
    }
}

fn running(state: &str) -> Snapshot {
    Snapshot { owned: true, state: Some(state.into()), reported: Some(1_764_000_000_000), ..Snapshot::default() }
}

fn failed_head() -> crate::bus::state::Head {
    crate::bus::state::Head {
        sequence: Sequence { ms: 1_764_000_000_000, seq: 0 },
        id: "e1".into(),
        event_type: "com.example.order".into(),
        attempts: 2,
        first: Some(1_764_000_001_000),
        next: Some(1_764_000_005_000),
        code: Some(503),
        class: Some("ServerError".into()),
        message: Some("answered 503".into()),
    }
}

fn condition(status: &EventDestinationStatus, kind: &str) -> (String, String) {
    let found = status.conditions.iter().find(|condition| condition.r#type == kind).expect("it is there");
    (format!("{:?}", found.status), found.reason.clone())
}

#[test]
fn each_state_of_a_worker_is_shown_as_the_design_says() {
    let halted = Some(("AuthRejected".to_owned(), 1_764_000_000_000));
    let suspended = Route { suspend: true, ..route() };
    let closed = Route { state: RouteState::Closed, ..route() };
    let gone = Snapshot { owned: false, ..running("Active") };
    let cases = [
        // snapshot, route, Ready, WorkerAvailable, Delivering
        (running("Idle"), route(), ["True Ready", "True WorkerRuns", "True Idle"]),
        (running("Active"), route(), ["True Ready", "True WorkerRuns", "True Active"]),
        (running("RateLimited"), route(), ["True Ready", "True WorkerRuns", "True RateLimited"]),
        (running("Retrying"), route(), ["True Ready", "True WorkerRuns", "False Retrying"]),
        (running("Blocked"), route(), ["False Blocked", "True WorkerRuns", "False Blocked"]),
        (running("KeyBacklogFull"), route(), ["False KeyBacklogFull", "True WorkerRuns", "False KeyBacklogFull"]),
        (running("Halted"), route(), ["False Halted", "True WorkerRuns", "False Halted"]),
        (running("Suspended"), suspended.clone(), ["True Ready", "True WorkerRuns", "False Suspended"]),
        (running("Idle"), closed.clone(), ["False Draining", "True WorkerRuns", "True Draining"]),
        // the script that buries halts at once, the worker reports it a moment later
        (Snapshot { halted: halted.clone(), ..running("Retrying") }, route(), ["False Halted", "True WorkerRuns", "False Halted"]),
        (Snapshot { halted, ..running("Suspended") }, suspended.clone(), ["True Ready", "True WorkerRuns", "False Suspended"]),
        (gone.clone(), route(), ["False NoWorker", "False NoWorker", "Unknown NoWorker"]),
        (gone, suspended.clone(), ["True Ready", "True NotWanted", "False Suspended"]),
        (Snapshot::default(), route(), ["Unknown Pending", "Unknown Pending", "Unknown Pending"]),
        (Snapshot { owned: true, ..Snapshot::default() }, route(), ["Unknown Pending", "Unknown Pending", "Unknown Pending"]),
        (Snapshot::default(), suspended, ["True Ready", "True NotWanted", "False Suspended"]),
        (running("Pondering"), route(), ["True Ready", "True WorkerRuns", "Unknown Pondering"]),
        (running("not a word"), route(), ["True Ready", "True WorkerRuns", "Unknown Unknown"]),
    ];
    for (snapshot, route, expected) in cases {
        let status = status(&snapshot, &route);
        let found = ["Ready", "WorkerAvailable", "Delivering"].map(|kind| {
            let (holds, reason) = condition(&status, kind);
            format!("{holds} {reason}")
        });
        assert_eq!(found, expected, "{:?} suspend={} {:?}", snapshot.state, route.suspend, route.state);
    }
}

#[test]
fn numbers_and_times_are_those_of_redis() {
    let snapshot = Snapshot {
        backlog: 1,
        dead_letters: 2,
        routed: 12,
        settled: 6,
        buried: 3,
        dropped: 1,
        lost: 1,
        retried: 7,
        last_ok: Some(1_764_000_002_000),
        start: Some(Sequence::ZERO),
        head: Some(failed_head()),
        ..running("Retrying")
    };
    let json = serde_json::to_value(status(&snapshot, &route())).unwrap();
    let expected = serde_json::json!({
        "observedGeneration": 3,
        "sinkURI": "https://billing.example/hooks",
        "backlog": 1,
        "oldestPendingTime": "2025-11-24T16:00:00Z",
        "head": {
            "sequence": "0001764000000000-0000000000",
            "eventID": "e1",
            "eventType": "com.example.order",
            "attempts": 2,
            "firstAttemptTime": "2025-11-24T16:00:01Z",
            "nextAttemptTime": "2025-11-24T16:00:05Z",
            "lastStatusCode": 503,
            "lastReason": "ServerError",
            "lastMessage": "answered 503",
        },
        "retries": 7,
        "delivered": 6,
        "deadLettered": 3,
        "dropped": 1,
        "matched": 12,
        "lost": 1,
        "startSequence": "0000000000000000-0000000000",
        "deadLetters": 2,
        "lastDeliveryTime": "2025-11-24T16:00:02Z",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(json.get(field), Some(value), "{field}");
    }
}

#[test]
fn a_halt_tells_its_reason_and_what_the_head_met() {
    let snapshot = Snapshot { halted: Some(("DestinationFailing".into(), 0)), head: Some(failed_head()), ..running("Halted") };
    let status = status(&snapshot, &route());
    let message = &status.conditions.iter().find(|condition| condition.r#type == "Ready").unwrap().message;
    assert_eq!(message, "DestinationFailing: attempt 2 failed: ServerError (503): answered 503");
}

#[test]
fn what_waits_in_the_bus_and_what_was_lost_are_conditions() {
    let fine = status(&running("Idle"), &route());
    assert_eq!(condition(&fine, "KeepingUp").0, "True");
    assert!(fine.conditions.iter().all(|condition| condition.r#type != "DataLost"));
    let behind = Snapshot { fill: Some(Sequence { ms: 5, seq: 1 }), data_lost: Some(7), lost: 4, ..running("Active") };
    let status = status(&behind, &route());
    assert_eq!(condition(&status, "KeepingUp"), ("False".into(), "WaitingInBus".into()));
    assert_eq!(condition(&status, "DataLost"), ("True".into(), "QueueDeleted".into()));
    assert_eq!(condition(&status, "Ready").0, "True");
}

#[test]
fn that_a_limit_drops_events_is_told_while_any_wait() {
    let limit = BacklogLimit { max_events: Some(5), max_bytes: None, on_overflow: OnOverflow::DropOldest };
    let limited = Route { limit: Some(limit), ..route() };
    let full = Snapshot { overflow: Some(7), backlog: 5, ..running("Retrying") };
    let reason = |snapshot: &Snapshot, route: &Route| condition(&status(snapshot, route), "KeepingUp").1;
    assert_eq!(reason(&full, &limited), "BacklogLimit");
    assert_eq!(reason(&Snapshot { backlog: 0, ..full.clone() }, &limited), "KeepingUp");
    assert_eq!(reason(&full, &route()), "KeepingUp", "the limit is gone");
    let behind = Snapshot { fill: Some(Sequence { ms: 5, seq: 1 }), ..full };
    assert_eq!(reason(&behind, &limited), "WaitingInBus");
}

#[test]
fn a_start_that_was_not_kept_is_told() {
    let message = |snapshot: &Snapshot| {
        let status = status(snapshot, &route());
        status.conditions.into_iter().find(|condition| condition.r#type == "Routed").unwrap().message
    };
    let at = |ms| Some(Sequence { ms, seq: 0 });
    assert_eq!(message(&Snapshot { start: at(5), ..Snapshot::default() }), "");
    let late = Snapshot { gap: at(1_764_000_000_000), start: at(1_764_000_060_000), ..Snapshot::default() };
    let said = "the bus kept nothing from 2025-11-24T16:00:00Z to 2025-11-24T16:01:00Z: it began after that";
    assert_eq!(message(&late), said);
}

#[test]
fn a_status_made_again_is_the_same() {
    let snapshot = Snapshot { head: Some(failed_head()), now: 1, ..running("Retrying") };
    let later = Snapshot { now: 2, ..snapshot.clone() };
    assert_eq!(status(&snapshot, &route()), status(&later, &route()));
}
