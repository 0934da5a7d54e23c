//! Every row of `fixtures/refusals.md` is refused with the message that stands there.

use posthorn::api::{crd, validate, yaml::Yaml};
use serde_json::{Value, json};

const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid";
const SINK: &str = "sink: {http: {uri: https://a.example/h}}";

/// One row of the table.
struct Row {
    name: String,
    object: Value,
    old: Option<Value>,
    /// The messages, in order.
    messages: Vec<String>,
}

fn rows() -> Vec<Row> {
    let table = include_str!("fixtures/refusals.md");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split(" | ").collect();
        let [name, spec, _, message] = cells[..] else { panic!("a row has four cells: {line}") };
        let mut messages: Vec<String> = message.trim_matches('`').split(" / ").map(str::to_owned).collect();
        if name.contains('†') {
            messages.push(NOT_CHECKED.into());
        }
        let (object, old) = objects(spec.trim_matches('`'));
        Row { name: name.to_owned(), object, old, messages }
    })
    .collect()
}

/// The object of a row, and what it was before.
fn objects(spec: &str) -> (Value, Option<Value>) {
    if let Some(length) = spec.strip_prefix("metadata.name of ").and_then(|rest| rest.strip_suffix(" characters")) {
        let mut object = destination(SINK);
        object["metadata"]["name"] = "a".repeat(length.parse().expect("a number of characters")).into();
        return (object, None);
    }
    match spec.split_once(" (was ") {
        Some((new, old)) => {
            let (field, _) = new.split_once(':').expect("a field and its value");
            let old = destination(&format!("{SINK}, {field}: {}", old.trim_end_matches(')')));
            (destination(&format!("{SINK}, {new}")), Some(old))
        }
        None => (destination(&spec.replace('…', SINK)), None),
    }
}

fn destination(spec: &str) -> Value {
    // `filters`, `delivery` and the like stand in the table as they do in a flow mapping, a sink in a line of its own.
    let spec = Yaml::read(&format!("{{{spec}}}")).remove(0).unwrap_or_else(|error| panic!("{spec}: {error}")).value;
    json!({
        "apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination",
        "metadata": {"name": "x", "namespace": "shop"}, "spec": spec,
    })
}

#[test]
fn every_row_is_refused_with_its_message() {
    let mut wrong = Vec::new();
    for mut row in rows() {
        let found: Vec<String> = validate(&mut row.object, row.old.as_ref()).iter().map(ToString::to_string).collect();
        if found != row.messages {
            wrong.push(format!("{}\n  wanted {:#?}\n  found {found:#?}", row.name, row.messages));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows().len() > 50, "the table was not read");
}

/// The rules in CEL are evaluated by another implementation than ours, so neither can drift from the other.
#[test]
fn the_rules_in_cel_say_what_the_rules_in_rust_say() {
    let compiled = kube_cel::compile_schema(crd::schema());
    assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    for mut row in rows() {
        let found = validate(&mut row.object, row.old.as_ref());
        if found.iter().any(|violation| violation.to_string().contains(NOT_CHECKED) || violation.message.contains("unknown field")) {
            continue;
        }
        let mut ours: Vec<String> =
            found.iter().filter(|violation| violation.is_rule()).map(|it| format!("{}: {}", it.path, it.message)).collect();
        let theirs = kube_cel::Validator::new().validate_compiled(&compiled, &row.object, row.old.as_ref());
        let mut theirs: Vec<String> = theirs.err().into_iter().flat_map(|errors| errors.into_vec()).map(|it| it.to_string()).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(theirs, ours, "{}", row.name);
    }
}

#[test]
fn what_is_accepted_on_purpose_is_accepted() {
    let bearer = "auth: {bearer: {secretKeyRef: {name: t, key: token}}}";
    let accepted = [
        "sink: {http: {uri: https://a.example/h, format: Batch, batch: {maxBytes: 65536}}}".to_owned(),
        "sink: {http: {uri: https://a.example/h, format: Batch, batch: {maxBytes: 1Mi}}}".to_owned(),
        "sink: {http: {uri: https://a.example/h, ref: null}}".to_owned(),
        format!("sink: {{http: {{uri: 'http://billing.shop.svc', {bearer}}}}}"),
        format!("sink: {{http: {{uri: 'http://billing.shop.svc.cluster.local:8080/h', {bearer}}}}}"),
    ];
    for spec in accepted {
        let mut object = destination(&spec);
        assert_eq!(validate(&mut object, None), [], "{spec}");
        assert_eq!(kube_cel::Validator::new().validate(crd::schema(), &object, None), Ok(()), "{spec}");
    }
    let elsewhere = format!("sink: {{http: {{uri: 'http://billing.shop.svc.other.example', {bearer}}}}}");
    assert_eq!(validate(&mut destination(&elsewhere), None).len(), 1);
}

#[test]
fn a_field_that_stays_as_it_was_is_not_judged_again() {
    let old = destination("bus: Orders, sink: {http: {uri: a.example}}, delivery: {retry: 3000}");
    let mut new = old.clone();
    new["spec"]["suspend"] = true.into();
    assert_eq!(validate(&mut new, Some(&old)), []);
    new["spec"]["delivery"]["retry"] = 3001.into();
    let found: Vec<String> = validate(&mut new, Some(&old)).iter().map(|violation| violation.path.clone()).collect();
    assert_eq!(found, ["spec.delivery.retry"]);
}
