//! What is deleted goes, whatever it still owed.

use crate::support::load::Load;
use crate::support::tools::{items, ok};
use crate::support::{PATIENCE, Scene, eventually_within, holds, settings};
use serde_json::json;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn a_namespace_goes_with_destinations_that_still_owe_events() {
    let mut scene = Scene::open("namespace");
    let mut receiver = scene.receiver("down", &[]).await;
    receiver.stop();
    scene.destination("down", json!({}), json!({"isolation": "Dedicated", "delivery": {"retry": -1}}));
    scene.ready("down").await;
    let posted = Load::start(&scene.events(50)).finish().await;
    scene.shows("down", "Retrying").await;
    scene.line.count(posted.accepted.len(), 0);
    let begun = Instant::now();
    ok(&["delete", "namespace", &scene.namespace, "--timeout=120s"]);
    scene.line.time("gone", begun.elapsed());

    let selector = format!("posthorn.dev/destination-namespace={}", scene.namespace);
    eventually_within(PATIENCE, "its worker is gone", async || {
        let left = items(&["get", "deployments,secrets,pods", "-n", &settings::release_namespace(), "-l", &selector]);
        holds(left.is_empty(), || format!("{} objects", left.len()))
    })
    .await;
    scene.end();
}
