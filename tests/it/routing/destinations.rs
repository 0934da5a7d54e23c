//! Destinations that come, change and go while events flow.

use super::{assert_owes, wanted};
use crate::support::client::{Client, Post};
use crate::support::eventually::holds;
use crate::support::load::{Load, Posted, Shape};
use crate::support::pieces::{full_name, of_type, route};
use crate::support::proxy::Mode;
use crate::support::{Pieces, Proxy, eventually};
use posthorn::bus::routing::{self, Start};
use posthorn::event::Sequence;

#[tokio::test(flavor = "multi_thread")]
async fn each_event_follows_exactly_one_generation_of_a_filter() {
    let pieces = Pieces::start();
    pieces.create("d", of_type("even"), Start::Latest).await;
    let (ingest, _router) = (pieces.ingest().await, pieces.router().await);
    let load = Load::start(ingest.addr, Shape::default());
    let mut switches = Vec::new();
    eventually("routing", async || holds(pieces.stored("d").routed > 0, || "not yet".into())).await;
    for revision in 2..40 {
        load.more(15).await;
        let before: Sequence = pieces.cursor("pos").parse().unwrap();
        pieces.update("d", revision, of_type(if revision % 2 == 0 { "odd" } else { "even" })).await;
        let after: Sequence = pieces.cursor("pos").parse().unwrap();
        switches.push((before, after));
        eventually("routing beyond the change", async || {
            let position: Sequence = pieces.cursor("pos").parse().unwrap();
            holds(position > after, || format!("{position} of {after}"))
        })
        .await;
    }
    load.more(15).await;
    let posted = load.stop().await;
    pieces.routed().await;

    // Whether an event is there tells which filter decided it.
    let queued = pieces.stored("d").queued;
    let decided = posted.accepted.iter().map(|event| {
        let taken = queued.binary_search(&event.sequence).is_ok();
        (event.sequence, if taken == (event.event_type == "even") { "even" } else { "odd" })
    });
    let decided: Vec<_> = decided.collect();
    let changes: Vec<_> = decided.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| (pair[0].0, pair[1].0)).collect();
    assert_eq!(decided[0].1, "even");
    assert_eq!(changes.len(), switches.len(), "each change takes effect once");
    for ((last, first), (before, after)) in changes.iter().zip(&switches) {
        // The last event of the old filter is at or below the position at the change, the first of the new one above it.
        assert!(last <= after && first > before, "changed between {last} and {first}, updated between {before} and {after}");
    }
    assert!(pieces.stored("d").routed == queued.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_decided_before_a_change_is_decided_again() {
    let pieces = Pieces::start();
    for uid in ["d", "e", "f"] {
        pieces.create(uid, of_type("even"), Start::Latest).await;
    }
    let ingest = pieces.ingest().await;
    let proxy = Proxy::start(pieces.redis.addr()).await;
    let mut router = pieces.router_via(&format!("redis://{}", proxy.addr)).await;
    router.line("INFO routing").await;
    // The router has decided and is about to say so; meanwhile one filter changes, one destination goes, one comes.
    proxy.set(Mode::Stall);
    let mut client = Client::new(ingest.addr);
    for number in 1..=10 {
        let event_type = if number % 2 == 0 { "even" } else { "odd" };
        client.post_until_accepted(&Post { event_type: event_type.into(), ..Post::numbered(number) }).await;
    }
    proxy.stall_before(b"event-2");
    proxy.set(Mode::Pass);
    eventually("the call", async || holds(proxy.has_stalled(), || "not yet".into())).await;
    pieces.update("d", 2, of_type("odd")).await;
    pieces.delete("f").await;
    pieces.create("g", vec![], Start::Latest).await;
    proxy.set(Mode::Pass);
    pieces.routed().await;
    let posted = Posted { accepted: client.accepted, uncertain: Vec::new() };
    // The first event may have been routed before.
    assert_eq!(
        pieces.stored("d").queued[..],
        wanted(&posted, |event| event.event_type == "odd")[1 - usize::from(pieces.stored("d").routed == 5)..]
    );
    assert_owes(&pieces, "e", &posted, &|event| event.event_type == "even");
    assert_owes(&pieces, "g", &posted, &|_| false);
    assert_eq!(pieces.redis.cli(&["EXISTS", "ph:{default}:q:f", "ph:{default}:st:f"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_made_under_traffic_begin_where_they_were_made_or_at_the_first_event() {
    let pieces = Pieces::start();
    pieces.create("witness", vec![], Start::Latest).await;
    let (ingest, _router) = (pieces.ingest().await, pieces.router().await);
    let load = Load::start(ingest.addr, Shape::default());
    let mut latest = Vec::new();
    for number in 0..20 {
        load.more(15).await;
        let uid = format!("latest-{number}");
        let start = pieces.create(&uid, vec![], Start::Latest).await;
        latest.push((uid, start));
        pieces.create(&format!("earliest-{number}"), of_type("odd"), Start::Earliest).await;
    }
    load.more(15).await;
    let posted = load.stop().await;
    pieces.routed().await;
    for (uid, start) in &latest {
        assert_eq!(pieces.stored(uid).queued, wanted(&posted, |event| event.sequence > *start), "{uid}");
        assert_owes(&pieces, uid, &posted, &|event| event.sequence > *start);
    }
    for number in 0..20 {
        assert_owes(&pieces, &format!("earliest-{number}"), &posted, &|event| event.event_type == "odd");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_deleted_under_traffic_leaves_nothing_behind_and_comes_back_as_a_new_one() {
    let pieces = Pieces::start();
    pieces.create("stays", vec![], Start::Latest).await;
    let (ingest, _router) = (pieces.ingest().await, pieces.router().await);
    let load = Load::start(ingest.addr, Shape::default());
    let mut last = Sequence::ZERO;
    for _ in 0..20 {
        last = pieces.create("goes", vec![], Start::Latest).await;
        load.more(15).await;
        pieces.delete("goes").await;
        load.more(5).await;
        assert_eq!(pieces.redis.cli(&["KEYS", "*:goes"]), "");
    }
    load.more(20).await;
    let start = pieces.create("goes", vec![], Start::Latest).await;
    assert!(start > last);
    load.more(20).await;
    let posted = load.stop().await;
    pieces.routed().await;
    assert_owes(&pieces, "stays", &posted, &|_| true);
    assert_owes(&pieces, "goes", &posted, &|event| event.sequence > start);
    assert_eq!(pieces.redis.cli(&["HGET", "ph:{default}:names", &full_name("goes")]), "goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_destinations_changed_in_a_burst_do_not_stop_routing() {
    let pieces = Pieces::start();
    let link = pieces.link().await;
    let uid = |number: usize| format!("d{number}");
    let create = |number| {
        let (link, route) = (link.clone(), route(&uid(number), 1, of_type("none")));
        async move { routing::create(&link, "default", &uid(number), &route, Start::Latest).await.unwrap() }
    };
    futures::future::join_all((0..1000).map(create)).await;
    pieces.create("witness", vec![], Start::Latest).await;
    let (ingest, _router) = (pieces.ingest().await, pieces.router().await);

    // The burst goes on until enough events that were posted during it have been routed.
    let (stop, link) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), pieces.link().await);
    let burst = (0..4).map(|part| {
        let (stop, link) = (stop.clone(), link.clone());
        tokio::spawn(async move {
            let mut revision = 1;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                revision += 1;
                for number in (part..1000).step_by(4) {
                    let changed = route(&format!("d{number}"), revision, of_type(&format!("none-{revision}")));
                    routing::update(&link, "default", &format!("d{number}"), &changed).await.unwrap();
                }
            }
            revision
        })
    });
    let burst: Vec<_> = burst.collect();
    let load = Load::start(ingest.addr, Shape::default());
    eventually("events routed during the burst", async || {
        let routed = pieces.stored("witness").routed;
        holds(routed > 200, || format!("{routed} of {}", load.count()))
    })
    .await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let rounds = futures::future::join_all(burst).await;
    assert!(rounds.into_iter().all(|revision| revision.unwrap() > 1), "each was changed at least once");
    let posted = load.stop().await;
    pieces.routed().await;
    assert_owes(&pieces, "witness", &posted, &|_| true);
    assert_owes(&pieces, "d7", &posted, &|_| false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_begins_at_a_time_gets_exactly_what_was_accepted_since() {
    let pieces = Pieces::start();
    let (ingest, _router) = (pieces.ingest().await, pieces.router().await);
    let load = Load::start(ingest.addr, Shape::default());
    load.reach(60).await;
    let now: (u64, u64) = pieces.redis.query(&redis::cmd("TIME"));
    let since = now.0 * 1000 + now.1 / 1000;
    let future = since + 1000;
    let waits = pieces.create("future", vec![], Start::Since(future)).await;
    load.more(60).await;
    let past = pieces.create("past", of_type("odd"), Start::Since(since)).await;
    eventually("events after that time", async || {
        let routed = pieces.stored("future").routed;
        load.more(5).await;
        holds(routed > 20, || routed.to_string())
    })
    .await;
    let posted = load.stop().await;
    pieces.routed().await;
    assert_eq!((past.ms, waits.ms), (since - 1, future - 1));
    assert_owes(&pieces, "past", &posted, &|event| event.sequence.ms >= since && event.event_type == "odd");
    assert_owes(&pieces, "future", &posted, &|event| event.sequence.ms >= future);
}
