//! `deletionPolicy: Discard`: at once, whatever waits and whatever is under way.

use super::{bury, destination, fill, forgotten, gone};
use crate::support::World;
use crate::support::eventually::{eventually, holds};
use crate::support::world::SHOP;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Takes requests and never answers; counts those that are under way.
struct Silent {
    url: String,
    open: Arc<AtomicUsize>,
    began: Arc<AtomicUsize>,
}

impl Silent {
    async fn start() -> Silent {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let silent = Silent { url: format!("http://{}/", listener.local_addr().unwrap()), open: Arc::default(), began: Arc::default() };
        let (open, began) = (Arc::clone(&silent.open), Arc::clone(&silent.began));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let open = Arc::clone(&open);
                open.fetch_add(1, Ordering::SeqCst);
                began.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        silent
    }

    async fn has_open(&self, count: usize) {
        eventually(&format!("{count} requests are under way"), async || {
            let open = self.open.load(Ordering::SeqCst);
            holds(open == count, || format!("{open} are"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_goes_at_once_and_an_event_says_how_much_went() {
    let world = World::start().await;
    let silent = Silent::start().await;
    for (name, isolation) in [("alone", "Dedicated"), ("pooled", "Shared")] {
        world.cluster.apply(&destination(name, &silent.url, "", "timeout: 10m", &format!("isolation: {isolation}")));
    }
    let uids = ["alone", "pooled"].map(|name| world.uid(name));
    for (name, uid) in ["alone", "pooled"].iter().zip(&uids) {
        world.ready(name).await;
        fill(&world.pieces.redis, uid, 200_000);
        bury(&world.pieces.redis, uid, 3);
    }
    silent.has_open(2).await;

    for (name, uid) in ["alone", "pooled"].iter().zip(&uids) {
        world.cluster.ok(&["delete", "evd", name, "-n", SHOP, "--timeout=60s"]);
        let told = world.told(name, "Discarded").await;
        assert_eq!(told, "removed 200000 waiting events and 3 dead letters");
        forgotten(&world, uid).await;
    }
    silent.has_open(0).await;
    assert_eq!(silent.began.load(Ordering::SeqCst), 2, "nothing more was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_made_again_under_the_same_name_inherits_nothing() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("again", &receiver.url(), "isolation: Shared");
    world.ready("again").await;
    world.post(1..=5).await;
    world.delivered("again", 5).await;
    world.status("again", "delivered", &json!(5)).await;
    let former = world.uid("again");
    fill(&world.pieces.redis, &former, 10);
    for _ in 0..3 {
        world.cluster.ok(&["delete", "evd", "again", "-n", SHOP, "--timeout=60s"]);
        world.apply("again", &receiver.url(), "isolation: Shared");
    }
    world.ready("again").await;
    assert_ne!(world.uid("again"), former);
    let before = receiver.count();
    let client = world.post(6..=8).await;
    world.delivered("again", 3).await;
    let log = receiver.log().split_off(before);
    crate::support::History::strict("shop/again", &client.accepted, &log, &world.stored("again")).assert_kept();
    world.status("again", "delivered", &json!(3)).await;
    forgotten(&world, &former).await;
    let names = world.pieces.redis.cli(&["HGETALL", "ph:{default}:names"]);
    assert_eq!(names, format!("{SHOP}/again\n{}", world.uid("again")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_after_it_cleaned_up_is_followed_by_one_that_ends_it() {
    let mut world = World::start().await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.ready("billing").await;
    let uid = world.uid("billing");
    world.replace_operator("operator.cleaned=kill@1").await;
    world.cluster.ok(&["delete", "evd", "billing", "-n", SHOP, "--wait=false"]);
    world.operator.ended().await;
    assert!(!world.object("billing")["metadata"]["deletionTimestamp"].is_null(), "our finalizer still holds it");
    world.replace_operator("").await;
    gone(&world, "billing").await;
    forgotten(&world, &uid).await;
}
