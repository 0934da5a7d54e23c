//! The end of an installation, in the documented order. `hack/e2e.sh` runs it last.

use crate::support::load::Load;
use crate::support::tools::{helm, ok};
use crate::support::{PATIENCE, Scene, eventually_within, holds, release, settings};
use serde_json::json;
use std::time::Instant;

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
    ok(&["delete", "eventdestinations", "--all", "-A", "--timeout=120s"]);
    helm(&["uninstall", "posthorn", "-n", &namespace, "--wait", "--timeout=3m"]);
    scene.line.time("uninstalled", begun.elapsed());
    eventually_within(PATIENCE, "only what is kept on purpose is left", async || {
        let left = release::left();
        let unexpected: Vec<_> = left.iter().filter(|name| !is_kept(name)).collect();
        holds(unexpected.is_empty(), || format!("{unexpected:?}"))
    })
    .await;
    let kept = release::left();
    assert!(kept.iter().any(|name| name.starts_with("CustomResourceDefinition/")), "the resource and its objects are kept: {kept:?}");
    scene.line.figure("kept", &kept.iter().map(|name| name.split('/').next().unwrap_or_default()).collect::<Vec<_>>().join(" "));

    ok(&["delete", "crd", "eventdestinations.posthorn.dev", "--timeout=120s"]);
    ok(&["delete", "namespace", &namespace, "--timeout=180s"]);
    eventually_within(PATIENCE, "nothing is left", async || {
        let left = release::left();
        holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
    scene.end();
}

/// The data of Redis and the resource outlive the release, so that an uninstall by mistake loses nothing.
fn is_kept(name: &str) -> bool {
    name.starts_with("CustomResourceDefinition/") || name.starts_with("PersistentVolumeClaim/")
}
