//! Events arrive, in order, from pools and from workers of their own.

use crate::support::judge::{Lanes, judge, refused_nothing};
use crate::support::load::{Load, Shape};
use crate::support::{PATIENCE, Scene};
use serde_json::json;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn events_arrive_in_order_from_pools_and_from_workers_of_their_own() {
    let mut scene = Scene::open("delivery");
    let receivers = [scene.receiver("shared", &[]).await, scene.receiver("dedicated", &[]).await, scene.receiver("per-key", &[]).await];

    for (name, isolation) in [("shared", "Shared"), ("dedicated", "Dedicated")] {
        let applied = Instant::now();
        scene.destination(name, json!({}), json!({"isolation": isolation}));
        scene.ready(name).await;
        scene.line.time(&format!("{name}: apply to Ready"), applied.elapsed());
    }
    let applied = Instant::now();
    let ordering = json!({"mode": "PerKey", "keyAttribute": "source", "maxInFlight": 8});
    scene.destination("per-key", json!({}), json!({"ordering": ordering}));
    scene.ready("per-key").await;
    let first = Shape { source: format!("{}/first", scene.source), ..scene.events(1) };
    let mut accepted = Load::start(&first).finish().await.accepted;
    receivers[2].gets(PATIENCE, "the first event", |seen| seen.accepted()).await;
    scene.line.time("apply to first delivery", applied.elapsed());

    let begun = Instant::now();
    let posted = Load::start(&Shape { clients: 8, ..scene.events(250) }).finish().await;
    refused_nothing(&posted);
    scene.line.figure("accepted", &format!("{:.0}/s", posted.accepted.len() as f64 / begun.elapsed().as_secs_f64()));
    accepted.extend(posted.accepted);
    for (receiver, (name, lanes)) in receivers.iter().zip([("shared", Lanes::One), ("dedicated", Lanes::One), ("per-key", Lanes::BySource)])
    {
        let outcome = judge(&scene, name, &accepted, receiver, lanes, 0).await;
        scene.line.count(outcome.accepted, outcome.repeats);
    }
    assert_eq!(scene.value("shared", "{.status.worker.isolation}"), "Shared");
    assert_eq!(scene.value("dedicated", "{.status.worker.isolation}"), "Dedicated");
    scene.end();
}
