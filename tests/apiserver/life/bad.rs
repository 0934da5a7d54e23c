//! Objects that were stored under an older, looser definition.

use crate::support::Cluster;
use crate::support::it::eventually::{eventually, holds};
use crate::support::world::{Plan, SHOP, World};
use posthorn::api::crd;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::{Value, json};

/// A definition that takes anything.
fn loose() -> Value {
    let mut definition = crd::crd_json();
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything;
    definition["spec"]["versions"][0].as_object_mut().unwrap().remove("selectableFields");
    definition
}

fn object(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": {"name": name, "namespace": SHOP,
        "finalizers": ["posthorn.dev/delivery"]}, "spec": spec})
}

/// A cluster with objects that our definition would refuse.
async fn cluster(bad: &[(&str, Value)]) -> Cluster {
    let cluster = Cluster::bare().await;
    cluster.create_namespace(SHOP);
    cluster.define(&loose()).await;
    for (name, spec) in bad {
        cluster.create(&object(name, spec));
    }
    let strict =
        cluster.kubectl_with(&cluster.admin(), &["apply", "--server-side", "--force-conflicts", "-f", "-"], &crd::crd_json().to_string());
    assert!(strict.status.success(), "{}", String::from_utf8_lossy(&strict.stderr));
    eventually("the stricter definition is in force", async || {
        let output =
            cluster.kubectl_with(&cluster.admin(), &["create", "--dry-run=server", "-f", "-"], &object("probe", &json!({})).to_string());
        holds(!output.status.success(), || "it is accepted".to_owned())
    })
    .await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_stops_no_other_and_can_be_mended_or_deleted() {
    let http = |uri: &str| json!({"http": {"uri": uri}});
    let bad = [
        ("unknown-enum", json!({"sink": http("http://127.0.0.1:9/"), "isolation": "Weird"})),
        ("no-sink", json!({"bus": "default"})),
        ("wrong-type", json!({"sink": 5})),
        ("wrong-list", json!({"sink": http("http://127.0.0.1:9/"), "filters": "all"})),
        ("out-of-bounds", json!({"sink": http("ftp://127.0.0.1:9/"), "delivery": {"retry": -7}})),
    ];
    let world = World::of(Plan { cluster: Some(cluster(&bad).await), ..Plan::default() }).await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("good", &receiver.url(), "isolation: Shared");
    world.ready("good").await;
    for (name, _) in &bad {
        let message = world.reason(name, "Accepted", "InvalidSpec").await["message"].clone();
        assert!(message.as_str().is_some_and(|message| !message.is_empty()), "{name}");
    }
    world.post(1..=3).await;
    world.delivered("good", 3).await;

    for (name, _) in &bad[1..3] {
        world.apply(name, &receiver.url(), "isolation: Shared");
        world.ready(name).await;
    }
    for (name, _) in &bad {
        world.cluster.delete(&["evd", name, "-n", SHOP]);
    }
    world.apply("good", &receiver.url(), "isolation: Shared, filters: [{prefix: {type: com.}}]");
    world.ready("good").await;
}
