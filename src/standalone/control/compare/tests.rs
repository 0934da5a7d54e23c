use super::*;
use crate::event::Sequence;
use crate::plan::RouteState;
use std::time::Duration;

const OURS: &str = "standalone/ours";

fn route(name: &str) -> Route {
    Route {
        rev: 0,
        owner: String::new(),
        namespace: "shop".into(),
        name: name.into(),
        created: String::new(),
        sink_uri: "http://receiver.example/".into(),
        filters: Vec::new(),
        state: RouteState::Open,
        suspend: false,
        dead_letter_max_age: Duration::from_secs(3600),
        limit: None,
        dead_letters_to: None,
        unresolved: None,
    }
}

fn wanted(name: &str) -> Wanted {
    Wanted { bus: "default".into(), start: Start::Latest, start_from: "Latest".into(), route: route(name) }
}

fn held(name: &str, owner: &str) -> Route {
    Route { rev: 4, owner: owner.into(), created: "then".into(), ..route(name) }
}

fn record(name: &str) -> Record {
    Record { uid: format!("uid-{name}"), bus: "default".into(), start_from: "Latest".into(), start: at(5), created: "then".into() }
}

fn at(ms: u64) -> Sequence {
    Sequence { ms, seq: 0 }
}

/// A folder, a Redis and records with one destination `a`, all in agreement, to be changed by a test.
struct World {
    wanted: BTreeMap<String, Wanted>,
    broken: Vec<String>,
    complete: bool,
    held: BTreeMap<String, Held>,
    records: BTreeMap<String, Record>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            wanted: BTreeMap::from([("shop/a".to_owned(), wanted("a"))]),
            broken: Vec::new(),
            complete: true,
            held: BTreeMap::from([("default".to_owned(), Held::default()), ("other".to_owned(), Held::default())]),
            records: BTreeMap::from([("shop/a".to_owned(), record("a"))]),
        };
        world.hold("default", "a", OURS);
        world
    }

    fn hold(&mut self, bus: &str, name: &str, owner: &str) {
        let bus = self.held.get_mut(bus).expect("a bus");
        bus.names.insert(format!("shop/{name}"), format!("uid-{name}"));
        bus.routes.insert(format!("uid-{name}"), held(name, owner));
    }

    fn want(&mut self) -> &mut Wanted {
        self.wanted.get_mut("shop/a").expect("it is wanted")
    }

    fn changes(&self) -> Vec<Change> {
        Comparison {
            wanted: &self.wanted,
            present: &|name| self.wanted.contains_key(name) || self.broken.iter().any(|broken| broken == name),
            complete: self.complete,
            held: &self.held,
            records: &self.records,
            owner: OURS,
            now: "now",
        }
        .changes(|| "uid-new".to_owned())
    }
}

fn keep(name: &str) -> Change {
    Change::Keep { name: format!("shop/{name}"), uid: format!("uid-{name}") }
}

fn create(name: &str, uid: &str, rev: i64, created: &str, start: Start) -> Change {
    let route = Route { rev, owner: OURS.into(), created: created.into(), ..route(name) };
    Change::Create { bus: "default".into(), name: format!("shop/{name}"), uid: uid.into(), route, start, start_from: "Latest".into() }
}

#[test]
fn what_agrees_is_kept() {
    assert_eq!(World::new().changes(), [keep("a")]);
}

#[test]
fn a_new_one_is_created_with_a_new_uid() {
    let mut world = World::new();
    world.wanted.insert("shop/b".into(), wanted("b"));
    assert_eq!(world.changes(), [keep("a"), create("b", "uid-new", 1, "now", Start::Latest)]);
}

#[test]
fn a_changed_one_gets_the_next_revision_and_keeps_its_birthday() {
    let mut world = World::new();
    world.want().route.suspend = true;
    let route = Route { rev: 5, owner: OURS.into(), created: "then".into(), suspend: true, ..route("a") };
    assert_eq!(world.changes(), [Change::Update { bus: "default".into(), name: "shop/a".into(), uid: "uid-a".into(), route }]);
}

#[test]
fn after_a_flush_it_is_made_again_as_it_was() {
    let mut world = World::new();
    world.held.insert("default".into(), Held::default());
    assert_eq!(world.changes(), [create("a", "uid-a", 1, "then", Start::Recorded(at(5)))]);
}

#[test]
fn without_a_record_its_start_is_asked_for_and_it_becomes_ours() {
    let mut world = World::new();
    world.records.clear();
    world.hold("default", "a", "standalone/another");
    assert_eq!(world.changes(), [create("a", "uid-a", 5, "then", Start::Latest)]);
}

#[test]
fn the_mark_of_another_standalone_alone_is_no_reason_to_write() {
    let mut world = World::new();
    world.hold("default", "a", "standalone/another");
    assert_eq!(world.changes(), [keep("a")]);
}

#[test]
fn only_ours_are_deleted_and_only_from_a_complete_folder() {
    let mut world = World::new();
    for (name, owner) in [("gone", OURS), ("broken", OURS), ("foreign", "operator"), ("another", "standalone/another"), ("old", "")] {
        world.hold("default", name, owner);
    }
    world.broken.push("shop/broken".into());
    let delete = Change::Delete { bus: "default".into(), name: "shop/gone".into(), uid: "uid-gone".into() };
    assert_eq!(world.changes(), [delete, keep("a")]);
    world.complete = false;
    assert_eq!(world.changes(), [keep("a")]);
}

#[test]
fn a_record_of_what_nobody_holds_any_more_is_forgotten() {
    let mut world = World::new();
    world.records.insert("shop/gone".into(), record("gone"));
    let delete = Change::Delete { bus: "default".into(), name: "shop/gone".into(), uid: "uid-gone".into() };
    assert_eq!(world.changes(), [delete, keep("a")]);
}

#[test]
fn what_cannot_be_changed_is_refused_and_deletes_nothing() {
    let refused = |world: &World| match &world.changes()[..] {
        [Change::Refuse { field, message, .. }] => format!("{field}: {message}"),
        other => panic!("{other:?}"),
    };
    let mut world = World::new();
    world.want().bus = "other".into();
    assert!(refused(&world).starts_with("spec.bus: bus cannot be changed (it is default)"));
    world.records.clear();
    assert!(refused(&world).starts_with("spec.bus: bus cannot be changed (it is default)"));

    let mut world = World::new();
    world.want().start_from = "Earliest".into();
    assert!(refused(&world).starts_with("spec.startFrom: startFrom cannot be changed (it was Latest)"));

    let mut world = World::new();
    world.hold("default", "a", "operator/posthorn");
    assert!(refused(&world).starts_with("metadata.name: shop/a of bus default belongs to operator/posthorn"));
}
