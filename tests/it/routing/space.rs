//! A bus that may take only so much of Redis: retention, quotas, shedding.

use super::{assert_owes, wanted};
use crate::support::client::Client;
use crate::support::eventually::{eventually_within, holds};
use crate::support::load::{Load, Posted, Shape};
use crate::support::pieces::{Ingest, metric, of_type};
use crate::support::redis::Options;
use crate::support::{History, Pieces, Posthorn, eventually};
use posthorn::bus::routing::Start;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use std::time::Duration;

/// A server of so many MiB. It need not survive a crash here, so it is spared the fsync.
fn small(mib: u64) -> Options {
    Options { maxmemory: mib << 20, appendfsync: Some("everysec"), ..Options::default() }
}

fn bus(rest: &str) -> String {
    format!("buses: {{default: {{durability: {{fsync: EverySecond}}, {rest}}}}}")
}

/// Every role, and receivers for these destinations.
struct Running {
    pieces: Pieces,
    ingest: Ingest,
    router: Posthorn,
    _worker: Posthorn,
    receivers: Vec<(String, Receiver)>,
}

impl Running {
    async fn start(options: Options, settings: &str, uids: &[&str]) -> Running {
        let pieces = Pieces::with(options, settings);
        let mut receivers = Vec::new();
        for uid in uids {
            let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
            pieces.create(uid, vec![], Start::Latest).await;
            pieces.plan(uid, &receiver.url());
            receivers.push(((*uid).to_owned(), receiver));
        }
        let (ingest, router, worker) = (pieces.ingest().await, pieces.router().await, pieces.worker().await);
        let running = Running { pieces, ingest, router, _worker: worker, receivers };
        // Until its worker has come, everybody is slow.
        eventually("the worker", async || {
            let idle = |uid: &&str| running.pieces.redis.cli(&["HGET", &format!("ph:{{default}}:st:{uid}"), "state"]) == "Idle";
            holds(uids.iter().all(idle), || "not yet".into())
        })
        .await;
        running
    }

    fn dead(&self, uid: &str, dead: bool) {
        let (_, receiver) = self.receivers.iter().find(|(name, _)| name == uid).unwrap();
        receiver.set_behaviour(if dead { Behaviour::always(Answer::Status(503)) } else { Behaviour::ok() });
    }

    /// What every destination got is what was accepted, but for what was counted as dropped.
    async fn assert_kept(&self, posted: &Posted) {
        let uids: Vec<&str> = self.receivers.iter().map(|(uid, _)| uid.as_str()).collect();
        self.pieces.drained(&uids).await;
        for (uid, receiver) in &self.receivers {
            let (log, stored) = (receiver.log(), self.pieces.stored(uid));
            let history = History::strict(uid, &posted.accepted, &log, &stored);
            History { uncertain: &posted.uncertain, ..history }.assert_kept();
            let arrived: std::collections::BTreeSet<_> =
                log.iter().filter(|seen| seen.accepted()).filter_map(|seen| seen.sequence()).collect();
            assert_eq!(stored.routed, posted.accepted.len() as u64 + posted.uncertain.len() as u64, "{uid}");
            assert_eq!(arrived.len() as u64 + stored.dropped, stored.routed, "{uid}: every event that it missed is counted");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_destination_with_a_backlog_beyond_memory_stops_nobody_and_what_it_missed_is_counted() {
    let running = Running::start(small(64), &bus(""), &["dead", "fine"]).await;
    running.dead("dead", true);
    let shape = Shape { clients: 8, events: 100, size: 128 << 10, ..Shape::default() };
    let load = Load::start(running.ingest.addr, shape);
    // 100 MiB, as fast as it goes: more than Redis may hold.
    let posted = load.finish().await;
    eventually("the neighbour", async || {
        let settled = running.pieces.stored("fine").settled;
        holds(settled == 800, || settled.to_string())
    })
    .await;
    assert!(running.pieces.stored("dead").dropped > 0);
    assert!(metric(running.ingest.admin, "posthorn_ingest_events_total{result=\"Accepted\"}").await > 0.0);
    running.dead("dead", false);
    running.assert_kept(&posted).await;
    assert_eq!(running.pieces.stored("fine").dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_dead_destinations_share_what_there_is_and_stop_nobody() {
    let dead = ["dead-0", "dead-1", "dead-2", "dead-3", "dead-4", "dead-5"];
    let uids = [&dead[..], &["fine"]].concat();
    let running = Running::start(small(64), &bus(""), &uids).await;
    dead.iter().for_each(|uid| running.dead(uid, true));
    // One after the other, so that each may be refused for a moment but none for good.
    let shape = Shape { clients: 4, events: 150, size: 64 << 10, ..Shape::default() };
    let mut posted = Load::start(running.ingest.addr, shape).finish().await;
    eventually("the neighbour", async || {
        let settled = running.pieces.stored("fine").settled;
        holds(settled == posted.accepted.len() as u64, || settled.to_string())
    })
    .await;
    assert_eq!(running.pieces.stored("fine").dropped, 0);
    // It goes on like this.
    let mut client = Client::of_bus(running.ingest.addr, "default");
    for number in 0..50 {
        let post = crate::support::client::Post { data: vec![b'x'; 64 << 10].into(), ..crate::support::client::Post::numbered(number) };
        client.post_until_accepted(&post).await;
    }
    posted.accepted.append(&mut client.accepted);
    dead.iter().for_each(|uid| running.dead(uid, false));
    running.assert_kept(&posted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_at_its_quota_waits_in_the_bus_and_gets_everything_later() {
    let running = Running::start(Options::default(), &bus("backlogQuota: 256Ki"), &["slow", "fine"]).await;
    running.dead("slow", true);
    let load = Load::start(running.ingest.addr, Shape { size: 8 << 10, ..Shape::default() });
    load.reach(300).await;
    eventually("the end of its quota", async || {
        let fills = running.pieces.redis.cli(&["HKEYS", "ph:{default}:fills"]);
        holds(fills.contains("slow"), || fills)
    })
    .await;
    let held = running.pieces.stored("slow");
    assert!(held.queued.len() < 300 && !held.queued.is_empty());
    load.more(100).await;
    assert!(running.pieces.stored("slow").queued.len() <= 256 / 8);
    // It recovers while events go on.
    running.dead("slow", false);
    load.more(100).await;
    let posted = load.stop().await;
    running.assert_kept(&posted).await;
    assert_eq!(running.pieces.stored("slow").dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_no_longer_keeps_is_counted_for_who_still_waited_for_it() {
    let running = Running::start(Options::default(), &bus("backlogQuota: 512Ki, retention: {bytes: 1Mi}"), &["slow", "fine"]).await;
    running.dead("slow", true);
    let load = Load::start(running.ingest.addr, Shape { clients: 3, size: 1 << 10, pause: Duration::from_millis(5), ..Shape::default() });
    eventually("events that are dropped", async || {
        let stored = running.pieces.stored("slow");
        holds(stored.dropped > 50, || format!("{} dropped of {}", stored.dropped, load.count()))
    })
    .await;
    running.dead("slow", false);
    load.more(50).await;
    let posted = load.stop().await;
    running.assert_kept(&posted).await;
    assert_eq!(running.pieces.stored("fine").dropped, 0);
}

/// Posts events, waits until the bus has forgotten most of them, and begins at the first one that is left.
async fn is_kept(retention: &str) {
    let pieces = Pieces::with(small(256), &bus(&format!("retention: {{{retention}}}")));
    pieces.create("witness", vec![], Start::Latest).await;
    let (ingest, _router) = (pieces.ingest().await, pieces.router().await);
    let load = Load::start(ingest.addr, Shape { size: 2048, ..Shape::default() });
    load.reach(500).await;
    let posted = load.stop().await;
    eventually("retention", async || {
        let kept: u64 = pieces.redis.cli(&["MEMORY", "USAGE", "ph:{default}:in"]).parse().unwrap();
        holds(kept < 160 << 10, || format!("{kept} bytes kept"))
    })
    .await;
    pieces.routed().await;
    assert_owes(&pieces, "witness", &posted, &|_| true);
    let start = pieces.create("late", of_type("odd"), Start::Earliest).await;
    assert!(start > posted.accepted[0].sequence, "the first ones are gone");
    pieces.routed().await;
    assert_eq!(pieces.stored("late").queued, wanted(&posted, |event| event.sequence > start && event.event_type == "odd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_forgets_events_by_age_and_who_begins_at_the_first_gets_what_is_kept() {
    is_kept("age: 1s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bus_forgets_events_by_bytes_and_who_begins_at_the_first_gets_what_is_kept() {
    is_kept("bytes: 128Ki").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_refuses_when_full_sheds_nothing() {
    let settings = bus("whenFull: Refuse, backlogQuota: 100%, retention: {bytes: 1Mi}");
    let running = Running::start(small(32), &settings, &["dead", "fine"]).await;
    running.dead("dead", true);
    let load = Load::start(running.ingest.addr, Shape { size: 32 << 10, clients: 2, ..Shape::default() });
    eventually("refusals", async || holds(load.refused() > 20, || format!("{} accepted", load.count()))).await;
    let accepted = load.count();
    assert!(accepted > 300, "{accepted}");
    running.dead("dead", false);
    eventually_within(Duration::from_secs(30), "events accepted again", async || {
        holds(load.count() > accepted + 50, || format!("{} accepted", load.count()))
    })
    .await;
    let posted = load.stop().await;
    running.assert_kept(&posted).await;
    assert_eq!((running.pieces.stored("dead").dropped, running.pieces.stored("fine").dropped), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_holds_more_than_it_may_still_serves_those_who_keep_up() {
    let mut running = Running::start(small(64), &bus(""), &["dead", "fine"]).await;
    running.dead("dead", true);
    // Accepted while nobody routes; then the limit falls below what is there.
    running.router.kill9();
    running.pieces.redis.cli(&["DEL", "ph:{default}:own:router"]);
    let shape = Shape { clients: 4, events: 40, size: 64 << 10, ..Shape::default() };
    let posted = Load::start(running.ingest.addr, shape).finish().await;
    running.pieces.redis.cli(&["CONFIG", "SET", "maxmemory", "6mb"]);
    running.router = running.pieces.router().await;
    eventually("the neighbour", async || {
        let settled = running.pieces.stored("fine").settled;
        holds(settled == 160, || settled.to_string())
    })
    .await;
    assert_eq!(running.pieces.stored("fine").dropped, 0);
    running.dead("dead", false);
    running.assert_kept(&posted).await;
}
