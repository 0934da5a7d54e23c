//! A new version rolls out under load.

use crate::support::judge::{Lanes, drained, judge, refused_nothing};
use crate::support::load::Load;
use crate::support::tools::{helm, ok, until};
use crate::support::{PATIENCE, Receiver, Scene, eventually_within, holds, release, settings};
use serde_json::json;
use std::time::Instant;

const ROLES: [&str; 4] = ["operator", "ingest", "router", "worker"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn every_role_rolls_out_under_load_and_ingest_refuses_nothing() {
    let mut scene = Scene::open("upgrade");
    let receivers = [("shared", "Shared"), ("dedicated", "Dedicated")];
    let mut logs = Vec::new();
    for (name, isolation) in receivers {
        logs.push((name, scene.receiver(name, &[]).await));
        scene.destination(name, json!({}), json!({"isolation": isolation}));
        scene.ready(name).await;
    }
    let inside = Inside::start(&scene).await;
    let load = Load::start(&scene.stream());
    load.more(200).await;
    let (before, begun) = (ROLES.map(release::pod_names), Instant::now());
    upgrade(&scene.source);
    let namespace = settings::release_namespace();
    for role in ["operator", "ingest", "router"] {
        ok(&["rollout", "status", &format!("deployment/posthorn-{role}"), "-n", &namespace, "--timeout=300s"]);
    }
    for (role, old) in ROLES.iter().zip(&before) {
        eventually_within(PATIENCE, &format!("the pods of the {role} are new"), async || {
            let now = release::pod_names(role);
            holds(now.len() >= old.len() && now.iter().all(|name| !old.contains(name)), || format!("were {old:?}, are {now:?}"))
        })
        .await;
        release::ready(role, old.len()).await;
    }
    scene.line.time("rolled out", begun.elapsed());
    load.more(200).await;
    let posted = load.stop().await;
    refused_nothing(&posted);
    scene.line.time("longest time without a 202", posted.longest_gap);
    scene.line.figure("unreached", &posted.refusals.unreached.values().sum::<usize>().to_string());
    eprintln!("unreached: {:?}", posted.refusals.unreached);
    let unanswered = inside.end(&mut scene).await;
    scene.line.figure("tries again inside", &unanswered.to_string());
    for (name, receiver) in &logs {
        let outcome = judge(&scene, name, &posted.accepted, receiver, Lanes::One, 1).await;
        scene.line.count(outcome.accepted, outcome.repeats);
        scene.line.time(&format!("{name}: longest time without a delivery"), outcome.longest_gap);
    }
    scene.end();
}

/// A producer in a pod, that knows the Service of ingest only.
struct Inside {
    receiver: Receiver,
}

/// Its events, 100 a second: enough for the whole upgrade.
const INSIDE: u64 = 4000;

impl Inside {
    async fn start(scene: &Scene) -> Inside {
        let source = format!("{}-inside", scene.source);
        let receiver = scene.receiver("inside", &[]).await;
        scene.destination("inside", json!({}), json!({"filters": [{"exact": {"source": source}}]}));
        scene.ready("inside").await;
        let ingest = format!("http://posthorn-ingest.{}.svc", settings::release_namespace());
        let count = INSIDE.to_string();
        let args = ["send", "--ingest", &ingest, "--type", "t", "--id", "n", "--source", &source, "--count", &count, "--rate", "100/s"];
        scene.pod("sender", &args, json!({"restartPolicy": "Never"}));
        until(PATIENCE, &scene.namespace, "pod/sender", "{.status.phase}", "Running").await;
        Inside { receiver }
    }

    /// Waits for its end; everything that it sent has come once, in the order in which it was sent. How often it got no answer at first.
    async fn end(self, scene: &mut Scene) -> usize {
        until(PATIENCE, &scene.namespace, "pod/sender", "{.status.phase}", "Succeeded").await;
        drained(scene, "inside").await;
        let accepted: Vec<String> =
            self.receiver.seen().iter().filter(|seen| seen.accepted()).filter_map(|seen| seen.id().map(str::to_owned)).collect();
        let mut once = accepted.clone();
        once.dedup();
        assert!(
            once.iter().cloned().eq((1..=INSIDE).map(|number| format!("n-{number}"))),
            "{} came, {} of them once",
            accepted.len(),
            once.len()
        );
        scene.line.count(once.len(), accepted.len() - once.len());
        let log = ok(&["logs", "-n", &scene.namespace, "sender"]);
        log.lines().count() - 1
    }
}

/// `helm upgrade` to a changed value of every role, and to the next image, if there is one.
fn upgrade(mark: &str) {
    let mut values: Vec<String> = ROLES.iter().map(|role| format!("{role}.podAnnotations.e2e={mark}")).collect();
    if let Some((repository, tag)) = settings::next_image().as_deref().and_then(|image| image.rsplit_once(':')) {
        values.extend([format!("image.repository={repository}"), format!("image.tag={tag}")]);
    }
    let (namespace, chart) = (settings::release_namespace(), settings::chart());
    let mut args = vec!["upgrade", "posthorn", &chart, "-n", &namespace, "--reuse-values", "--timeout=5m"];
    args.extend(values.iter().flat_map(|value| ["--set-string", value]));
    helm(&args);
}
