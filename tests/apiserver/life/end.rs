//! The end of an operator in good order.

use super::writes_of_pods;
use crate::support::it::eventually::{eventually, holds};
use crate::support::world::{SHOP, World, destination};
use posthorn::receiver::{Behaviour, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_end_amid_work_finishes_what_is_under_way_and_another_does_the_rest() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let names: Vec<String> = (0..60).map(|number| format!("d-{number}")).collect();
    let isolation = |number: usize| if number.is_multiple_of(4) { "isolation: Dedicated, suspend: true" } else { "isolation: Shared" };
    let all: Vec<String> = names.iter().enumerate().map(|(n, name)| destination(name, &receiver.url(), isolation(n))).collect();
    let second = world.operator_in("pod-2");
    world.cluster.apply(&all.join("\n---\n"));
    eventually("statuses are being written", async || {
        let written = writes_of_pods(&world.cluster).iter().filter(|(_, what)| what.starts_with("eventdestinations/status")).count();
        holds(written > 3, || written.to_string())
    })
    .await;
    let status = world.operator.terminate().await;
    assert!(status.success(), "{}", world.operator.log());
    assert!(world.operator.log().contains("released"), "{}", world.operator.log());
    world.operator = second;
    for name in &names {
        world.ready(name).await;
    }
    let mut pods: Vec<String> = writes_of_pods(&world.cluster).into_iter().map(|(pod, _)| pod).collect();
    pods.dedup();
    assert_eq!(pods, ["pod-1", "pod-2"], "the one wrote nothing after it had released the lease");
    let requests = world.cluster.requests();
    let cut = requests.iter().filter(|request| request.is_write() && request.code() >= 500).count();
    assert_eq!(cut, 0, "no write was cut off");
    let queues = world.pieces.redis.cli(&["KEYS", "ph:*:q:*"]).lines().count();
    assert_eq!(queues, names.len());
    world.cluster.ok(&["delete", "evd", "--all", "-n", SHOP, "--timeout=60s"]);
}
