use super::*;

const POOL: Worker = Worker::Pool(0);

fn version(uid: &str, resource_version: &str, generation: Option<i64>) -> Version {
    Version { uid: uid.into(), resource_version: resource_version.into(), generation }
}

fn there(version: Version) -> Seen {
    Seen::There { version, worker: Some(POOL) }
}

/// A memory in which an object was applied and got this version.
fn applied(kind: Kind, version: Version) -> Memory {
    let mut memory = Memory::default();
    assert!(memory.begin(kind, &POOL, 1));
    assert!(!memory.end(kind, &POOL.name(), 1, Some(version)));
    memory
}

fn saw(memory: &mut Memory, kind: Kind, seen: Seen) -> bool {
    memory.saw(kind, &POOL.name(), seen).is_some()
}

#[test]
fn an_object_is_applied_again_only_if_something_else_is_wanted() {
    let mut memory = applied(Kind::Secret, version("a", "5", None));
    assert!(!memory.begin(Kind::Secret, &POOL, 1));
    assert!(!saw(&mut memory, Kind::Secret, there(version("a", "5", None))));
    assert!(!memory.begin(Kind::Secret, &POOL, 1));
    assert!(memory.begin(Kind::Secret, &POOL, 2));
}

#[test]
fn what_others_do_to_a_secret_is_seen_and_what_we_did_is_not() {
    // what was seen, whether it is a change
    let cases = [
        (there(version("a", "4", None)), false),
        (there(version("a", "5", None)), false),
        (there(version("a", "6", None)), true),
        (there(version("b", "6", None)), true),
        (Seen::Gone("6".into()), true),
        (Seen::Gone("4".into()), false),
    ];
    for (seen, changed) in cases {
        let mut memory = applied(Kind::Secret, version("a", "5", None));
        assert_eq!(saw(&mut memory, Kind::Secret, seen.clone()), changed, "{seen:?}");
        assert_eq!(memory.begin(Kind::Secret, &POOL, 1), changed, "{seen:?}");
    }
}

#[test]
fn the_status_of_a_deployment_is_no_change() {
    let mut memory = applied(Kind::Deployment, version("a", "5", Some(2)));
    assert!(!saw(&mut memory, Kind::Deployment, there(version("a", "6", Some(2)))));
    assert!(saw(&mut memory, Kind::Deployment, there(version("a", "7", Some(3)))));
    let mut memory = applied(Kind::Deployment, version("a", "5", Some(2)));
    let stranger = Seen::There { version: version("a", "6", Some(2)), worker: Some(Worker::Pool(9)) };
    assert!(saw(&mut memory, Kind::Deployment, stranger), "its labels were changed");
    let mut memory = applied(Kind::Deployment, version("a", "5", Some(1)));
    assert!(saw(&mut memory, Kind::Deployment, there(version("b", "9", Some(1)))), "it was deleted and made again");
}

#[test]
fn what_is_seen_during_an_apply_is_judged_after_it() {
    for (seen, again) in [("6", false), ("5", false), ("7", true)] {
        let mut memory = applied(Kind::Secret, version("a", "4", None));
        assert!(memory.begin(Kind::Secret, &POOL, 2));
        assert!(!saw(&mut memory, Kind::Secret, there(version("a", seen, None))));
        assert_eq!(memory.end(Kind::Secret, &POOL.name(), 2, Some(version("a", "6", None))), again, "{seen}");
    }
}

#[test]
fn an_apply_that_failed_or_was_never_answered_is_repeated() {
    let mut memory = applied(Kind::Secret, version("a", "5", None));
    assert!(memory.begin(Kind::Secret, &POOL, 2));
    assert!(memory.begin(Kind::Secret, &POOL, 1), "nobody waited for the answer");
    assert!(!memory.end(Kind::Secret, &POOL.name(), 1, None));
    assert!(memory.begin(Kind::Secret, &POOL, 1));
}

#[test]
fn what_a_new_list_lacks_was_deleted() {
    let mut memory = applied(Kind::Secret, version("a", "5", None));
    assert_eq!(memory.listed(Kind::Secret, &HashSet::from([POOL.name()])), []);
    assert_eq!(memory.listed(Kind::Deployment, &HashSet::new()), []);
    assert_eq!(memory.listed(Kind::Secret, &HashSet::new()), [POOL]);
    assert!(!memory.exists(Kind::Secret, &POOL.name()));
}

#[test]
fn objects_of_an_earlier_operator_are_known_by_their_labels() {
    let mut memory = Memory::default();
    assert!(!saw(&mut memory, Kind::Deployment, there(version("a", "5", Some(1)))));
    assert_eq!(memory.objects().count(), 1);
    assert_eq!(memory.seen_version(Kind::Deployment, &POOL.name()).unwrap().resource_version, "5");
    assert!(memory.begin(Kind::Deployment, &POOL, 1), "it is applied once");
    let mut memory = Memory::default();
    assert!(!saw(&mut memory, Kind::Deployment, there(version("a", "5", Some(1)))));
    assert!(!saw(&mut memory, Kind::Deployment, Seen::Gone("6".into())));
    assert_eq!(memory.objects().count(), 0);
}
