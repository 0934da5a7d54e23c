use super::*;
use crate::api::spec::Isolation;
use crate::api::status::WorkerStatus;
use crate::event::Sequence;
use crate::plan::Unresolved;

/// When the outcome was told, and a moment at which Redis was looked at.
const SINCE: u64 = 1_780_000_000_000;
const SEEN: u64 = 1_780_000_005_000;

fn at(ms: u64) -> Timestamp {
    status::time(ms).0
}

fn route(rev: i64) -> Route {
    Route { owner: "cluster".into(), rev, ..crate::status::tests::route() }
}

fn applied(rev: i64) -> Applied {
    let worker = WorkerStatus { isolation: Some(Isolation::Dedicated), name: Some("w".into()) };
    Applied { route: route(rev), plan: Some(format!("plan-{rev}")), worker }
}

/// A worker that runs this version, and Redis holds its route.
fn running(rev: i64, state: &str) -> Snapshot {
    Snapshot {
        owned: true,
        state: Some(state.into()),
        reported: Some(SEEN - 1000),
        plan: Some(format!("plan-{rev}")),
        start: Some(Sequence { ms: 5, seq: 0 }),
        route: Some(route(rev)),
        now: SEEN,
        ..Snapshot::default()
    }
}

fn entry(outcome: Outcome, snapshot: Option<Snapshot>) -> Entry {
    let applied = match &outcome {
        Outcome::Applied(applied) => Some(applied.clone()),
        _ => None,
    };
    Entry {
        uid: "u1".into(),
        generation: 3,
        bus: "default".into(),
        outcome,
        since: at(SINCE),
        applied,
        snapshot,
        status: EventDestinationStatus::default(),
    }
}

fn safe() -> Storage {
    Storage::Reachable { safety: Some(Safety::Safe), since: at(0) }
}

fn away() -> Storage {
    Storage::Unreachable { message: "no connection to redis: refused".into(), since: at(SEEN + 3000) }
}

/// `True Reason @generation`.
fn shown(status: &EventDestinationStatus, kind: &str) -> String {
    match status.conditions.iter().find(|condition| condition.r#type == kind) {
        Some(found) => format!("{:?} {} @{}", found.status, found.reason, found.observed_generation.unwrap_or(-1)),
        None => "none".to_owned(),
    }
}

fn found<'a>(status: &'a EventDestinationStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.r#type == kind).unwrap_or_else(|| panic!("{kind} is not there"))
}

const KINDS: [&str; 8] = ["Ready", "Accepted", "Resolved", "Routed", "WorkerAvailable", "KeepingUp", "Delivering", "StorageSafe"];

fn check(what: &str, entry: &Entry, storage: &Storage, trouble: Option<&str>, expected: [&str; 8]) {
    let status = make(entry, storage, trouble);
    assert_eq!(KINDS.map(|kind| shown(&status, kind)), expected, "{what}");
}

fn rejected() -> Outcome {
    Outcome::Rejected { reason: "BusNotAllowed", message: "the bus is not for this namespace".into() }
}

fn failed(reason: &'static str) -> Outcome {
    Outcome::Failed { reason, message: "no".into() }
}

#[test]
fn what_runs_as_applied_is_ready() {
    let fine = entry(Outcome::Applied(applied(3)), Some(running(3, "Idle")));
    let expected = [
        "True Ready @3",
        "True Accepted @3",
        "True Resolved @3",
        "True Routed @3",
        "True WorkerRuns @3",
        "True KeepingUp @3",
        "True Idle @3",
        "True Safe @3",
    ];
    check("idle", &fine, &safe(), None, expected);
    let status = make(&fine, &safe(), None);
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.worker, Some(applied(3).worker));
    assert_eq!(status.start_sequence.as_deref(), Some("0000000000000005-0000000000"));
    check("trouble that harms nothing", &fine, &safe(), Some("quota exceeded"), expected);
}

#[test]
fn a_worker_counts_once_it_runs_the_plan_that_was_applied() {
    let with = |snapshot| entry(Outcome::Applied(applied(3)), Some(snapshot));
    let ready = |what: &str, entry: &Entry, trouble: Option<&str>, expected: [&str; 3]| {
        let status = make(entry, &safe(), trouble);
        assert_eq!(["Ready", "WorkerAvailable", "Delivering"].map(|kind| shown(&status, kind)), expected, "{what}");
    };
    let none = Snapshot { route: Some(route(3)), now: SEEN, ..Snapshot::default() };
    ready("at first", &with(none.clone()), None, ["Unknown Pending @3", "Unknown Pending @3", "Unknown Pending @3"]);
    ready(
        "no node has room",
        &with(none),
        Some("0/3 nodes are available"),
        ["False WorkerUnavailable @3", "False WorkerUnavailable @3", "Unknown Pending @3"],
    );
    let gone = Snapshot { owned: false, ..running(3, "Active") };
    ready("it is gone", &with(gone.clone()), None, ["False NoWorker @3", "False NoWorker @3", "Unknown NoWorker @3"]);
    ready(
        "gone, and why",
        &with(gone),
        Some("it crashes"),
        ["False WorkerUnavailable @3", "False WorkerUnavailable @3", "Unknown NoWorker @3"],
    );
    let older = Snapshot { route: Some(route(3)), ..running(2, "Active") };
    let mut before = with(older.clone());
    before.status = make(&entry_of(2, older.clone()), &safe(), None);
    ready("it runs the version before", &before, None, ["Unknown Pending @3", "Unknown Pending @3", "True Active @2"]);
    ready("and cannot be replaced", &before, Some("quota"), ["False WorkerUnavailable @3", "False WorkerUnavailable @3", "True Active @2"]);
}

fn entry_of(generation: i64, snapshot: Snapshot) -> Entry {
    let snapshot = Snapshot { route: Some(route(generation)), ..snapshot };
    Entry { generation, ..entry(Outcome::Applied(applied(generation)), Some(snapshot)) }
}

#[test]
fn a_suspended_destination_wants_no_worker() {
    let route = Route { suspend: true, ..route(3) };
    let suspended = |snapshot: Snapshot| {
        let applied = Applied { route: route.clone(), ..applied(3) };
        entry(Outcome::Applied(applied), Some(Snapshot { route: Some(route.clone()), ..snapshot }))
    };
    for (what, snapshot, worker) in [
        ("never run", Snapshot::default(), "True NotWanted @3"),
        ("stopped", Snapshot { owned: false, ..running(3, "Active") }, "True NotWanted @3"),
        ("in a pool", running(3, "Suspended"), "True WorkerRuns @3"),
        ("not yet told", running(2, "Active"), "Unknown Pending @3"),
    ] {
        let status = make(&suspended(snapshot), &safe(), None);
        assert_eq!(shown(&status, "WorkerAvailable"), worker, "{what}");
        assert_eq!(shown(&status, "Ready").starts_with("True"), worker.starts_with("True"), "{what}");
    }
}

#[test]
fn what_it_refers_to_and_is_missing_is_named() {
    let unresolved = Unresolved { reason: "SecretNotFound".into(), message: "there is no Secret key".into() };
    let route = Route { unresolved: Some(unresolved), ..route(3) };
    let applied = Applied { route: route.clone(), plan: None, ..applied(3) };
    let entry = entry(Outcome::Applied(applied), Some(Snapshot { route: Some(route), now: SEEN, ..Snapshot::default() }));
    check(
        "unresolved",
        &entry,
        &safe(),
        None,
        [
            "False SecretNotFound @3",
            "True Accepted @3",
            "False SecretNotFound @3",
            "True Routed @3",
            "Unknown NotResolved @3",
            "True KeepingUp @3",
            "Unknown Pending @3",
            "True Safe @3",
        ],
    );
    let status = make(&entry, &safe(), None);
    let expected = "Resolved: there is no Secret key; WorkerAvailable: no worker may run it before what it refers to is found";
    assert_eq!(found(&status, "Ready").message, expected);
    assert_eq!(found(&status, "Delivering").message, "there is no Secret key");
}

#[test]
fn a_halt_makes_it_not_ready_with_its_reason() {
    let halted = Snapshot { halted: Some(("Unauthorized".into(), SEEN - 2000)), ..running(3, "Halted") };
    let status = make(&entry(Outcome::Applied(applied(3)), Some(halted)), &safe(), None);
    assert_eq!((shown(&status, "Ready"), shown(&status, "Delivering")), ("False Halted @3".into(), "False Halted @3".into()));
    assert_eq!(found(&status, "Ready").message, "Unauthorized");
    assert_eq!(found(&status, "Delivering").last_transition_time.0, at(SEEN - 2000));
}

#[test]
fn an_older_version_goes_on_under_a_spec_that_is_not_accepted() {
    let held = Snapshot { settled: 7, ..running(2, "Active") };
    let mut entry = entry(rejected(), Some(held));
    let expected = [
        "False BusNotAllowed @3",
        "False BusNotAllowed @3",
        "True Resolved @2",
        "True Routed @2",
        "True WorkerRuns @2",
        "True KeepingUp @2",
        "True Active @2",
        "True Safe @3",
    ];
    check("by Redis alone, after a start", &entry, &safe(), None, expected);
    entry.applied = Some(applied(2));
    check("as applied", &entry, &safe(), None, expected);
    let status = make(&entry, &safe(), None);
    assert_eq!((status.observed_generation, status.delivered), (Some(3), Some(7)));
    assert_eq!(found(&status, "Ready").message, "Accepted: the bus is not for this namespace");
}

#[test]
fn nothing_is_in_force_of_a_first_spec_that_is_not_accepted() {
    let entry = entry(rejected(), Some(Snapshot { now: SEEN, ..Snapshot::default() }));
    check(
        "rejected at first",
        &entry,
        &safe(),
        None,
        [
            "False BusNotAllowed @3",
            "False BusNotAllowed @3",
            "Unknown NotAccepted @3",
            "False NotAccepted @3",
            "Unknown NotAccepted @3",
            "none",
            "Unknown Pending @3",
            "True Safe @3",
        ],
    );
    assert_eq!(make(&entry, &safe(), None).backlog, None);
}

#[test]
fn what_could_not_be_applied_keeps_the_older_generation() {
    let mut entry = entry(failed("RedisUnavailable"), Some(running(2, "Active")));
    entry.status = make(&entry_of(2, running(2, "Active")), &safe(), None);
    check(
        "the route was not written",
        &entry,
        &safe(),
        None,
        [
            "False RedisUnavailable @3",
            "True Accepted @3",
            "True Resolved @2",
            "False RedisUnavailable @3",
            "True WorkerRuns @2",
            "True KeepingUp @2",
            "True Active @2",
            "True Safe @3",
        ],
    );
    assert_eq!(make(&entry, &safe(), None).observed_generation, Some(2));
    entry.outcome = failed("ApplyFailed");
    entry.snapshot = Some(Snapshot { route: Some(route(3)), ..running(2, "Active") });
    let status = make(&entry, &safe(), None);
    assert_eq!(shown(&status, "Routed"), "True Routed @3");
    assert_eq!(shown(&status, "WorkerAvailable"), "False ApplyFailed @3");
    assert_eq!(shown(&status, "Ready"), "False ApplyFailed @3");
}

#[test]
fn a_repeated_pass_that_fails_changes_nothing_of_what_runs() {
    for (before, snapshot) in [(Some(applied(3)), running(3, "Idle")), (None, running(3, "Idle"))] {
        let mut entry = entry(failed("ApplyFailed"), Some(snapshot));
        entry.applied = before;
        entry.status = make(&entry_of(3, running(3, "Idle")), &safe(), None);
        assert_eq!(make(&entry, &safe(), None), entry.status);
    }
}

#[test]
fn redis_that_does_not_answer_is_said_and_numbers_stay() {
    let mut entry = entry(Outcome::Applied(applied(3)), Some(Snapshot { backlog: 4, ..running(3, "Active") }));
    entry.status = make(&entry, &safe(), None);
    let expected = [
        "Unknown RedisUnavailable @3",
        "True Accepted @3",
        "True Resolved @3",
        "Unknown RedisUnavailable @3",
        "Unknown RedisUnavailable @3",
        "Unknown RedisUnavailable @3",
        "Unknown RedisUnavailable @3",
        "Unknown RedisUnavailable @3",
    ];
    check("away", &entry, &away(), None, expected);
    let status = make(&entry, &away(), None);
    assert_eq!((status.backlog, found(&status, "Ready").last_transition_time.0), (Some(4), at(SEEN + 3000)));
    entry.snapshot = None;
    check("away from the start", &entry, &away(), None, expected);
    assert_eq!(make(&entry, &away(), None).backlog, Some(4));
}

#[test]
fn where_redis_has_nothing_numbers_follow_and_the_start_stays() {
    let mut entry = entry(Outcome::Applied(applied(3)), Some(Snapshot { settled: 9, ..running(3, "Idle") }));
    entry.status = make(&entry, &safe(), None);
    entry.snapshot = Some(Snapshot { now: SEEN, ..Snapshot::default() });
    let status = make(&entry, &safe(), None);
    assert_eq!((status.delivered, status.start_sequence.as_deref()), (Some(0), Some("0000000000000005-0000000000")));
    assert_eq!(shown(&status, "Routed"), "False RouteMissing @3");
    entry.snapshot = Some(Snapshot { start: Some(Sequence { ms: 99, seq: 0 }), data_lost: Some(SEEN), ..running(3, "Idle") });
    let status = make(&entry, &safe(), None);
    assert_eq!(status.start_sequence.as_deref(), Some("0000000000000005-0000000000"), "written once");
    assert_eq!(shown(&status, "DataLost"), "True QueueDeleted @3");
}

#[test]
fn a_paused_object_keeps_what_was_found_of_it() {
    let mut paused = entry(Outcome::Paused, Some(running(2, "Active")));
    paused.status = make(&entry_of(2, running(2, "Active")), &safe(), None);
    let status = make(&paused, &safe(), None);
    assert_eq!(shown(&status, "ReconciliationPaused"), "True Paused @3");
    assert_eq!((shown(&status, "Ready"), shown(&status, "Accepted")), ("True Ready @2".into(), "True Accepted @2".into()));
    assert_eq!(status.observed_generation, Some(2));
    let never = entry(Outcome::Paused, Some(Snapshot::default()));
    let status = make(&never, &safe(), None);
    assert_eq!((shown(&status, "Ready"), shown(&status, "Accepted")), ("Unknown Paused @3".into(), "Unknown Paused @3".into()));
}

#[test]
fn each_concern_about_redis_is_shown_and_is_no_part_of_ready() {
    let entry = entry(Outcome::Applied(applied(3)), Some(running(3, "Idle")));
    let storage = |safety: Option<Safety>| Storage::Reachable { safety, since: at(0) };
    for (storage, expected) in [
        (storage(Some(Safety::Unverified { message: "m".into() })), "Unknown Unverified @3"),
        (storage(Some(Safety::Unsafe { reason: "EvictionPolicy", message: "m".into() })), "False EvictionPolicy @3"),
        (storage(None), "Unknown Pending @3"),
        (Storage::Unknown, "Unknown Pending @3"),
    ] {
        let status = make(&entry, &storage, None);
        assert_eq!((shown(&status, "StorageSafe").as_str(), shown(&status, "Ready").as_str()), (expected, "True Ready @3"));
    }
    let mut known = entry.clone();
    known.status = make(&entry, &safe(), None);
    assert_eq!(shown(&make(&known, &Storage::Unknown, None), "StorageSafe"), "True Safe @3", "what was found stays until the next check");
}

#[test]
fn a_time_changes_only_with_the_status_of_its_condition() {
    let mut first = entry(Outcome::Applied(applied(3)), Some(running(3, "Active")));
    first.status = make(&first, &safe(), None);
    assert_eq!(found(&first.status, "Ready").last_transition_time.0, at(SEEN));
    let later = |state: &str| Snapshot { now: SEEN + 60_000, reported: Some(SEEN + 50_000), ..running(3, state) };
    first.snapshot = Some(later("RateLimited"));
    let same = make(&first, &safe(), None);
    assert_eq!(found(&same, "Delivering").last_transition_time, found(&first.status, "Delivering").last_transition_time);
    first.snapshot = Some(later("Retrying"));
    let other = make(&first, &safe(), None);
    assert_eq!(found(&other, "Delivering").last_transition_time.0, at(SEEN + 50_000), "when Redis says that it changed");
    assert_eq!(found(&other, "Ready").last_transition_time.0, at(SEEN));
}

#[test]
fn a_status_made_again_is_the_same_bytes() {
    let mut entry = entry(Outcome::Applied(applied(3)), Some(running(3, "Retrying")));
    let first = make(&entry, &safe(), None);
    // as an API server gives it back
    entry.status = serde_json::from_value(serde_json::to_value(&first).expect("it is JSON")).expect("it is a status");
    entry.snapshot = Some(Snapshot { now: SEEN + 86_400_000, ..running(3, "Retrying") });
    let again = make(&entry, &safe(), None);
    assert_eq!(again, entry.status);
    assert_eq!(serde_json::to_string(&again).ok(), serde_json::to_string(&first).ok());
}
