//! A new image of the workers, under load.

use super::moving::calm;
use crate::support::load::Load;
use crate::support::world::World;
use crate::support::{History, eventually::holds, eventually_within};
use posthorn::receiver::{Behaviour, Receiver};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_is_rolled_out_with_no_loss_and_at_most_one_repeat_of_each_lane() {
    let mut world = World::start().await;
    let names = ["billing", "audit", "search"];
    let mut receivers = Vec::new();
    for (name, isolation) in names.into_iter().zip(["Dedicated", "Shared", "Shared"]) {
        let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
        world.apply(name, &receiver.url(), &format!("isolation: {isolation}"));
        receivers.push(receiver);
    }
    for name in names {
        world.ready(name).await;
    }
    let load = Load::start(world.ingest.addr, calm());
    load.more(100).await;
    let workers: BTreeSet<String> = names.iter().map(|name| world.worker(name)).collect();
    assert_eq!(workers.len(), 2);
    let mut before = Vec::new();
    for worker in &workers {
        before.push(world.kubelet.ready(worker, 1).await.remove(0).pid);
    }
    world.restart_operator(&["--worker-image", "posthorn:next"]).await;
    for worker in &workers {
        eventually_within(Duration::from_secs(60), &format!("{worker} runs the new image"), async || {
            let deployment = world.deployment(worker);
            let (image, status) = (&deployment["spec"]["template"]["spec"]["containers"][0]["image"], &deployment["status"]);
            let current = status["observedGeneration"] == deployment["metadata"]["generation"];
            let done = ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|count| status[count] == 1);
            holds(image == "posthorn:next" && current && done, || format!("{image} {status}"))
        })
        .await;
        let pid = world.kubelet.ready(worker, 1).await.remove(0).pid;
        assert!(!before.contains(&pid));
    }
    load.more(100).await;
    let posted = load.stop().await;
    for (name, receiver) in names.into_iter().zip(&receivers) {
        world.ready(name).await;
        world.delivered(name, posted.accepted.len() as u64).await;
        let (log, stored, full_name) = (receiver.log(), world.stored(name), format!("shop/{name}"));
        History { repeats: 1, ..History::strict(&full_name, &posted.accepted, &log, &stored) }.assert_kept();
        let accepted = log.iter().filter(|seen| seen.accepted()).count();
        assert!(accepted <= posted.accepted.len() + 1, "{name}: {} repeats", accepted - posted.accepted.len());
    }
}
