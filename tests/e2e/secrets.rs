//! A Secret that changes reaches the worker that runs.

use crate::support::judge::{Lanes, judge};
use crate::support::load::Load;
use crate::support::tools::apply;
use crate::support::{PATIENCE, Scene};
use serde_json::json;
use std::time::Instant;

const OLD: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZC0=";
const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldy0=";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn a_rotated_secret_reaches_the_running_worker_and_what_waited_for_it_is_delivered() {
    let mut scene = Scene::open("secrets");
    for (name, isolation) in [("shared", "Shared"), ("dedicated", "Dedicated")] {
        let secret = |signing: &str, key: &str| {
            let metadata = json!({"name": name, "namespace": scene.namespace, "labels": {"posthorn.dev/allow": "true"}});
            apply(
                &json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"signing": signing, "key": key}})
                    .to_string(),
            );
        };
        secret(OLD, "old");
        let mut receiver = scene.receiver(name, &["--secret", OLD]).await;
        let header = json!({"name": "X-Api-Key", "valueFrom": {"secretKeyRef": {"name": name, "key": "key"}}});
        let http = json!({"headers": [header], "signing": {"secretKeyRefs": [{"name": name, "key": "signing"}]}});
        // the second destination is not to get what the first one got
        let filters = json!([{"prefix": {"source": format!("{}/{name}/", scene.source)}}]);
        scene.destination(name, http, json!({"isolation": isolation, "filters": filters}));
        scene.ready(name).await;
        let events = |part: &str| {
            let mut shape = scene.events(20);
            shape.source = format!("{}/{name}/{part}", scene.source);
            Load::start(&shape)
        };
        let mut accepted = events("before").finish().await.accepted;
        receiver.accepts(20).await;
        let worker = scene.worker(name);

        receiver.restart(&["--secret", NEW]).await;
        accepted.extend(events("after").finish().await.accepted);
        scene.shows(name, "Halted").await;
        let changed = Instant::now();
        secret(NEW, "new");
        let is_new = |seen: &posthorn::receiver::Seen| seen.accepted() && seen.header("x-api-key") == Some("new");
        receiver.gets(PATIENCE, "a request with the new key and a signature by it", is_new).await;
        scene.line.time(&format!("{name}: Secret to delivery"), changed.elapsed());
        let outcome = judge(&scene, name, &accepted, &receiver, Lanes::One, 0).await;
        scene.line.count(outcome.accepted, outcome.repeats);
        assert_eq!(scene.worker(name), worker, "the same pod, not started again");
    }
    scene.end();
}
