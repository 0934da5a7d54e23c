//! Events that more destinations want than one call takes.

use super::assert_owes;
use crate::support::client::{Client, Post};
use crate::support::eventually::holds;
use crate::support::load::Posted;
use crate::support::redis::Options;
use crate::support::{Pieces, Proxy, eventually};
use posthorn::bus::routing::{self, Start};

/// More than two calls of 2,000 appends.
const WIDTH: usize = 5000;

fn uid(number: usize) -> String {
    format!("u{number:04}")
}

async fn five_thousand(pieces: &Pieces) {
    let link = pieces.link().await;
    let create = |number| {
        let (link, route) = (link.clone(), crate::support::pieces::route(&uid(number), 1, vec![]));
        async move { routing::create(&link, "default", &uid(number), &route, Start::Latest).await.unwrap() }
    };
    futures::future::join_all((0..WIDTH).map(create)).await;
}

/// Each queue holds exactly the accepted events.
fn assert_complete(pieces: &Pieces, posted: &Posted) {
    let mut read = redis::pipe();
    for number in 0..WIDTH {
        read.cmd("XLEN")
            .arg(format!("ph:{{default}}:q:{}", uid(number)))
            .cmd("HGET")
            .arg(format!("ph:{{default}}:st:{}", uid(number)))
            .arg("routed");
    }
    let found: Vec<usize> = read.query(&mut pieces.redis.connection().unwrap()).unwrap();
    assert!(
        found.iter().all(|count| *count == posted.accepted.len()),
        "{:?}",
        found.iter().position(|count| *count != posted.accepted.len())
    );
    for number in [0, 1999, 2000, 3999, 4000, WIDTH - 1] {
        assert_owes(pieces, &uid(number), posted, &|_| true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_five_thousand_destinations_is_complete_whenever_the_router_dies() {
    // A router is killed here, not the server.
    let options = Options { appendfsync: Some("everysec"), ..Options::default() };
    let pieces = Pieces::with(options, "buses: {default: {durability: {fsync: EverySecond}, backlogQuota: 123456789}}");
    five_thousand(&pieces).await;
    let ingest = pieces.ingest().await;
    let mut client = Client::new(ingest.addr);
    for (number, last) in [uid(2000), uid(4999), uid(0)].into_iter().enumerate() {
        // Killed when it sends the part of the event that begins or ends with this destination.
        let proxy = Proxy::start(pieces.redis.addr()).await;
        let mut router = pieces.router_via(&format!("redis://{}", proxy.addr)).await;
        router.line("INFO routing").await;
        proxy.stall_before(format!("\r\n{last}\r\n$9\r\n123456789\r\n").as_bytes());
        client.post_until_accepted(&Post::numbered(number as u64)).await;
        eventually("the call", async || holds(proxy.has_stalled(), || "not yet".into())).await;
        router.kill9();
        drop(proxy);
        pieces.redis.cli(&["DEL", "ph:{default}:own:router"]);
    }
    let _router = pieces.router().await;
    for number in 3..8 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    pieces.routed().await;
    assert_complete(&pieces, &Posted { accepted: client.accepted, uncertain: Vec::new() });
}
