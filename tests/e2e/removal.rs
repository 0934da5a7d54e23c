//! The end of an installation: one that is to come back, and one for good. `hack/e2e.sh` runs these tests last.

use crate::support::judge::{Lanes, judge};
use crate::support::load::Load;
use crate::support::tools::{helm, ok, run};
use crate::support::{PATIENCE, Scene, eventually_within, holds, release, settings};
use serde_json::json;
use std::time::Instant;

const UNINSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/hack/uninstall.sh");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn an_installation_that_is_made_again_goes_on_with_what_was_kept() {
    let mut scene = Scene::open("reinstall");
    let mut receivers = Vec::new();
    for (name, isolation) in [("shared", "Shared"), ("dedicated", "Dedicated")] {
        receivers.push((name, scene.receiver(name, &[]).await));
        scene.destination(name, json!({}), json!({"isolation": isolation, "delivery": {"retry": -1, "backoffMax": "2s"}}));
        scene.ready(name).await;
    }
    receivers.iter_mut().for_each(|(_, receiver)| receiver.stop());
    let posted = Load::start(&scene.events(50)).finish().await;
    for (name, _) in &receivers {
        scene.shows(name, "Retrying").await;
    }

    let (namespace, begun) = (settings::release_namespace(), Instant::now());
    let values = settings::report().join("values.yaml");
    std::fs::write(&values, helm(&["get", "values", "posthorn", "-n", &namespace, "-o", "yaml"])).unwrap();
    helm(&["uninstall", "posthorn", "-n", &namespace, "--wait", "--timeout=3m"]);
    assert_eq!(scene.value("shared", "{.metadata.name}"), "shared", "the definition and its objects are kept");
    let (chart, values) = (settings::chart(), values.display().to_string());
    helm(&["install", "posthorn", &chart, "-n", &namespace, "--values", &values, "--wait", "--timeout=5m"]);
    scene.line.time("uninstalled and installed", begun.elapsed());
    for (name, receiver) in &receivers {
        receiver.run(&[]).await;
        scene.ready(name).await;
        let outcome = judge(&scene, name, &posted.accepted, receiver, Lanes::One, 0).await;
        scene.line.count(outcome.accepted, outcome.repeats);
    }
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn nothing_is_left_after_an_uninstall_in_the_documented_order() {
    let mut scene = Scene::open("uninstall");
    let mut receiver = scene.receiver("down", &[]).await;
    receiver.stop();
    for (name, isolation) in [("shared", "Shared"), ("dedicated", "Dedicated")] {
        let http = json!({"ref": {"name": "down"}});
        scene.destination(name, http, json!({"isolation": isolation, "delivery": {"retry": -1}}));
        scene.ready(name).await;
    }
    Load::start(&scene.events(20)).finish().await;
    scene.shows("dedicated", "Retrying").await;

    let (namespace, begun) = (settings::release_namespace(), Instant::now());
    let refused = run(UNINSTALL, &["--namespace", &namespace], "");
    assert!(!refused.status.success(), "it wants to be told what is to become of the destinations");
    let done = run(UNINSTALL, &["--namespace", &namespace, "--delete-destinations", "--delete-data"], "");
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    scene.line.time("uninstalled", begun.elapsed());
    eventually_within(PATIENCE, "nothing with our labels is left", async || {
        let left = release::left()?;
        holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
    let begun = Instant::now();
    ok(&["delete", "namespace", &namespace, &scene.namespace, "--timeout=180s"]);
    scene.line.time("namespaces gone", begun.elapsed());
    scene.end();
}
