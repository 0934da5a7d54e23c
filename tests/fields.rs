//! No field is accepted and ignored: a change of any field changes what a destination becomes, or is refused as not there yet.

use posthorn::api::crd;
use posthorn::api::not_yet::{self, Place};
use posthorn::api::objects::Objects;
use posthorn::api::sink::AddressableRef;
use posthorn::api::yaml::Yaml;
use posthorn::api::{EventDestination, manifest, parse};
use posthorn::operator::{address, validate};
use posthorn::plan::{Resolved, Surroundings, resolve};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Read by who places workers (`operator::workers`), not by the worker; outside a cluster it is noted.
const PLACEMENT: &str = "spec.isolation";

/// The fields of the schema that hold a value themselves; the nested filters are in [`filter_leaves`].
fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if path == "spec.filters[]" {
        return;
    }
    if let Some(fields) = schema["properties"].as_object() {
        fields.iter().for_each(|(name, field)| leaves(field, &format!("{path}.{name}"), found));
    } else if let Some(items) = schema.get("items") {
        leaves(items, &format!("{path}[]"), found);
    } else {
        found.insert(path.to_owned());
    }
}

fn all_leaves() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    leaves(&crd::schema()["properties"]["spec"], "spec", &mut found);
    found
}

/// The dialects of every filter that the schema allows, each as a schema path and a filter that uses it with the given word.
fn filter_leaves(schema: &Value, path: &str, word: &str) -> Vec<(String, Value)> {
    let fields = schema["properties"].as_object().expect("a filter has fields");
    let mut found = Vec::new();
    for (name, field) in fields {
        let below = |schema, path: &str, wrap: fn(Value) -> Value| {
            let nested = filter_leaves(schema, path, word).into_iter();
            nested.map(|(path, filter)| (path, json!({name: wrap(filter)}))).collect::<Vec<_>>()
        };
        match name.as_str() {
            "all" | "any" => found.extend(below(&field["items"], &format!("{path}.{name}[]"), |filter| json!([filter]))),
            "not" => found.extend(below(field, &format!("{path}.not"), |filter| filter)),
            "cel" => found.push((format!("{path}.cel"), json!({"cel": format!("event.type == '{word}'")}))),
            _ => found.push((format!("{path}.{name}"), json!({name: {"type": word}}))),
        }
    }
    found
}

/// For each field two specs that differ in it alone.
fn changes() -> BTreeMap<String, (Value, Value)> {
    let table = Yaml::read(include_str!("fixtures/fields.yaml")).remove(0).expect("the table is YAML").value;
    let rows = table.as_object().expect("it is a map").iter();
    rows.map(|(field, row)| (field.clone(), (spec(&row["from"]), spec(&row["to"])))).collect()
}

/// A spec with everything that it needs.
fn spec(given: &Value) -> Value {
    let mut spec = json!({"sink": {"http": {"uri": "https://a.example/h"}}});
    merge(&mut spec, given);
    spec
}

fn merge(into: &mut Value, from: &Value) {
    match (into.as_object_mut(), from.as_object()) {
        (Some(into), Some(from)) => from.iter().for_each(|(name, value)| merge(into.entry(name).or_insert(Value::Null), value)),
        _ => *into = from.clone(),
    }
}

fn objects() -> Objects {
    let (documents, problems) = manifest::read("objects.yaml", include_str!("fixtures/objects.yaml"));
    assert_eq!(problems, []);
    let mut objects = Objects::default();
    documents.iter().for_each(|document| assert_eq!(objects.insert(document), Ok(true)));
    objects
}

/// What a cluster has that can be addressed.
fn surroundings(place: Place, destination: &EventDestination) -> Surroundings {
    let reference = destination.spec.sink.http.as_ref().and_then(|http| http.r#ref.as_ref());
    match place {
        Place::Standalone => Surroundings::Standalone,
        Place::Cluster => Surroundings::Cluster(reference.and_then(address_of)),
    }
}

/// The address of the object that a reference names, if the fixture has it.
fn address_of(reference: &AddressableRef) -> Option<Result<posthorn::plan::Address, posthorn::plan::Problem>> {
    let (documents, problems) = manifest::read("addressables.yaml", include_str!("fixtures/addressables.yaml"));
    assert_eq!(problems, []);
    let namespace = reference.namespace.as_deref().unwrap_or("shop");
    let object = documents.into_iter().find(|object| {
        (object.api_version.as_str(), object.kind.as_str()) == (reference.api_version.as_str(), reference.kind.as_str())
            && (object.namespace.as_str(), object.name.as_str()) == (namespace, reference.name.as_str())
    })?;
    Some(if address::is_service(reference) {
        let service = serde_json::from_value(object.value().clone()).expect("a Service");
        address::of_service(reference, namespace, &service)
    } else {
        address::of_addressable(reference, object.value())
    })
}

enum Outcome {
    /// What it becomes, and how long it is drained when it is deleted.
    Becomes(Box<(Resolved, Duration)>),
    NotYet(Vec<not_yet::Found>),
}

fn outcome(field: &str, spec: &Value, objects: &Objects, place: Place) -> Outcome {
    let object = json!({
        "apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": {"name": "x", "namespace": "shop"}, "spec": spec,
    });
    let destination = parse(object.clone()).unwrap_or_else(|wrong| panic!("{field}: {spec} is not valid: {wrong:?}"));
    let found = not_yet::find(&object, place);
    if !found.is_empty() {
        return Outcome::NotYet(found);
    }
    let surroundings = surroundings(place, &destination);
    let resolved = resolve(&destination, "u", objects, &surroundings).unwrap_or_else(|wrong| panic!("{field}: {spec}: {wrong:?}"));
    Outcome::Becomes(Box::new((resolved, validate::drain_timeout(&destination))))
}

fn assert_read(field: &str, from: &Value, to: &Value, objects: &Objects) {
    assert_ne!(from, to, "{field} does not change");
    assert_read_in(Place::Standalone, field, from, to, objects);
    assert_read_in(Place::Cluster, field, from, to, objects);
}

fn assert_read_in(place: Place, field: &str, from: &Value, to: &Value, objects: &Objects) {
    match (outcome(field, from, objects, place), outcome(field, to, objects, place)) {
        (Outcome::Becomes(from), Outcome::Becomes(to)) => assert_ne!(from, to, "{field} is accepted and ignored"),
        (_, Outcome::NotYet(found)) => {
            let covered = not_yet::all().iter().any(|row| row.covers(field) && found.iter().any(|found| found.sentence == row.sentence));
            assert!(covered, "{field} is refused for another reason: {found:?}");
        }
        (Outcome::NotYet(found), Outcome::Becomes(_)) => panic!("{field}: it is the first that is refused: {found:?}"),
    }
}

#[test]
fn every_field_of_the_schema_is_read_or_refused() {
    let (changes, objects) = (changes(), objects());
    let rows: BTreeSet<String> = changes.keys().cloned().collect();
    let mut leaves = all_leaves();
    leaves.remove(PLACEMENT);
    assert_eq!(leaves, rows, "left: fields of the schema; right: rows of fixtures/fields.yaml");
    changes.iter().for_each(|(field, (from, to))| assert_read(field, from, to, &objects));
}

#[test]
fn every_dialect_at_every_depth_is_read_or_refused() {
    let schema = &crd::schema()["properties"]["spec"]["properties"]["filters"]["items"];
    let (from, to) = (filter_leaves(schema, "spec.filters[]", "a"), filter_leaves(schema, "spec.filters[]", "b"));
    assert_eq!(from.len(), 4 * (1 + 3 + 9));
    for ((field, from), (_, to)) in from.iter().zip(&to) {
        assert_read(field, &spec(&json!({"filters": [from]})), &spec(&json!({"filters": [to]})), &objects());
    }
}
