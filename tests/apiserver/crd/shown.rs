//! What `kubectl` shows of the resource: explain, columns, names, selectors, status.

use super::in_namespace;
use crate::support::Cluster;
use crate::table::destination;
use posthorn::api::crd;
use serde_json::{Value, json};

const SINK: &str = "sink: {http: {uri: https://a.example/h}}";

#[test]
fn every_field_has_a_description() {
    let mut without = Vec::new();
    for part in ["spec", "status"] {
        undescribed(&crd::schema()["properties"][part], part, &mut without);
    }
    assert!(without.is_empty(), "{without:#?}");
}

fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
    if schema["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
        found.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        undescribed(property, &format!("{path}.{name}"), found);
    }
    for (name, property) in schema["items"]["properties"].as_object().into_iter().flatten() {
        undescribed(property, &format!("{path}[].{name}"), found);
    }
}

#[tokio::test]
async fn explain_reads_as_documentation() {
    let cluster = Cluster::shared().await;
    let text = cluster.until(&["explain", "eventdestination.spec.delivery"]).await;
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let delivery = &crd::schema()["properties"]["spec"]["properties"]["delivery"];
    let shown = words(&text);
    for (name, property) in delivery["properties"].as_object().unwrap() {
        assert!(text.contains(&format!("\n  {name}\t<")), "{name} is not in: {text}");
        let description = words(property["description"].as_str().unwrap());
        assert!(shown.contains(&description), "{name}: {description}: is not in: {text}");
    }
    assert!(shown.contains(&words(delivery["description"].as_str().unwrap())), "{text}");
    let whole = cluster.ok(&["explain", "evd", "--recursive"]);
    assert!(whole.contains("DESCRIPTION:\n    EventDestination says where events of a bus go"), "{whole}");
}

#[tokio::test]
async fn a_new_object_shows_that_it_waits_for_the_operator() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("shown");
    let created = cluster.create(&in_namespace(destination(SINK), &namespace));
    assert_eq!(created["spec"]["bus"], "default");
    assert_eq!(created["spec"]["delivery"]["timeout"], "15s");
    let table = cluster.ok(&["get", "evd", "-n", &namespace]);
    let cells = |line: usize| table.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(cells(0), ["NAME", "READY", "STATUS", "BACKLOG", "RETRIES", "DELIVERED", "DEAD", "OLDEST", "AGE"]);
    assert_eq!(cells(1)[..3], ["x", "Unknown", "Pending"]);
    let wide = cluster.ok(&["get", "evd", "-n", &namespace, "-o", "wide"]);
    assert!(wide.lines().next().unwrap().contains("AGE   ATTEMPT   CODE   LAST-OK   URL"), "{wide}");
    for name in ["eventdestinations", "eventdestination", "posthorn"] {
        let names = cluster.ok(&["get", name, "-n", &namespace, "-o", "name"]);
        assert_eq!(names, "eventdestination.posthorn.dev/x\n", "{name}");
    }
}

#[tokio::test]
async fn objects_are_selected_by_bus_suspend_and_isolation() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("selected");
    let specs = [("a", "bus: orders"), ("b", "suspend: true"), ("c", "isolation: Shared")];
    for (name, spec) in specs {
        let mut object = in_namespace(destination(&format!("{SINK}, {spec}")), &namespace);
        object["metadata"]["name"] = name.into();
        cluster.create(&object);
    }
    for (selector, name) in [("spec.bus=orders", "a"), ("spec.suspend=true", "b"), ("spec.isolation=Shared", "c")] {
        let found = cluster.ok(&["get", "evd", "-n", &namespace, "-o", "name", "--field-selector", selector]);
        assert_eq!(found, format!("eventdestination.posthorn.dev/{name}\n"), "{selector}");
    }
}

#[tokio::test]
async fn status_changes_by_its_subresource_only() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("status");
    cluster.create(&in_namespace(destination(SINK), &namespace));
    let patch = |more: &[&str], patch: Value| {
        let args = ["patch", "evd", "x", "-n", &namespace, "--type=merge", "-p", &patch.to_string()].map(str::to_owned);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        cluster.ok(&args);
        cluster.json(&["get", "evd", "x", "-n", &namespace])
    };
    let object = patch(&[], json!({"status": {"backlog": 7}, "spec": {"suspend": true}}));
    assert_eq!((&object["status"]["backlog"], &object["spec"]["suspend"]), (&Value::Null, &json!(true)));
    assert_eq!(object["metadata"]["generation"], 2);
    let object = patch(&["--subresource=status"], json!({"status": {"backlog": 7}, "spec": {"suspend": false}}));
    assert_eq!((&object["status"]["backlog"], &object["spec"]["suspend"]), (&json!(7), &json!(true)));
    assert_eq!(object["metadata"]["generation"], 2, "a status is no new generation");
}
