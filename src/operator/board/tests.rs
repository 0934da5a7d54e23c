use super::*;
use crate::api::status::WorkerStatus;
use crate::plan::{Route, RouteState};

fn key(name: &str) -> Key {
    Key { namespace: "default".into(), name: name.into() }
}

fn route(rev: i64) -> Route {
    Route {
        owner: String::new(),
        rev,
        namespace: "default".into(),
        name: "a".into(),
        created: "2026-01-02T03:04:05Z".into(),
        sink_uri: String::new(),
        filters: Vec::new(),
        state: RouteState::Open,
        suspend: false,
        dead_letter_max_age: Duration::ZERO,
        limit: None,
        dead_letters_to: None,
        unresolved: None,
    }
}

fn reconciled(uid: &str, generation: i64) -> Reconciled {
    let worker = WorkerStatus { isolation: None, name: Some("pool-0".into()) };
    let outcome = Outcome::Applied(Applied { route: route(generation), plan: Some("p".into()), worker });
    Reconciled { uid: uid.into(), generation, bus: "default".into(), outcome, status: EventDestinationStatus::default() }
}

fn board() -> Board {
    Board::new(["default".to_owned()])
}

fn seen(rev: i64) -> Snapshot {
    Snapshot { route: Some(route(rev)), now: 1, ..Snapshot::default() }
}

fn look(board: &Board) -> Look {
    let looks = board.take_looks(10);
    assert_eq!(looks.len(), 1);
    looks.into_iter().next().expect("it is one")
}

fn changed(board: &Board) -> Vec<String> {
    let mut names: Vec<_> = futures::FutureExt::now_or_never(board.changed()).into_iter().flatten().map(|key| key.name).collect();
    names.sort();
    names
}

#[test]
fn what_was_reconciled_is_looked_at_before_it_is_told() {
    let board = board();
    board.set(key("a"), reconciled("u1", 1));
    assert!(board.facts(&key("a")).is_none());
    let first = look(&board);
    board.observed(&first, seen(1));
    assert_eq!(changed(&board), ["a"]);
    assert!(board.facts(&key("a")).is_some());
    board.set(key("a"), reconciled("u1", 2));
    board.observed(&first, seen(1));
    assert!(board.facts(&key("a")).is_none(), "a look that began before tells nothing");
    board.observed(&look(&board), seen(2));
    assert_eq!(board.facts(&key("a")).map(|(entry, _)| entry.generation), Some(2));
    board.set_storage("default", Storage::Unreachable { message: "refused".into(), since: Timestamp::UNIX_EPOCH });
    board.set(key("a"), reconciled("u1", 3));
    assert!(board.facts(&key("a")).is_some(), "there is nothing to wait for");
}

#[test]
fn each_is_looked_at_every_ten_seconds_and_at_hints_once_a_second() {
    let board = board();
    board.set(key("a"), reconciled("u1", 1));
    let start = Instant::now();
    let taken = |at| board.take_looks_at(10, at).len();
    assert_eq!(taken(start), 1);
    board.told_at("u1", start);
    board.told_at("u1", start);
    board.told_at("nobody", start);
    assert_eq!((taken(start), taken(start + HINT)), (0, 1));
    let looks: usize = (1..=1000).map(|step| taken(start + HINT + Duration::from_millis(step * 100))).sum();
    assert_eq!(looks, 10, "in 100 s");
    board.look_at_all(&["default".to_owned()]);
    assert_eq!(taken(Instant::now()), 1);
}

#[test]
fn looks_at_many_are_spread_evenly() {
    let board = board();
    for number in 0..1000 {
        board.set(key(&format!("d{number}")), reconciled(&format!("u{number}"), 1));
    }
    let start = Instant::now();
    assert_eq!(board.take_looks_at(600, start).len(), 600);
    assert_eq!(board.take_looks_at(600, start).len(), 400, "all at once when they are new");
    for second in 1..=20 {
        let due = board.take_looks_at(1000, start + Duration::from_secs(second)).len();
        assert!((50..=150).contains(&due), "{due} in second {second}");
    }
}

#[test]
fn what_did_not_change_marks_nothing() {
    let board = board();
    board.set(key("a"), reconciled("u1", 1));
    let first = look(&board);
    board.observed(&first, seen(1));
    assert_eq!(changed(&board), ["a"]);
    board.observed(&first, Snapshot { now: 2, ..seen(1) });
    assert_eq!(changed(&board), [""; 0]);
    board.set(key("a"), reconciled("u1", 1));
    assert_eq!(changed(&board), [""; 0], "the same outcome");
    board.observed(&look(&board), Snapshot { backlog: 1, ..seen(1) });
    assert_eq!(changed(&board), ["a"]);
    board.worker_changed("pool-1");
    assert_eq!(changed(&board), [""; 0]);
    board.worker_changed("pool-0");
    assert_eq!(changed(&board), ["a"]);
    board.set_storage("default", Storage::Unknown);
    assert_eq!(changed(&board), [""; 0]);
}

#[test]
fn a_route_that_is_not_as_applied_asks_for_a_reconcile_once() {
    let board = board();
    let next = || futures::FutureExt::now_or_never(board.next_repair());
    board.set(key("a"), reconciled("u1", 1));
    board.observed(&look(&board), seen(1));
    assert_eq!(next(), None);
    board.look_at_all(&["default".to_owned()]);
    let again = look(&board);
    board.observed(&again, Snapshot::default());
    board.observed(&again, Snapshot::default());
    assert_eq!((next(), next()), (Some(key("a")), None));
    board.set(key("a"), reconciled("u1", 1));
    board.observed(&look(&board), Snapshot::default());
    assert_eq!(next(), Some(key("a")), "it did not help");
}

#[test]
fn an_object_made_again_inherits_nothing() {
    let board = board();
    board.set(key("a"), reconciled("u1", 1));
    board.observed(&look(&board), Snapshot { plan: Some("p".into()), ..seen(1) });
    board.written(&key("a"), "u1", EventDestinationStatus { backlog: Some(1), ..EventDestinationStatus::default() });
    assert_eq!(board.reported_plan("u1").as_deref(), Some("p"));
    board.set(key("a"), reconciled("u1", 2));
    assert_eq!(board.get(&key("a")).and_then(|entry| entry.status.backlog), Some(1), "we know better than a watch what we wrote");
    board.set(key("a"), reconciled("u2", 1));
    board.written(&key("a"), "u1", EventDestinationStatus { backlog: Some(2), ..EventDestinationStatus::default() });
    let entry = board.get(&key("a")).expect("it is there");
    assert_eq!((entry.snapshot, entry.status.backlog), (None, None));
    assert_eq!(board.reported_plan("u1"), None);
    board.remove(&key("a"));
    assert_eq!(changed(&board), ["a"]);
    assert!(board.get(&key("a")).is_none() && board.take_looks(10).is_empty());
}

#[test]
fn a_bus_that_is_not_configured_is_not_looked_at() {
    let board = board();
    let outcome = Outcome::Rejected { reason: "UnknownBus", message: "no such bus".into() };
    board.set(key("a"), Reconciled { bus: "other".into(), outcome, ..reconciled("u1", 1) });
    board.look_at_all(&["default".to_owned()]);
    board.told("u1");
    assert_eq!(changed(&board), ["a"]);
    assert!(board.facts(&key("a")).is_some());
}

#[test]
fn an_object_that_can_no_longer_be_read_is_looked_at_as_before() {
    let board = board();
    board.set(key("a"), reconciled("u1", 1));
    board.observed(&look(&board), seen(1));
    let outcome = Outcome::Rejected { reason: "InvalidSpec", message: "cannot be read".into() };
    board.set(key("a"), Reconciled { bus: String::new(), outcome, ..reconciled("u1", 2) });
    board.observed(&look(&board), Snapshot { backlog: 3, ..seen(1) });
    let entry = board.get(&key("a")).expect("it is there");
    assert_eq!((entry.bus.as_str(), entry.snapshot.map(|snapshot| snapshot.backlog)), ("default", Some(3)));
}
