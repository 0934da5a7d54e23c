//! Several buses, some with a Redis of their own: what happens to one is nothing to the others.

use crate::support::client::{self, Post};
use crate::support::eventually::holds;
use crate::support::home::{self, Home};
use crate::support::pieces::{Pieces, of_type, plan};
use crate::support::stored::{Stored, stored, uid};
use crate::support::{Client, Posthorn, Redis, eventually};
use posthorn::bus::routing::{self, Start};
use posthorn::bus::{RedisUrl, Supervisor};
use posthorn::receiver::{Behaviour, Receiver};

/// Settings with a bus `orders` whose Redis is this one, and a bus `users` on the Redis of the installation.
fn settings(orders: &Redis) -> String {
    format!("buses:\n  orders:\n    redis: {{url: '{}'}}\n    maxEventBytes: 1Ki\n  users: {{}}\n", orders.url())
}

/// Waits until a destination has delivered so many and owes nothing.
async fn delivered(redis: &Redis, bus: &str, name: &str, count: u64) -> Stored {
    eventually(&format!("{name} of bus {bus} has delivered {count}"), async || {
        uid(redis, bus, name).ok_or("it is not there")?;
        let stored = stored(redis, bus, name);
        holds(stored.settled == count && stored.queued.is_empty(), || format!("{stored:?}"))?;
        Ok(stored)
    })
    .await
}

/// A destination of each bus, in one folder.
fn destinations(receiver: &Receiver) -> String {
    ["default", "orders", "users"].map(|bus| home::destination(bus, &receiver.url(), &format!("  bus: {bus}\n"))).concat()
}

async fn post(addr: std::net::SocketAddr, bus: &str, number: u64) {
    Client::of_bus(addr, bus).post_until_accepted(&Post::numbered(number)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_whose_redis_is_away_holds_up_no_other_and_loses_nothing() {
    let mut orders = Redis::start();
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut home = Home::with(&destinations(&receiver));
    home.write("posthorn.yaml", &settings(&orders));
    let standalone = home.start(&[]).await;
    for bus in ["default", "orders", "users"] {
        post(standalone.addr, bus, 1).await;
    }
    delivered(&home.redis(), "default", "default/default", 1).await;
    delivered(&home.redis(), "users", "default/users", 1).await;
    delivered(&orders, "orders", "default/orders", 1).await;
    assert_eq!(home.redis().cli(&["KEYS", "ph:{orders}:*"]), "");
    assert!(!orders.cli(&["KEYS", "*"]).contains("{default}"));

    orders.kill9();
    eventually("events of orders are refused", async || {
        let answer = Client::of_bus(standalone.addr, "orders").post(&Post::numbered(2)).await.map_err(|error| format!("{error:?}"))?;
        holds(answer.status == 503, || format!("{answer:?}"))
    })
    .await;
    post(standalone.addr, "default", 2).await;
    delivered(&home.redis(), "default", "default/default", 2).await;
    let ready = client::get(standalone.admin, "/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "{ready:?}");
    // what is changed meanwhile on other buses is done
    let more = home::destination("more", &receiver.url(), "  bus: users\n  startFrom: Earliest\n");
    home.write("more.yaml", &more);
    delivered(&home.redis(), "users", "default/more", 1).await;

    orders.restart();
    post(standalone.addr, "orders", 2).await;
    delivered(&orders, "orders", "default/orders", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_begins_without_a_redis_that_is_away_and_takes_it_when_it_comes() {
    let mut orders = Redis::start();
    orders.kill9();
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut home = Home::with(&destinations(&receiver));
    home.write("posthorn.yaml", &settings(&orders));
    let standalone = home.start(&[]).await;
    post(standalone.addr, "default", 1).await;
    delivered(&home.redis(), "default", "default/default", 1).await;
    orders.restart();
    eventually("the destination is made there", async || uid(&orders, "orders", "default/orders").ok_or("not yet".into())).await;
    post(standalone.addr, "orders", 1).await;
    delivered(&orders, "orders", "default/orders", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_of_a_bus_that_would_lose_events_is_refused_and_named() {
    let orders = Redis::with(crate::support::redis::Options { appendfsync: None, ..Default::default() });
    let home = Home::with("");
    home.write("posthorn.yaml", &settings(&orders));
    let mut process = home.begin(&[]);
    assert!(!process.ended().await.success());
    let log = process.log();
    assert!(log.contains("bus orders: redis keeps no append-only file"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_in_processes_of_their_own_find_the_redis_of_each_bus_and_commands_too() {
    let orders = Redis::start();
    let pieces = Pieces::with(Default::default(), &settings(&orders));
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let (ingest, _router, _worker) = (pieces.ingest().await, pieces.router().await, pieces.worker().await);
    let url: RedisUrl = orders.url().parse().unwrap();
    let link = Supervisor::start(url, "test").link().await;
    link.hello("orders").await.unwrap();
    let route = crate::support::pieces::route("u1", 1, of_type("com.example.test"));
    routing::create(&link, "orders", "u1", &route, Start::Latest).await.unwrap();
    pieces.give(&posthorn::plan::Plan { bus: "orders".into(), ..plan("u1", &receiver.url()) });
    post(ingest.addr, "orders", 1).await;
    delivered(&orders, "orders", &route.full_name(), 1).await;
    let table = Posthorn::ok(&["get", "--redis", &orders.url(), "--bus", "orders", "--all-namespaces"]);
    assert!(table.contains("u1"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_redis_of_a_bus_by_the_standalone_and_each_bus_has_its_own_limits() {
    let orders = Redis::start();
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut home = Home::with(&destinations(&receiver));
    home.write("posthorn.yaml", &settings(&orders));
    let standalone = home.start(&[]).await;
    let data = home.data().display().to_string();
    let sent = Posthorn::ok(&["send", "--data-dir", &data, "--bus", "orders", "--type", "com.example.test", "--count", "3"]);
    delivered(&orders, "orders", "default/orders", 3).await;
    let table = Posthorn::ok(&["get", "--data-dir", &data, "--bus", "orders"]);
    assert!(table.contains("orders") && !table.contains("users"), "{sent}\n{table}");
    let large = Post { data: "x".repeat(2000).into(), ..Post::numbered(9) };
    let answer = Client::of_bus(standalone.addr, "orders").post(&large).await.unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    let answer = Client::of_bus(standalone.addr, "users").post(&large).await.unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
}
