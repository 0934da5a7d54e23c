//! The script `route`.

use super::fixture::{Bus, NO_QUOTA, Step, routed};
use posthorn::bus::cursor::{Batch, Routed};
use posthorn::event::Sequence;

/// A bus with a destination and so many events that are not routed yet.
async fn bus_with(events: usize) -> (Bus, Vec<Sequence>) {
    let bus = Bus::start().await;
    bus.create("u").await;
    let posted = bus.post(events).await;
    (bus, posted)
}

async fn refused(bus: &Bus, change: impl FnOnce(&mut Step)) -> Routed<Batch> {
    let mut step = bus.step(&["u"]).await;
    change(&mut step);
    let before = bus.everything();
    let answer = bus.send(&step).await;
    assert_eq!(bus.everything(), before, "nothing was changed");
    bus.check();
    answer
}

#[tokio::test]
async fn a_batch_is_appended_unchanged_under_the_same_ids() {
    let (bus, _) = bus_with(3).await;
    bus.create("w").await;
    let more = bus.post(1).await;
    let mut step = bus.step(&["u", "w"]).await;
    step.queues[1].2 = vec![1, 3];
    step.unmatched = 2;
    let batch = routed(bus.send(&step).await);
    assert_eq!(batch, Batch { generation: 2, detached: Vec::new(), dropped: Vec::new() });
    assert_eq!(bus.entries(&bus.key("q", "u")), bus.entries(&bus.bus_key("in")));
    assert_eq!(bus.queue("w"), [more[0]], "what is not above its start is not for it");
    assert_eq!((bus.count("u", "routed"), bus.count("w", "routed")), (4, 1));
    assert_eq!((bus.position(), bus.hash(&bus.bus_key("cursor"))["unmatched"].as_str()), (more[0], "2"));
    assert!(bus.field("u", "lastMatch").is_some());
    bus.check();
}

#[tokio::test]
async fn another_token_is_refused() {
    let (bus, _) = bus_with(1).await;
    assert_eq!(refused(&bus, |step| step.token = "another".to_owned()).await, Routed::Fenced);
}

#[tokio::test]
async fn another_position_generation_or_log_is_stale() {
    let (bus, posted) = bus_with(2).await;
    let stale = Routed::Stale { position: bus.position() };
    assert_eq!(refused(&bus, |step| step.expected = posted[0]).await, stale);
    assert_eq!(refused(&bus, |step| step.generation += 1).await, stale);
    assert_eq!(refused(&bus, |step| step.generation -= 1).await, stale);
    assert_eq!(refused(&bus, |step| step.new = posted[1].next()).await, stale, "not in the log");
    routed(bus.send(&bus.step(&["u"]).await).await);
    let stale = Routed::Stale { position: posted[1] };
    assert_eq!(refused(&bus, |step| step.new = posted[1].next()).await, stale);
    assert_eq!(refused(&bus, |step| step.expected = posted[0]).await, stale);
}

#[tokio::test]
async fn a_lost_cursor_is_stale_and_comes_back_with_the_lease() {
    let (bus, posted) = bus_with(2).await;
    let step = bus.step(&["u"]).await;
    bus.cli(&["DEL", &bus.bus_key("cursor")]);
    assert_eq!(bus.send(&step).await, Routed::Stale { position: Sequence::ZERO });
    assert!(posthorn::bus::lease::lease_router(&bus.link, &bus.name, &bus.router).await.unwrap());
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u"), posted);
    bus.check();
}

#[tokio::test]
async fn routing_twice_is_the_same_as_once() {
    let (bus, posted) = bus_with(3).await;
    let step = bus.step(&["u"]).await;
    routed(bus.send(&step).await);
    let before = bus.everything();
    bus.cli(&["HSET", &bus.bus_key("cursor"), "pos", &step.expected.to_string()]);
    routed(bus.send(&step).await);
    assert_eq!(bus.everything(), before);
    assert_eq!(bus.queue("u"), posted);
    bus.check();
}

#[tokio::test]
async fn what_was_settled_does_not_come_back_when_it_is_routed_again() {
    let (bus, posted) = bus_with(2).await;
    let step = bus.step(&["u"]).await;
    routed(bus.send(&step).await);
    let tenure = bus.lease("u").await;
    let owed = super::fixture::read_all(&tenure).await;
    super::fixture::settle(&tenure, &owed).await;
    bus.cli(&["HSET", &bus.bus_key("cursor"), "pos", &step.expected.to_string()]);
    routed(bus.send(&step).await);
    assert_eq!((bus.queue("u").len(), bus.count("u", "routed")), (0, posted.len() as u64));
    bus.check();
}

#[tokio::test]
async fn a_queue_that_is_gone_is_made_again_and_refuses_no_batch() {
    let (bus, posted) = bus_with(2).await;
    bus.create("w").await;
    bus.route(&["u", "w"]).await;
    bus.cli(&["DEL", &bus.key("q", "u")]);
    let more = bus.post(2).await;
    bus.route(&["u", "w"]).await;
    assert_eq!((bus.queue("u"), bus.queue("w")), (more.clone(), more));
    assert_eq!((bus.count("u", "lost"), bus.count("w", "lost")), (posted.len() as u64, 0));
    assert!(bus.field("u", "dataLost").is_some() && bus.field("w", "dataLost").is_none());
    assert_eq!(bus.consumers("u").len(), 0, "the group is there");
    bus.check();
}

#[tokio::test]
async fn a_queue_that_was_emptied_and_lost_begins_above_the_cursor() {
    let (bus, _) = bus_with(2).await;
    let step = bus.step(&["u"]).await;
    routed(bus.send(&step).await);
    bus.cli(&["DEL", &bus.key("q", "u")]);
    let next = bus.owe("u", 1).await;
    bus.cli(&["HSET", &bus.bus_key("cursor"), "pos", &step.expected.to_string()]);
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u"), next, "what was lost and counted is not routed again");
    bus.check();
}

#[tokio::test]
async fn a_key_of_another_kind_is_no_queue() {
    let (bus, posted) = bus_with(1).await;
    bus.cli(&["DEL", &bus.key("q", "u")]);
    bus.cli(&["SET", &bus.key("q", "u"), "not a stream"]);
    bus.route(&["u"]).await;
    assert_eq!(bus.queue("u"), posted);
    bus.check();
}

#[tokio::test]
async fn a_destination_without_a_route_is_skipped() {
    let (bus, posted) = bus_with(1).await;
    bus.route(&["nobody", "u"]).await;
    assert_eq!(bus.queue("u"), posted);
    assert!(!bus.keys().iter().any(|key| key.contains("nobody")));
}

#[tokio::test]
async fn an_event_may_be_routed_in_parts_of_which_the_last_moves_the_cursor() {
    let (bus, _) = bus_with(0).await;
    bus.create("w").await;
    let posted = bus.post(1).await;
    let before = bus.position();
    let mut part = bus.step(&["u"]).await;
    (part.last, part.unmatched) = (false, 1);
    for _ in 0..2 {
        routed(bus.send(&part).await);
        assert_eq!((bus.queue("u"), bus.count("u", "routed"), bus.position()), (posted.clone(), 1, before));
    }
    let cursor = bus.hash(&bus.bus_key("cursor"));
    assert_eq!(cursor.get("unmatched"), None, "only the last part is not repeated");
    bus.route(&["w"]).await;
    assert_eq!((bus.queue("w"), bus.position()), (posted.clone(), posted[0]));
    bus.check();
}

#[tokio::test]
async fn a_queue_at_its_quota_is_detached_and_the_others_go_on() {
    let (bus, posted) = bus_with(4).await;
    bus.create("w").await;
    let step = bus.step(&["u"]).await;
    let size: usize = step.entries[..2].iter().map(|entry| entry.size()).sum();
    let mut both = bus.step(&["u", "w"]).await;
    both.queues[0].1 = size as u64;
    both.queues[1].2 = Vec::new();
    let batch = routed(bus.send(&both).await);
    assert_eq!(batch, Batch { generation: 3, detached: vec![("u".to_owned(), posted[1])], dropped: Vec::new() });
    assert_eq!((bus.queue("u"), bus.fill_of("u"), bus.position()), (posted[..2].to_vec(), Some(posted[1]), posted[3]));
    assert_eq!((bus.count("u", "routed"), bus.generation()), (2, 3));
    bus.check();
}

#[tokio::test]
async fn a_queue_that_takes_nothing_more_is_detached_where_the_batch_began() {
    let (bus, posted) = bus_with(1).await;
    bus.route(&["u"]).await;
    bus.post(1).await;
    let mut step = bus.step(&["u"]).await;
    step.queues[0].1 = 1;
    assert_eq!(routed(bus.send(&step).await).detached, [("u".to_owned(), posted[0])]);
    bus.check();
}

#[tokio::test]
async fn several_queues_are_detached_by_one_batch() {
    let (bus, posted) = bus_with(2).await;
    bus.create("w").await;
    bus.post(2).await;
    let mut step = bus.step(&["u", "w"]).await;
    step.queues.iter_mut().for_each(|queue| queue.1 = 1);
    let batch = routed(bus.send(&step).await);
    assert_eq!((batch.generation, bus.generation(), batch.detached.len()), (4, 4, 2));
    assert_eq!(batch.detached[0], ("u".to_owned(), posted[0]), "an empty queue takes one event of any size");
    bus.check();
}

#[tokio::test]
async fn what_is_there_already_never_detaches() {
    let (bus, posted) = bus_with(2).await;
    let mut step = bus.step(&["u"]).await;
    step.last = false;
    routed(bus.send(&step).await);
    (step.last, step.queues[0].1) = (true, 1);
    assert_eq!(routed(bus.send(&step).await).detached, []);
    assert_eq!((bus.queue("u"), bus.position()), (posted.clone(), posted[1]));
    bus.check();
}

#[tokio::test]
async fn the_quota_counts_what_waits_and_not_what_was_delivered() {
    let (bus, _) = bus_with(3).await;
    let size: usize = bus.step(&[]).await.entries.iter().map(|entry| entry.size()).sum();
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    let owed = super::fixture::read_all(&tenure).await;
    super::fixture::settle(&tenure, &owed).await;
    bus.post(3).await;
    let mut step = bus.step(&["u"]).await;
    step.queues[0].1 = size as u64 + 10;
    assert_eq!(routed(bus.send(&step).await).detached, []);
    assert!(step.queues[0].1 < NO_QUOTA);
    bus.check();
}
