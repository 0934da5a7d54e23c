//! What is refused, and what is accepted: message for message as the table says.

use super::{collection, dry_run, in_namespace};
use crate::support::{Cluster, eventually};
use crate::table::{NOT_CHECKED, destination, rows};
use http::Method;
use posthorn::api::crd;
use serde_json::{Map, Value, json};

#[tokio::test]
async fn every_row_of_the_table_is_refused_with_its_message() {
    let cluster = Cluster::shared().await;
    let (client, namespace) = (cluster.client().await, cluster.namespace("refused"));
    let all = collection(&namespace);
    let mut wrong = Vec::new();
    for row in rows() {
        let mut object = in_namespace(row.object, &namespace);
        let (method, path) = match row.old {
            None => (Method::POST, all.clone()),
            Some(old) => {
                let old = cluster.create(&in_namespace(old, &namespace));
                object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
                (Method::PUT, format!("{all}/x"))
            }
        };
        let mut found = dry_run(&client, method.clone(), &path, &object).await.err().unwrap_or_default();
        // The server has more words around this sentence.
        found.iter_mut().filter(|it| it.contains(NOT_CHECKED)).for_each(|it| *it = NOT_CHECKED.to_owned());
        if found != row.messages {
            wrong.push(format!("{}\n  wanted {:#?}\n  found {found:#?}", row.name, row.messages));
        }
        if method == Method::PUT {
            cluster.delete(&["eventdestination", "x", "-n", &namespace]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn kubectl_tells_the_message_as_it_stands_in_the_table() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("told");
    let object = in_namespace(destination("sink: {http: {uri: https://a.example/h}}, delivery: {timeout: 2h}"), &namespace);
    let wanted = "spec.delivery.timeout: Invalid value: \"string\": \"2h\" must be a duration from 100ms to 10m, written like 500ms, 30s, 5m or 1h30m";
    assert_eq!(cluster.refusal(&object.to_string()).trim(), format!("The EventDestination \"x\" is invalid: {wanted}"));
    let object = in_namespace(destination("sink: {http: {uri: https://a.example/h}}, delivery: {retries: 3}"), &namespace);
    let refusal = cluster.refusal(&object.to_string());
    assert!(refusal.contains("strict decoding error: unknown field \"spec.delivery.retries\""), "{refusal}");
}

#[tokio::test]
async fn every_sample_is_accepted() {
    let cluster = Cluster::shared().await;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples");
    let printed = cluster.ok(&["apply", "-k", samples]);
    let texts = std::fs::read_dir(samples).unwrap().filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok());
    let wanted: usize = texts.map(|text| text.matches("kind: EventDestination\n").count()).sum();
    let created = printed.lines().filter(|line| line.starts_with("eventdestination.posthorn.dev/") && line.ends_with(" created")).count();
    assert_eq!(created, wanted, "{printed}");
}

#[tokio::test]
async fn the_longest_lists_are_within_the_budget_of_the_rules() {
    let cluster = Cluster::shared().await;
    let (client, namespace) = (cluster.client().await, cluster.namespace("longest"));
    let mut largest = in_namespace(destination(&format!("sink: {}, filters: {}", sink(), filters())), &namespace);
    assert!(largest.to_string().len() > 800_000, "{}", largest.to_string().len());
    let all = collection(&namespace);
    dry_run(&client, Method::POST, &all, &largest).await.unwrap();
    let old = cluster.create(&in_namespace(destination("sink: {http: {uri: https://a.example/h}}"), &namespace));
    largest["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    dry_run(&client, Method::PUT, &format!("{all}/x"), &largest).await.unwrap();
}

/// A sink with as many headers, codes and keys as may be, each as long as may be.
fn sink() -> Value {
    let name = |number: usize| format!("X-{number:0>126}");
    let headers: Vec<Value> = (0..32).map(|number| json!({"name": name(number), "value": "v".repeat(4096)})).collect();
    let key = |number: usize| json!({"name": format!("s{number}"), "key": "k".repeat(253)});
    json!({"http": {
        "uri": format!("https://a.example/{}", "p".repeat(2030)),
        "headers": headers,
        "haltOnStatusCodes": (400..416).collect::<Vec<_>>(),
        "signing": {"secretKeyRefs": [key(0), key(1), key(2)]},
        "auth": {"oauth2": {
            "tokenURI": format!("https://id.example/{}", "t".repeat(2029)), "clientID": "c".repeat(256), "clientSecretKeyRef": key(0),
            "scopes": (0..16).map(|number| format!("{number:0>256}")).collect::<Vec<_>>(),
        }},
    }})
}

/// As many filters as may be on all three levels; their values make an object that etcd takes.
fn filters() -> Value {
    let attributes: Map<String, Value> = (0..8).map(|number| (format!("{number:a>20}"), "v".repeat(80).into())).collect();
    let (leaf, eight) = (json!({"exact": attributes}), |of: &Value| vec![of.clone(); 8]);
    let middle = json!({"any": eight(&leaf)});
    json!(vec![json!({"all": eight(&middle)}); 16])
}

/// The definition under another name, for a test that changes it.
fn definition(kind: &str) -> Value {
    let (mut crd, singular) = (crd::crd_json(), kind.to_lowercase());
    crd["metadata"]["name"] = format!("{singular}s.posthorn.dev").into();
    crd["spec"]["names"] = json!({"kind": kind, "listKind": format!("{kind}List"), "singular": singular, "plural": format!("{singular}s")});
    crd
}

/// Without rules, bounds and enums: an earlier, laxer version.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for name in ["x-kubernetes-validations", "maximum", "minimum", "maxLength", "enum"] {
                // A property may have such a name; its schema is an object.
                if members.get(name).is_some_and(|value| !value.is_object()) {
                    members.remove(name);
                }
            }
            members.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

#[tokio::test]
async fn an_object_that_was_stored_before_a_rule_became_stricter_stays_editable_elsewhere() {
    let cluster = Cluster::shared().await;
    let (client, namespace) = (cluster.client().await, cluster.namespace("ratchet"));
    let strict = definition("OldDestination");
    let mut loose = strict.clone();
    loosen(&mut loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    cluster.define(&loose).await;
    let spec = "bus: Orders, sink: {http: {uri: a.example, format: Odd}}, delivery: {retry: 3000, timeout: 2h, backoffPolicy: Odd}";
    let mut bad = in_namespace(destination(spec), &namespace);
    bad["kind"] = "OldDestination".into();
    let path = collection(&namespace).replace("eventdestinations", "olddestinations");
    cluster.create(&bad);

    cluster.apply(&strict.to_string());
    let mut other = bad.clone();
    other["metadata"]["name"] = "other".into();
    eventually("the stricter definition is in force", async || {
        let found = dry_run(&client, Method::POST, &path, &other).await;
        found.err().map(drop).ok_or_else(|| "the bad object is accepted".into())
    })
    .await;

    let mut object = cluster.json(&["get", "olddestination", "x", "-n", &namespace]);
    object["spec"]["suspend"] = true.into();
    object["spec"]["delivery"]["backoffDelay"] = "2s".into();
    dry_run(&client, Method::PUT, &format!("{path}/x"), &object).await.unwrap();
    object["spec"]["delivery"]["retry"] = 3001.into();
    object["spec"]["delivery"]["timeout"] = "3h".into();
    let refused = dry_run(&client, Method::PUT, &format!("{path}/x"), &object).await.unwrap_err();
    assert!(refused.iter().any(|it| it.starts_with("spec.delivery.retry: ")), "{refused:#?}");
    assert!(!refused.iter().any(|it| it.starts_with("spec.sink") || it.starts_with("spec.bus")), "{refused:#?}");
}
