use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use ConditionStatus::{False, True, Unknown};

/// A status with these conditions: type, status, reason.
fn status(conditions: &[(&str, ConditionStatus, &str)]) -> EventDestinationStatus {
    let condition = |(kind, status, reason): &(&str, ConditionStatus, &str)| Condition {
        r#type: (*kind).into(),
        status: *status,
        observed_generation: Some(1),
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        reason: (*reason).into(),
        message: format!("about {reason}"),
    };
    EventDestinationStatus {
        conditions: conditions.iter().map(condition).collect(),
        sink_uri: Some("https://billing.example/hooks".into()),
        ..EventDestinationStatus::default()
    }
}

/// Ready and Delivering.
fn doing(ready: (ConditionStatus, &str), delivering: (ConditionStatus, &str)) -> EventDestinationStatus {
    status(&[("Ready", ready.0, ready.1), ("Delivering", delivering.0, delivering.1)])
}

fn told(former: &EventDestinationStatus, now: &EventDestinationStatus) -> Vec<String> {
    let text = |note: Note| format!("{} {}", if note.warning { "Warning" } else { "Normal" }, note.reason);
    notes(former, now).into_iter().map(text).collect()
}

#[test]
fn each_transition_of_delivery_is_told_once() {
    let pending = doing((Unknown, "Pending"), (Unknown, "Pending"));
    let idle = doing((True, "Ready"), (True, "Idle"));
    let active = doing((True, "Ready"), (True, "Active"));
    let retrying = doing((True, "Ready"), (False, "Retrying"));
    let halted = doing((False, "Halted"), (False, "Halted"));
    let blocked = doing((False, "Blocked"), (False, "Blocked"));
    let away = doing((Unknown, "RedisUnavailable"), (Unknown, "RedisUnavailable"));
    let mut no_worker = doing((False, "NoWorker"), (Unknown, "NoWorker"));
    no_worker.conditions.extend(status(&[("WorkerAvailable", False, "NoWorker")]).conditions);
    let none = EventDestinationStatus::default();
    let cases: [(&str, &EventDestinationStatus, &EventDestinationStatus, &[&str]); 18] = [
        ("made", &none, &pending, &[]),
        ("ready", &pending, &idle, &["Normal Ready"]),
        ("ready at first sight", &none, &idle, &["Normal Ready"]),
        ("busy", &idle, &active, &[]),
        ("a failure", &active, &retrying, &[]),
        ("halted", &retrying, &halted, &["Warning Halted"]),
        ("still halted", &halted, &halted, &[]),
        ("resumed", &halted, &active, &["Normal Resumed"]),
        ("blocked", &retrying, &blocked, &["Warning Blocked"]),
        ("retried on request", &blocked, &retrying, &["Normal Resumed"]),
        ("worker lost", &active, &no_worker, &["Warning NoWorker"]),
        ("worker back", &no_worker, &idle, &["Normal Ready"]),
        ("worker back, halted before", &no_worker, &halted, &["Warning Halted"]),
        ("a new version", &idle, &pending, &[]),
        ("redis away", &idle, &away, &[]),
        ("redis back", &away, &idle, &[]),
        ("redis back, halted", &away, &halted, &[]),
        ("halted while not ready", &pending, &halted, &["Warning Halted"]),
    ];
    for (what, former, now, expected) in cases {
        assert_eq!(told(former, now), expected, "{what}");
    }
    assert_eq!(notes(&pending, &idle)[0].message, "events go to https://billing.example/hooks");
    assert_eq!(notes(&retrying, &halted)[0].message, "about Halted");
}

#[test]
fn what_is_refused_or_missing_is_told_with_its_reason() {
    let fine = status(&[("Accepted", True, "Accepted"), ("Resolved", True, "Resolved")]);
    let rejected = status(&[("Accepted", False, "NotImplemented")]);
    let missing = status(&[("Accepted", True, "Accepted"), ("Resolved", False, "SecretNotFound")]);
    let key = status(&[("Accepted", True, "Accepted"), ("Resolved", False, "SecretKeyMissing")]);
    assert_eq!(told(&fine, &rejected), ["Warning Rejected"]);
    assert_eq!(notes(&fine, &rejected)[0].message, "NotImplemented: about NotImplemented");
    assert_eq!(told(&rejected, &rejected), [""; 0]);
    assert_eq!(told(&EventDestinationStatus::default(), &missing), ["Warning SecretNotFound"]);
    assert_eq!(told(&missing, &key), ["Warning SecretKeyMissing"]);
    assert_eq!(told(&key, &fine), [""; 0]);
    let mut another = missing.clone();
    another.conditions[1].message = "another Secret".into();
    assert_eq!(told(&missing, &another), ["Warning SecretNotFound"]);
}

#[test]
fn dead_letters_lost_data_and_a_full_queue_are_told() {
    let with = |dead, lost| EventDestinationStatus { dead_lettered: dead, lost, ..status(&[]) };
    assert_eq!(told(&with(None, None), &with(Some(2), None)), ["Warning DeadLettered"]);
    assert_eq!(told(&with(Some(0), None), &with(Some(1), None)), ["Warning DeadLettered"]);
    assert_eq!(told(&with(Some(1), None), &with(Some(5), None)), [""; 0], "the first time only");
    let lost = |count| EventDestinationStatus { lost: Some(count), ..status(&[("DataLost", True, "QueueDeleted")]) };
    assert_eq!(told(&with(None, Some(0)), &lost(3)), ["Warning DataLost"]);
    assert_eq!(told(&lost(3), &lost(3)), [""; 0]);
    assert_eq!(told(&lost(3), &lost(4)), ["Warning DataLost"], "once more");
    let keeps_up = status(&[("KeepingUp", True, "KeepingUp")]);
    let waiting = status(&[("KeepingUp", False, "WaitingInBus")]);
    assert_eq!(told(&keeps_up, &waiting), ["Warning WaitingInBus"]);
    assert_eq!(told(&waiting, &waiting), [""; 0]);
    assert_eq!(told(&EventDestinationStatus::default(), &waiting), [""; 0], "it begins in the past");
}

#[test]
fn a_start_that_the_bus_did_not_keep_is_told_once() {
    let routed = |message: &str| {
        let mut status = status(&[("Routed", True, "Routed")]);
        status.conditions[0].message = message.into();
        status
    };
    assert_eq!(told(&routed(""), &routed("late")), ["Warning StartNotKept"]);
    assert_eq!(told(&EventDestinationStatus::default(), &routed("late")), ["Warning StartNotKept"]);
    assert_eq!(told(&routed("late"), &routed("late")), [""; 0]);
}
