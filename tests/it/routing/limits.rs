//! `spec.limits.backlog`, with a receiver that is down for a while.

use crate::support::eventually::{eventually, holds};
use crate::support::load::{Load, Shape};
use crate::support::{History, Pieces};
use posthorn::event::Sequence;
use posthorn::plan::{BacklogLimit, OnOverflow};
use posthorn::receiver::{Answer, Behaviour, Receiver};

/// Posts while the receiver is down, until events are dropped, lets it recover, and answers the sequences that arrived, rising.
async fn outage(on_overflow: OnOverflow) -> (Vec<Sequence>, Vec<Sequence>) {
    let (pieces, receiver) = (Pieces::start(), Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap());
    pieces.create_limited("u", BacklogLimit { max_events: Some(20), max_bytes: None, on_overflow }).await;
    pieces.plan("u", &receiver.url());
    let (ingest, _router, _worker) = (pieces.ingest().await, pieces.router().await, pieces.worker().await);
    let load = Load::start(ingest.addr, Shape::default());
    eventually("events that are dropped", async || {
        let stored = pieces.stored("u");
        holds(stored.dropped > 60, || format!("{} dropped of {}", stored.dropped, load.count()))
    })
    .await;
    assert!(pieces.stored("u").queued.len() <= 20);
    assert_eq!(pieces.redis.cli(&["HEXISTS", "ph:{default}:st:u", "overflow"]), "1");
    let posted = load.stop().await;
    receiver.set_behaviour(Behaviour::ok());
    pieces.drained(&["u"]).await;
    let (log, stored) = (receiver.log(), pieces.stored("u"));
    let history = History::strict("u", &posted.accepted, &log, &stored);
    History { uncertain: &posted.uncertain, ..history }.assert_kept();
    assert_eq!(stored.settled + stored.dropped, stored.routed);
    let mut arrived: Vec<_> = log.iter().filter(|seen| seen.accepted()).filter_map(|seen| seen.sequence()).collect();
    arrived.dedup();
    (posted.accepted.iter().map(|event| event.sequence).collect(), arrived)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_drop_newest_the_first_events_of_an_outage_arrive_after_it() {
    let (mut posted, arrived) = outage(OnOverflow::DropNewest).await;
    posted.sort_unstable();
    assert_eq!(arrived.len(), 20);
    assert_eq!(arrived, posted[..20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_drop_oldest_the_last_events_of_an_outage_arrive_after_it() {
    let (mut posted, arrived) = outage(OnOverflow::DropOldest).await;
    posted.sort_unstable();
    assert!(posted.ends_with(&arrived[arrived.len() - 20..]), "the newest are kept");
}
