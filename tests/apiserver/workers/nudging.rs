//! A changed plan reaches a running worker by the annotation of its pods, as the kubelet alone would find it far too late; and what others break
//! is repaired.

use super::moving::calm;
use crate::support::audit::Mark;
use crate::support::kubelet::Options;
use crate::support::load::Load;
use crate::support::world::{OPERATOR, Plan, RELEASE, World};
use crate::support::{eventually, eventually::holds};
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::{Value, json};

/// An installation with a kubelet that looks at a mounted Secret by itself only after 60 s: later than any test waits.
async fn world(overtaken: u64) -> World {
    let kubelet = move |options| Options { pace: 1.0, overtaken, ..options };
    World::of(Plan { kubelet: Box::new(kubelet), ..Plan::default() }).await
}

/// Changes that its worker has to know of, each reported before the next.
async fn change(world: &World, name: &str, count: u64) {
    for number in 0..count {
        world.patch(name, &json!({"delivery": {"retry": number}}));
        world.condition(name, "WorkerAvailable", "True").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_plan_reaches_the_worker_by_one_annotation() {
    let mut world = world(0).await;
    for (name, isolation) in [("billing", "Dedicated"), ("audit", "Shared"), ("search", "Shared")] {
        world.apply(name, "http://127.0.0.1:9/", &format!("isolation: {isolation}"));
    }
    for name in ["billing", "audit", "search"] {
        world.ready(name).await;
    }
    let (mark, refreshes, counted) =
        (world.cluster.mark(), world.kubelet.refreshes(), world.metric("posthorn_operator_nudges_total").await);
    for name in ["billing", "audit"] {
        change(&world, name, 3).await;
    }
    assert_eq!(world.kubelet.refreshes() - refreshes, 6, "one for each change");
    let writes = world.writes_since(mark);
    assert!((6..=8).contains(&writes["patch pods"]), "one for each change, and one more where the report took its time: {writes:?}");
    assert_eq!(world.metric("posthorn_operator_nudges_total").await - counted, writes["patch pods"] as f64);
    assert_eq!((writes["patch secrets"], writes.get("patch deployments")), (6, None), "{writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_that_overtakes_the_secret_is_repeated() {
    let world = world(2).await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.ready("billing").await;
    let (mark, refreshes) = (world.cluster.mark(), world.kubelet.refreshes());
    change(&world, "billing", 4).await;
    assert_eq!(world.kubelet.refreshes() - refreshes, 4, "one for each change");
    let overtaken: Vec<String> = annotations(&world, mark).into_iter().filter(|value| value.ends_with(".1")).collect();
    assert!(overtaken.len() >= 2, "every second annotation comes too early: {overtaken:?}");
}

/// The annotations that the operator wrote on pods.
fn annotations(world: &World, mark: Mark) -> Vec<String> {
    let requests = world.cluster.requests_since(mark);
    let of_pods = requests.iter().filter(|request| request.verb == "patch" && request.resource() == "pods" && request.user() == OPERATOR);
    let value = |object: &Value| object["metadata"]["annotations"]["posthorn.dev/plans"].as_str().map(str::to_owned);
    of_pods.filter_map(|request| value(&request.request_object)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_delete_or_edit_is_repaired_and_events_go_on() {
    let (mut world, receiver) = (World::start().await, Receiver::start(Behaviour::ok()).await.unwrap());
    world.apply("billing", &receiver.url(), "isolation: Dedicated");
    world.apply("audit", &receiver.url(), "isolation: Shared");
    world.ready("billing").await;
    world.ready("audit").await;
    let load = Load::start(world.ingest.addr, calm());
    let mut repairs = 0;
    for name in ["billing", "audit"] {
        let worker = world.worker(name);
        let as_it_should_be = spec(&world.deployment(&worker));
        for change in [
            r#"{"spec": {"replicas": 0}}"#,
            r#"{"spec": {"replicas": 3}}"#,
            r#"{"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "evil:1"}]}}}}"#,
        ] {
            world.cluster.ok(&["patch", "deployment", &worker, "-n", RELEASE, "-p", change]);
            repairs += 1;
            eventually(&format!("{change} of {worker} is undone"), async || {
                let found = spec(&world.deployment(&worker));
                holds(found == as_it_should_be, || found.to_string())
            })
            .await;
            load.more(20).await;
        }
        for kind in ["secret", "deployment"] {
            let uid = world.cluster.value(RELEASE, &format!("{kind}/{worker}"), "{.metadata.uid}");
            world.cluster.ok(&["delete", kind, &worker, "-n", RELEASE, "--wait=false"]);
            repairs += 1;
            eventually(&format!("{kind} {worker} is there again"), async || {
                let output = world.cluster.kubectl(&["get", kind, &worker, "-n", RELEASE, "-o", "jsonpath={.metadata.uid}"]);
                let found = String::from_utf8_lossy(&output.stdout).into_owned();
                holds(output.status.success() && found != uid, || found)
            })
            .await;
            load.more(20).await;
        }
        world.kubelet.ready(&worker, 1).await;
    }
    let posted = load.stop().await;
    for name in ["billing", "audit"] {
        world.delivered(name, posted.accepted.len() as u64).await;
    }
    let counted = world.metric("posthorn_operator_repairs_total{kind=\"Deployment\"}").await;
    let secrets = world.metric("posthorn_operator_repairs_total{kind=\"Secret\"}").await;
    assert_eq!((counted + secrets, secrets), (f64::from(repairs), 2.0));
}

/// What of a Deployment is ours.
fn spec(deployment: &Value) -> Value {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    json!([deployment["spec"]["replicas"], container["image"], container["command"], container["env"]])
}
