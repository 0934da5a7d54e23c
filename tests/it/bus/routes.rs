//! The scripts `create update delete ask`.

use super::fixture::{Bus, burial, done, read_all, route, routed};
use posthorn::bus::cursor;
use posthorn::bus::routing::{self, Ask, Created, Deleted, Start, Updated};
use posthorn::event::Sequence;
use posthorn::plan::{Route, RouteState};

#[tokio::test]
async fn a_new_destination_reads_events_from_now_on() {
    let bus = Bus::start().await;
    let last = bus.post(2).await[1];
    assert_eq!(bus.create("u").await, last);
    assert_eq!((bus.generation(), bus.fill_of("u")), (1, None));
    assert_eq!((bus.queue("u").len(), bus.last_id(&bus.key("q", "u"))), (0, last));
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u"), [], "the queue takes nothing at or below its start");
    let later = bus.owe("u", 1).await;
    assert_eq!(bus.queue("u"), later);
    let loaded = bus.load().await;
    let (uid, target) = &loaded.destinations[0];
    let target = target.as_ref().unwrap();
    assert_eq!((uid.as_str(), target.start, target.fill, target.route.as_ref()), ("u", last, None, Some(&route("u"))));
    assert_eq!(routing::names(&bus.link, &bus.name).await.unwrap()["default/u"], "u");
    bus.check();
}

#[tokio::test]
async fn a_destination_that_starts_at_the_earliest_event_is_behind_the_cursor() {
    let bus = Bus::start().await;
    let posted = bus.post(2).await;
    bus.route(&[]).await;
    assert_eq!(bus.create_from("u", Start::Earliest).await, Created::New(Sequence::ZERO));
    assert_eq!(bus.fill_of("u"), Some(Sequence::ZERO));
    routed(bus.trim(posted[0]).await);
    assert_eq!(bus.load().await.trimmed, Sequence::ZERO, "what it shall read is kept");
    bus.check();
}

#[tokio::test]
async fn the_earliest_start_is_above_what_was_trimmed() {
    let bus = Bus::start().await;
    let posted = bus.post(3).await;
    bus.route(&[]).await;
    routed(bus.trim(posted[1]).await);
    assert_eq!(bus.create_from("u", Start::Earliest).await, Created::New(posted[1]));
    assert_eq!((bus.fill_of("u"), bus.field("u", "gap")), (Some(posted[1]), None));
}

#[tokio::test]
async fn a_start_that_is_no_longer_kept_is_a_gap() {
    let bus = Bus::start().await;
    let posted = bus.post(3).await;
    bus.route(&[]).await;
    routed(bus.trim(posted[1]).await);
    assert_eq!(bus.create_from("u", Start::Recorded(posted[0])).await, Created::New(posted[1]));
    assert_eq!(bus.field("u", "gap"), Some(posted[0].to_string()));
    assert!(bus.field("u", "dataLost").is_some());
}

/// Events of three milliseconds, two of each.
async fn three_moments(bus: &Bus) -> Vec<Sequence> {
    let mut posted = bus.post(2).await;
    for ms in [posted[1].ms + 1, posted[1].ms + 2] {
        for seq in 0..2 {
            bus.cli(&["XADD", &bus.bus_key("in"), &format!("{ms}-{seq}"), "v", "1", "d", "x"]);
            posted.push(Sequence { ms, seq });
        }
    }
    posted
}

#[tokio::test]
async fn a_destination_that_starts_at_a_time_gets_what_was_accepted_then_or_later() {
    let bus = Bus::start().await;
    let posted = three_moments(&bus).await;
    bus.route(&[]).await;
    let Created::New(start) = bus.create_from("u", Start::Since(posted[2].ms)).await else { panic!("it is new") };
    assert!(start > posted[1] && start < posted[2] && bus.fill_of("u") == Some(start), "{start}");
    assert_eq!((bus.field("u", "gap"), bus.field("u", "dataLost")), (None, None));
    routed(bus.trim(posted[5]).await);
    assert_eq!(bus.above(start).await.len(), 4, "what it shall read is kept");
    routed(bus.fill("u", super::fixture::NO_QUOTA).await);
    assert_eq!((bus.queue("u"), bus.fill_of("u")), (posted[2..].to_vec(), None));
    bus.check();
}

#[tokio::test]
async fn a_time_of_which_the_bus_keeps_nothing_any_more_is_a_gap_and_no_loss() {
    let bus = Bus::start().await;
    let posted = three_moments(&bus).await;
    bus.route(&[]).await;
    routed(bus.trim(posted[3]).await);
    assert_eq!(bus.create_from("u", Start::Since(posted[0].ms)).await, Created::New(posted[3]));
    assert!(bus.field("u", "gap").is_some() && bus.field("u", "dataLost").is_none());
    assert!(Start::Since(posted[0].ms).is_before(posted[3]) && !Start::Since(posted[3].ms + 1).is_before(posted[3]));
    assert_eq!(bus.create_from("all", Start::Since(0)).await, Created::New(posted[3]));
}

#[tokio::test]
async fn a_time_in_the_future_waits_for_what_is_accepted_then() {
    let bus = Bus::start().await;
    bus.post(2).await;
    bus.route(&[]).await;
    let since = bus.time() + 3_600_000;
    let Created::New(start) = bus.create_from("u", Start::Since(since)).await else { panic!("it is new") };
    assert_eq!((start.ms, bus.fill_of("u")), (since - 1, None));
    bus.post(1).await;
    bus.route(&["u"]).await;
    assert_eq!((bus.queue("u").len(), bus.count("u", "routed")), (0, 0), "the queue refuses what comes before");
    let (ms, then) = (since.to_string(), Sequence { ms: since, seq: 0 });
    bus.cli(&["XADD", &bus.bus_key("in"), &format!("{ms}-0"), "v", "1", "d", "x"]);
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u"), [then]);
    bus.check();
}

#[tokio::test]
async fn creating_twice_changes_nothing() {
    let bus = Bus::start().await;
    let start = bus.create("u").await;
    bus.owe("u", 1).await;
    let before = bus.everything();
    assert_eq!(bus.create_from("u", Start::Earliest).await, Created::Existed(start));
    assert_eq!(bus.everything(), before);
}

#[tokio::test]
async fn a_name_belongs_to_one_destination() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let before = bus.everything();
    let created = routing::create(&bus.link, &bus.name, "other", &route("u"), Start::Latest).await.unwrap();
    assert_eq!(created, Created::Taken("u".to_owned()));
    assert_eq!(bus.everything(), before);
}

#[tokio::test]
async fn a_name_that_a_lost_destination_left_is_free() {
    let bus = Bus::start().await;
    bus.cli(&["HSET", &bus.bus_key("names"), "default/u", "gone"]);
    bus.create("u").await;
    assert_eq!(bus.hash(&bus.bus_key("names"))["default/u"], "u");
}

#[tokio::test]
async fn a_lost_route_is_made_again_around_its_queue() {
    let bus = Bus::start().await;
    let start = bus.create("u").await;
    let owed = bus.owe("u", 2).await;
    bus.cli(&["DEL", &bus.bus_key("routes")]);
    let missed = bus.post(1).await;
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u"), owed, "without a route it gets nothing");
    assert_eq!(bus.create_from("u", Start::Recorded(start)).await, Created::New(start));
    assert_eq!((bus.queue("u"), bus.fill_of("u")), (owed.clone(), Some(owed[1])));
    routed(bus.fill("u", super::fixture::NO_QUOTA).await);
    assert_eq!(bus.queue("u"), [owed, missed].concat());
    bus.check();
}

#[tokio::test]
async fn a_lost_route_and_queue_are_made_again_and_the_loss_counted() {
    let bus = Bus::start().await;
    let start = bus.create("u").await;
    let owed = bus.owe("u", 3).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    super::fixture::settle(&tenure, &read[..1]).await;
    done(tenure.begin(owed[1], 1, false, false).await);
    bus.cli(&["DEL", &bus.bus_key("routes"), &bus.key("q", "u")]);
    assert_eq!(bus.create_from("u", Start::Recorded(start)).await, Created::New(start));
    assert_eq!((bus.count("u", "lost"), bus.fill_of("u")), (2, Some(start)));
    assert!(bus.field("u", "dataLost").is_some() && bus.trial("u", owed[1]).is_none());
    routed(bus.fill("u", super::fixture::NO_QUOTA).await);
    assert_eq!(bus.queue("u"), owed, "what the bus still keeps comes again");
    bus.check();
}

#[tokio::test]
async fn a_queue_without_its_group_gets_one() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 1).await;
    let queue = bus.key("q", "u");
    bus.cli(&["XGROUP", "DESTROY", &queue, "delivery"]);
    bus.cli(&["XGROUP", "CREATE", &queue, "foreign", "$"]);
    bus.cli(&["DEL", &bus.bus_key("routes")]);
    bus.create_from("u", Start::Recorded(Sequence::ZERO)).await;
    assert_eq!(bus.consumers("u").len(), 0, "the group is there");
    bus.check();
}

#[tokio::test]
async fn a_route_is_replaced_by_the_same_or_a_newer_revision() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let mut newer = route("u");
    newer.rev = 5;
    newer.state = RouteState::Closed;
    let update = async |route: Route| routing::update(&bus.link, &bus.name, "u", &route).await.unwrap();
    assert_eq!((update(newer.clone()).await, bus.generation()), (Updated::Done, 2));
    assert_eq!((update(newer.clone()).await, bus.generation()), (Updated::Done, 2), "the same text changes nothing");
    let before = bus.everything();
    assert_eq!(update(route("u")).await, Updated::Stale);
    assert_eq!(bus.everything(), before);
    newer.suspend = true;
    assert_eq!((update(newer.clone()).await, bus.generation()), (Updated::Done, 3));
    assert_eq!(routing::routes(&bus.link, &bus.name).await.unwrap()["u"], newer);
    let gone = routing::update(&bus.link, &bus.name, "nobody", &newer).await.unwrap();
    assert_eq!((gone, bus.generation()), (Updated::Gone, 3));
}

#[tokio::test]
async fn a_damaged_route_is_replaced() {
    let bus = Bus::start().await;
    bus.create("u").await;
    for damaged in ["{", "7", r#"{"rev":"x"}"#] {
        bus.cli(&["HSET", &bus.bus_key("routes"), "u", damaged]);
        assert!(bus.load().await.destinations[0].1.as_ref().unwrap().route.is_none());
        assert_eq!(routing::update(&bus.link, &bus.name, "u", &route("u")).await.unwrap(), Updated::Done, "{damaged}");
    }
}

#[tokio::test]
async fn a_deleted_destination_leaves_no_key() {
    let bus = Bus::start().await;
    let posted = bus.post(2).await;
    bus.route(&[]).await;
    let before = bus.keys();
    bus.create_from("u", Start::Recorded(posted[0])).await;
    routed(bus.fill("u", super::fixture::NO_QUOTA).await);
    bus.owe("u", 3).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    done(tenure.begin(read[0].entry.sequence, 1, false, false).await);
    done(tenure.bury(&burial(read[1].entry.sequence)).await);
    routed(bus.detach("u").await);
    let delete = async || routing::delete(&bus.link, &bus.name, "u", "default/u").await.unwrap();
    assert_eq!(delete().await, Deleted { backlog: 3, dead_letters: 1 });
    let generation = bus.generation();
    routed(bus.trim(Sequence::ZERO).await);
    let left: Vec<_> = bus.keys().into_iter().filter(|key| !before.contains(key) && !key.contains(":seen:")).collect();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!((delete().await, bus.generation()), (Deleted::default(), generation), "repeating it is harmless");
    assert!(bus.load().await.destinations.is_empty());
    assert_eq!(tenure.read(Sequence::ZERO, 1, 1, 0).await.unwrap(), posthorn::bus::queue::Answered::Fenced);
}

#[tokio::test]
async fn deleting_one_destination_leaves_a_namesake_alone() {
    let bus = Bus::start().await;
    bus.create("old").await;
    bus.cli(&["HSET", &bus.bus_key("names"), "default/old", "new"]);
    routing::delete(&bus.link, &bus.name, "old", "default/old").await.unwrap();
    assert_eq!(bus.hash(&bus.bus_key("names"))["default/old"], "new");
}

#[tokio::test]
async fn a_destination_that_was_made_again_inherits_nothing() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.owe("u", 2).await;
    routing::delete(&bus.link, &bus.name, "u", "default/u").await.unwrap();
    bus.create("u").await;
    assert_eq!((bus.queue("u").len(), bus.count("u", "routed"), bus.count("u", "lost")), (0, 0, 0));
    bus.check();
}

#[tokio::test]
async fn only_what_changed_since_a_generation_is_loaded_again() {
    let bus = Bus::start().await;
    bus.create("a").await;
    bus.create("b").await;
    let generation = bus.generation();
    bus.create("c").await;
    routing::delete(&bus.link, &bus.name, "a", "default/a").await.unwrap();
    let loaded = cursor::load(&bus.link, &bus.name, Some(generation)).await.unwrap();
    let changed: Vec<_> = loaded.destinations.iter().map(|(uid, target)| (uid.as_str(), target.is_some())).collect();
    assert_eq!((loaded.generation, changed), (generation + 2, vec![("c", true), ("a", false)]));
}

#[tokio::test]
async fn a_request_of_a_person_waits_for_the_worker() {
    let bus = Bus::start().await;
    bus.create("u").await;
    let tenure = bus.lease("u").await;
    let ask = async |uid, ask| routing::ask(&bus.link, &bus.name, uid, ask, "nonce").await.unwrap();
    let sequence = Sequence { ms: 5, seq: 1 };
    assert!(ask("u", Ask::Skip(sequence)).await);
    assert_eq!(tenure.renew().await.unwrap().unwrap().ask, Some((Ask::Skip(sequence), "nonce".to_owned())));
    assert!(ask("u", Ask::Retry).await);
    assert_eq!(tenure.renew().await.unwrap().unwrap().ask, Some((Ask::Retry, "nonce".to_owned())));
    let before = bus.everything();
    assert!(!ask("nobody", Ask::Retry).await);
    assert_eq!(bus.everything(), before);
}
