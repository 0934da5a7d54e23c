//! The installation itself.

use crate::support::scene::condition;
use crate::support::tools::{helm, items, kubectl, ok};
use crate::support::{PATIENCE, Scene, eventually_within, holds, release, settings};
use std::time::Instant;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn every_role_is_ready_and_the_test_of_the_chart_passes() {
    let mut scene = Scene::open("install");
    for role in ["operator", "ingest", "router"] {
        release::ready(role, 2).await;
    }
    let begun = Instant::now();
    helm(&["test", "posthorn", "-n", &settings::release_namespace(), "--timeout=3m"]);
    scene.line.time("helm test", begun.elapsed());
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn the_samples_are_accepted_or_told_what_they_lack() {
    let mut scene = Scene::of_samples();
    let applied = kubectl(&["apply", "-k", SAMPLES]);
    // they bring their namespace with them, without the mark of what is made here
    scene.mark();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let judged = eventually_within(PATIENCE, "each sample is judged", async || {
        let samples = items(&["get", "evd", "-n", &scene.namespace]);
        let open =
            samples.iter().filter(|sample| condition(sample, "Accepted")["status"] == "Unknown" || condition(sample, "Accepted").is_null());
        let open = open.count();
        holds(open == 0 && samples.len() >= 10, || format!("{open} of {} are not", samples.len()))?;
        Ok(samples)
    })
    .await;
    for sample in &judged {
        let accepted = condition(sample, "Accepted");
        let unknown_bus = accepted["reason"] == "UnknownBus" && sample["spec"]["bus"] != "default";
        assert!(accepted["status"] == "True" || unknown_bus, "{}: {accepted}", sample["metadata"]["name"]);
    }
    scene.line.figure("samples", &judged.len().to_string());
    ok(&["delete", "-k", SAMPLES, "--timeout=120s"]);
    scene.end();
}
