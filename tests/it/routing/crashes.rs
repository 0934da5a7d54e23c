//! Routers that are killed, stopped, and more than one at a time.

use super::assert_owes;
use crate::support::eventually::holds;
use crate::support::load::{Load, Shape};
use crate::support::pieces::{address, metric, of_type};
use crate::support::redis::Options;
use crate::support::{Pieces, Posthorn, eventually};
use posthorn::bus::routing::Start;

/// Three destinations, one for all, one for every second event, one for none.
async fn destinations(pieces: &Pieces) {
    pieces.create("all", vec![], Start::Latest).await;
    pieces.create("even", of_type("even"), Start::Latest).await;
    pieces.create("none", of_type("none"), Start::Latest).await;
}

async fn assert_routed_once(pieces: &Pieces, load: Load) {
    let posted = load.stop().await;
    pieces.routed().await;
    assert_owes(pieces, "all", &posted, &|_| true);
    assert_owes(pieces, "even", &posted, &|event| event.event_type == "even");
    assert_owes(pieces, "none", &posted, &|_| false);
    let all = pieces.stored("all");
    assert_eq!(all.routed, pieces.cursor("accepted").parse::<u64>().unwrap(), "no event is counted twice");
    let unmatched: u64 = pieces.cursor("unmatched").parse().unwrap_or(0);
    assert_eq!(unmatched, 0, "every event matched");
}

/// Waits until routing has got past what was accepted until now.
async fn follows(pieces: &Pieces) {
    let reached = pieces.redis.cli(&["HGET", "ph:{default}:cursor", "accepted"]).parse::<u64>().unwrap();
    eventually("routing", async || {
        let routed = pieces.stored("all").routed;
        holds(routed >= reached, || format!("{routed} of {reached}"))
    })
    .await;
}

/// 1 for the router that leads.
const LEADER: &str = "posthorn_router_leader{bus=\"default\"}";

/// A metric of a router.
async fn told(router: &Posthorn, series: &str) -> f64 {
    metric(address(&router.log(), "admin_listen"), series).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_killed_again_and_again_loses_repeats_and_swaps_nothing() {
    let pieces = Pieces::start();
    destinations(&pieces).await;
    let ingest = pieces.ingest().await;
    let load = Load::start(ingest.addr, Shape::default());
    // Each with a token directory goes on at once with the lease of the one before.
    let tokens = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let mut router = pieces.router_with(&["--token-dir", &tokens.path().display().to_string()]).await;
        load.more(20 + 13 * round).await;
        router.kill9();
    }
    let _router = pieces.router_with(&["--token-dir", &tokens.path().display().to_string()]).await;
    load.more(20).await;
    assert_routed_once(&pieces, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_route_as_one_and_either_goes_on_without_the_other() {
    let pieces = Pieces::start();
    destinations(&pieces).await;
    let ingest = pieces.ingest().await;
    let mut routers = [pieces.router().await, pieces.router().await];
    let load = Load::start(ingest.addr, Shape::default());
    load.reach(100).await;
    follows(&pieces).await;
    let routes = |router: &Posthorn| router.log().contains("INFO routing");
    let first = usize::from(routes(&routers[1]));
    assert!(routes(&routers[first]) && !routes(&routers[1 - first]), "one routes, one stands by");
    let memory = "posthorn_redis_memory_used_bytes{bus=\"default\"}";
    assert!(told(&routers[first], memory).await > 0.0);
    assert_eq!(
        (told(&routers[first], LEADER).await, told(&routers[1 - first], LEADER).await, told(&routers[1 - first], memory).await),
        (1.0, 0.0, 0.0)
    );

    // Stopped beyond its lease, then going on as if nothing had happened.
    routers[first].freeze();
    routers[1 - first].line("INFO routing").await;
    load.more(50).await;
    follows(&pieces).await;
    routers[first].thaw();
    load.more(50).await;
    routers[first].line("routing was interrupted").await;
    follows(&pieces).await;
    assert_eq!((told(&routers[first], LEADER).await, told(&routers[first], memory).await), (0.0, 0.0), "another one tells it");
    assert_eq!(told(&routers[1 - first], LEADER).await, 1.0);

    // Killed; what it holds would end by itself, as above.
    routers[1 - first].kill9();
    pieces.redis.cli(&["DEL", "ph:{default}:own:router"]);
    load.more(50).await;
    follows(&pieces).await;
    assert_routed_once(&pieces, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_without_a_lease_between_them_do_no_harm() {
    let pieces = Pieces::start();
    destinations(&pieces).await;
    let ingest = pieces.ingest().await;
    let _routers = [pieces.router().await, pieces.router().await];
    let load = Load::start(ingest.addr, Shape::default());
    // Whoever routes loses the lease every few milliseconds.
    for _ in 0..150 {
        pieces.redis.cli(&["DEL", "ph:{default}:own:router"]);
        load.more(1).await;
    }
    assert_routed_once(&pieces, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_memory_refuses_the_whole_batch_and_goes_on_later() {
    let pieces = Pieces::with(Options::default(), "buses: {default: {whenFull: Refuse, backlogQuota: 1Gi, retention: {bytes: 1Gi}}}");
    destinations(&pieces).await;
    let ingest = pieces.ingest().await;
    let load = Load::start(ingest.addr, Shape::default());
    let _router = pieces.router().await;
    load.reach(100).await;
    for _ in 0..5 {
        pieces.redis.cli(&["CONFIG", "SET", "maxmemory", "1000000"]);
        let routed = pieces.stored("all").routed;
        eventually("a refusal", async || {
            let errors = pieces.redis.cli(&["INFO", "errorstats"]);
            holds(errors.contains("errorstat_OOM"), || errors)
        })
        .await;
        assert!(pieces.stored("all").routed >= routed);
        pieces.redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        pieces.redis.cli(&["CONFIG", "RESETSTAT"]);
        load.more(30).await;
        follows(&pieces).await;
    }
    assert_routed_once(&pieces, load).await;
}
