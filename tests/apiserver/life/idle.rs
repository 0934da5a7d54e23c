//! What an operator writes when there is nothing to do.

use super::looks;
use crate::support::it::eventually::{eventually, holds};
use crate::support::it::pieces::metric;
use crate::support::world::World;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_finds_all_as_it_should_be_writes_nothing() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("shared", &receiver.url(), "isolation: Shared");
    world.apply("alone", &receiver.url(), "isolation: Dedicated");
    world.ready("shared").await;
    world.ready("alone").await;
    world.post(1..=5).await;
    for name in ["shared", "alone"] {
        world.status(name, "delivered", &json!(5)).await;
        world.status(name, "backlog", &json!(0)).await;
        // the last of what these events change
        world.reason(name, "Delivering", "Idle").await;
    }

    world.operator.kill9();
    let mark = world.cluster.mark();
    world.replace_operator("").await;
    let admin = world.admin().await;
    eventually("both were reconciled", async || {
        let done = metric(admin, "posthorn_operator_reconciles_total{result=\"Applied\"}").await;
        holds(done >= 2.0, || format!("{done}"))
    })
    .await;
    looks(admin, 4).await;
    let mut writes = world.writes_since(mark);
    writes.retain(|what, _| !what.ends_with(" leases"));
    // what it found it cannot know to be as it should be: one apply of each of the two Secrets and Deployments, which changes nothing
    for (what, most) in [("patch secrets", 2), ("patch deployments", 2)] {
        assert!(writes.remove(what).unwrap_or(0) <= most, "{what}");
    }
    assert!(writes.is_empty(), "{writes:?}\n{}", world.operator.log());

    let mark = world.cluster.mark();
    // each is looked at every ten seconds
    looks(admin, 2 * 3).await;
    let mut writes = world.writes_since(mark);
    writes.retain(|what, _| !what.ends_with(" leases"));
    assert!(writes.is_empty(), "{writes:?}");
}
