//! From `kubectl apply` to a delivered event to `kubectl get`: nothing is played but the kubelet.

use crate::support::History;
use crate::support::world::{SHOP, World};
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_destination_gets_its_events_in_order_and_shows_it() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("billing", &receiver.url(), "isolation: Shared");
    world.apply("audit", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.cluster.ok(&["wait", "--for=condition=Ready", "--timeout=60s", "-n", SHOP, "evd/billing", "evd/audit"]);
    let client = world.post(1..=50).await;
    world.delivered("billing", 50).await;
    History::strict("shop/billing", &client.accepted, &receiver.log(), &world.stored("billing")).assert_kept();

    world.status("billing", "delivered", &json!(50)).await;
    world.reason("billing", "Delivering", "Idle").await;
    world.status("audit", "backlog", &json!(50)).await;
    world.reason("audit", "Delivering", "Retrying").await;
    let table = world.cluster.ok(&["get", "evd", "-n", SHOP]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "STATUS", "BACKLOG", "RETRIES", "DELIVERED", "DEAD", "OLDEST", "AGE"], "{table}");
    assert_eq!(rows[1][..4], ["audit", "True", "Retrying", "50"], "{table}");
    assert_eq!(rows[2][..7], ["billing", "True", "Idle", "0", "0", "50", "0"], "{table}");
    world.event("billing", "Ready").await;
}
