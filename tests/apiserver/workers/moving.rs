//! A destination moves between a pool and a worker of its own, or has no worker for a while, and events go on in order.

use crate::support::load::{Load, Shape};
use crate::support::world::{SHOP, World};
use crate::support::{History, eventually, eventually::holds};
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;
use std::time::Duration;

/// A load that lasts, and leaves room for others.
pub fn calm() -> Shape {
    Shape { clients: 3, pause: Duration::from_millis(15), ..Shape::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_moves_under_load_loses_and_overtakes_nothing() {
    let (world, receiver) = (World::start().await, Receiver::start(Behaviour::ok()).await.unwrap());
    world.apply("billing", &receiver.url(), "isolation: Shared");
    world.ready("billing").await;
    let load = Load::start(world.ingest.addr, calm());
    for isolation in ["Dedicated", "Shared", "Dedicated", "Shared"] {
        load.more(100).await;
        let old = world.worker("billing");
        world.patch("billing", &json!({"isolation": isolation}));
        world.gone(&old).await;
        world.condition("billing", "WorkerAvailable", "True").await;
        assert_eq!(world.object("billing")["status"]["worker"]["isolation"], isolation);
        let new = world.worker("billing");
        assert_ne!(new, old);
        assert_eq!(world.kubelet.ready(&new, 1).await.len(), 1);
        let count = receiver.count();
        eventually("the new place delivers", async || holds(receiver.count() > count + 50, || receiver.count().to_string())).await;
    }
    let posted = load.stop().await;
    world.delivered("billing", posted.accepted.len() as u64).await;
    History::strict("shop/billing", &posted.accepted, &receiver.log(), &world.stored("billing")).assert_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_worker_of_its_own_has_no_pod_and_goes_on_in_order() {
    let (world, receiver) = (World::start().await, Receiver::start(Behaviour::ok()).await.unwrap());
    world.apply("billing", &receiver.url(), "isolation: Dedicated");
    world.ready("billing").await;
    let (load, worker) = (Load::start(world.ingest.addr, calm()), world.worker("billing"));
    for _ in 0..2 {
        load.more(50).await;
        world.patch("billing", &json!({"suspend": true}));
        assert_eq!(world.reason("billing", "WorkerAvailable", "NotWanted").await["status"], "True");
        world.kubelet.ready(&worker, 0).await;
        assert_eq!(world.reason("billing", "Delivering", "Suspended").await["status"], "False");
        let sent = receiver.count();
        load.more(50).await;
        world.ready("billing").await;
        assert_eq!(receiver.count(), sent, "nothing is sent");
        assert_eq!(world.cluster.ok(&["get", "evd", "-n", SHOP, "--field-selector", "spec.suspend=true", "-o", "name"]).lines().count(), 1);
        world.patch("billing", &json!({"suspend": false}));
        world.kubelet.ready(&worker, 1).await;
        world.reason("billing", "WorkerAvailable", "WorkerRuns").await;
    }
    let posted = load.stop().await;
    world.delivered("billing", posted.accepted.len() as u64).await;
    History::strict("shop/billing", &posted.accepted, &receiver.log(), &world.stored("billing")).assert_kept();
}
