//! The annotation `posthorn.dev/paused`.

use crate::support::world::{SHOP, World};
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_destination_is_left_alone_while_its_numbers_go_on() {
    let mut world = World::start().await;
    let (old, new) = (Receiver::start(Behaviour::ok()).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    world.apply("billing", &old.url(), "isolation: Dedicated");
    world.ready("billing").await;
    let annotate = |world: &World, value: &str| drop(world.cluster.ok(&["annotate", "evd", "billing", "-n", SHOP, "--overwrite", value]));
    annotate(&world, "posthorn.dev/paused=true");
    world.reason("billing", "ReconciliationPaused", "Paused").await;
    let mark = world.cluster.mark();
    world.apply("billing", &new.url(), "isolation: Shared");
    world.post(1..=3).await;
    world.status("billing", "delivered", &json!(3)).await;
    let spec = &world.object("billing")["spec"];
    assert_eq!(spec["isolation"], "Shared");
    assert_eq!((old.count(), new.count()), (3, 0), "what ran goes on");
    let mut writes = world.writes_since(mark);
    writes.retain(|what, _| !what.ends_with(" leases") && what != "patch eventdestinations/status");
    assert!(writes.is_empty(), "{writes:?}");

    // nor does an operator that begins anew
    let mark = world.cluster.mark();
    world.replace_operator("").await;
    world.post(4..=6).await;
    world.status("billing", "delivered", &json!(6)).await;
    world.reason("billing", "ReconciliationPaused", "Paused").await;
    assert_eq!((old.count(), new.count()), (6, 0));
    let mut writes = world.writes_since(mark);
    writes.retain(|what, _| !what.ends_with(" leases") && what != "patch eventdestinations/status");
    assert!(writes.is_empty(), "{writes:?}");

    annotate(&world, "posthorn.dev/paused-");
    world.ready("billing").await;
    assert!(
        world.object("billing")["status"]["conditions"].as_array().unwrap().iter().all(|found| found["type"] != "ReconciliationPaused")
    );
    world.post(7..=9).await;
    world.delivered("billing", 9).await;
    assert_eq!((old.count(), new.count()), (6, 3));

    annotate(&world, "posthorn.dev/paused=true");
    world.reason("billing", "ReconciliationPaused", "Paused").await;
    let uid = world.uid("billing");
    world.cluster.delete(&["evd", "billing", "-n", SHOP]);
    assert_eq!(world.pieces.redis.cli(&["KEYS", &format!("ph:*:*:{uid}")]).trim(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_paused_from_the_beginning_gets_nothing_before_it_is_not() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let object = |name: &str| {
        json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination",
            "metadata": {"name": name, "namespace": SHOP, "annotations": {"posthorn.dev/paused": "true"}},
            "spec": {"sink": {"http": {"uri": receiver.url()}}}})
    };
    for name in ["kept", "deleted"] {
        world.cluster.create(&object(name));
        world.reason(name, "ReconciliationPaused", "Paused").await;
        assert!(world.snapshot(&world.uid(name)).await.route.is_none());
    }
    world.cluster.delete(&["evd", "deleted", "-n", SHOP]);
    world.cluster.ok(&["annotate", "evd", "kept", "-n", SHOP, "posthorn.dev/paused-"]);
    world.ready("kept").await;
}
