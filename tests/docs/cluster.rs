//! What commands for a cluster name is there: targets, files, values of the chart, objects of the installation, fields of a destination. Programs
//! that are not ours are not parsed: `tests/e2e/documented.rs` runs what a beginner is told to type.

use crate::pages::{Page, pages, read, root, typed, words};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;

/// Each line that is typed, with its page and its place.
fn lines() -> Vec<(Page, String, String)> {
    let lines = |page: Page| {
        let line = |place: &str, line: String| (Page { path: page.path.clone(), text: page.text.clone() }, place.to_owned(), line);
        page.blocks()
            .iter()
            .flat_map(|block| typed(block).into_iter().map(|text| line(&block.place, text)).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    pages().into_iter().flat_map(lines).collect()
}

/// What is typed, and what stands between backticks, with its place.
fn texts() -> Vec<(String, String)> {
    let code = |page: Page| page.code().into_iter().map(move |code| (page.path.display().to_string(), code));
    lines().into_iter().map(|(_, place, line)| (place, line)).chain(pages().into_iter().flat_map(code)).collect()
}

fn yaml(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(&root().join(file))).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_target_that_is_typed_is_in_the_makefile() {
    let makefile = read(&root().join("Makefile"));
    let call = Regex::new(r"(?:^|[ ;&|])make ([a-z0-9-]+)").unwrap();
    let mut count = 0;
    for (_, place, line) in lines() {
        for target in call.captures_iter(&line).map(|found| found[1].to_owned()) {
            count += 1;
            assert!(makefile.contains(&format!("\n{target}:")), "{place}: make {target}");
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn every_file_that_is_given_to_a_command_is_there_or_the_page_says_what_it_is() {
    let flag = Regex::new(r"^(?:kubectl|helm) .*?(?:-f|-k|--filename|--kustomize|--values)[ =](\S+)").unwrap();
    let mut missing = Vec::new();
    let mut count = 0;
    for (page, place, line) in lines() {
        let Some(file) =
            flag.captures(&line).map(|found| found[1].to_owned()).filter(|file| file != "-" && !line.starts_with("kubectl posthorn"))
        else {
            continue;
        };
        count += 1;
        let told = [format!("ave this as `{file}`"), format!("`{file}` is a folder")].iter().any(|sentence| page.text.contains(sentence));
        if !root().join(&file).exists() && !told {
            missing.push(format!("{place}: {file}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert!(count > 3, "{count}");
}

/// Values that are laid out by those who set them.
const FREE: &[&str] = &["buses", "resources", "annotations", "labels", "podSecurityContext", "containerSecurityContext"];

/// Whether the chart has a value of this path.
fn is_value(values: &Value, path: &str) -> bool {
    let mut here = values;
    for name in path.split(['.', '[']) {
        match here.get(name) {
            Some(_) if FREE.contains(&name) => return true,
            Some(next) => here = next,
            None => return here.as_object().is_some_and(serde_json::Map::is_empty) || here.is_array(),
        }
    }
    true
}

#[test]
fn every_value_that_is_set_or_named_is_one_of_the_chart() {
    let values = yaml("charts/posthorn/values.yaml").remove(0);
    assert!(is_value(&values, "worker.egress.allow") && is_value(&values, "redis.external.users.router.urlSecret.name"));
    assert!(!is_value(&values, "worker.egress.permit") && !is_value(&values, "networkpolicy.enabled"));
    let set = Regex::new(r"--set(?:-string|-json|-file)?[ =]([^ ]+)").unwrap();
    let named = Regex::new(r"^([A-Za-z]+(?:\.[A-Za-z]+)+)(?:: .*)?$").unwrap();
    // of these pages only; elsewhere `redis.url` may be a field of a bus
    let of_the_chart =
        ["README.md", "docs/chart.md", "docs/scaling.md", "docs/security.md", "docs/alerts.md", "docs/operations.md", "docs/delivery.md"];
    let mut wrong = Vec::new();
    let mut count = 0;
    for (place, text) in texts() {
        let set = set.captures_iter(&text).filter(|_| text.contains("helm ") || text.contains("--set ")).map(|found| found[1].to_owned());
        let set = set
            .flat_map(|pairs| pairs.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, _)| key.to_owned()).collect::<Vec<_>>());
        let named = named.captures(&text).map(|found| found[1].to_owned());
        let named = named.filter(|path| {
            of_the_chart.contains(&place.as_str()) && path.split('.').next().is_some_and(|first| values.get(first).is_some())
        });
        for path in set.chain(named) {
            count += 1;
            if !is_value(&values, &path) {
                wrong.push(format!("{place}: {path}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count > 20, "{count}");
}

/// Kinds as kubectl takes them.
const KINDS: &[(&str, &str)] = &[
    ("deploy", "Deployment"),
    ("deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("svc", "Service"),
    ("service", "Service"),
    ("secret", "Secret"),
    ("configmap", "ConfigMap"),
    ("lease", "Lease"),
    ("pvc", "PersistentVolumeClaim"),
    ("pod", "Pod"),
];

/// The objects of an installation, as the chart makes them, and those that are made of them.
fn objects() -> BTreeSet<(String, String)> {
    let text = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut objects: BTreeSet<(String, String)> =
        yaml("manifests/install.yaml").iter().map(|object| (text(object, "/kind"), text(object, "/metadata/name"))).collect();
    objects.insert(("Lease".to_owned(), posthorn::operator::leader::NAME.to_owned()));
    objects.extend(
        [("Pod", "posthorn-redis-0"), ("PersistentVolumeClaim", "data-posthorn-redis-0")]
            .map(|(kind, name)| (kind.to_owned(), name.to_owned())),
    );
    objects
}

#[test]
fn every_object_of_the_installation_that_is_named_is_one_of_the_chart() {
    let kinds: Vec<&str> = KINDS.iter().map(|(short, _)| *short).collect();
    let named = Regex::new(&format!(r"\b({})[/ ]((?:data-)?posthorn-[a-z0-9-]+)", kinds.join("|"))).unwrap();
    let made = Regex::new(r"create secret generic (\S+)").unwrap();
    let objects = objects();
    let own: BTreeSet<String> = lines().iter().filter_map(|(_, _, line)| made.captures(line).map(|found| found[1].to_owned())).collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (place, text) in texts() {
        for (short, name) in named.captures_iter(&text).map(|found| (found[1].to_owned(), found[2].to_owned())) {
            count += 1;
            let kind = KINDS.iter().find(|(other, _)| *other == short).map(|(_, kind)| (*kind).to_owned()).unwrap();
            let of_the_operator = kind == "Deployment" && name.starts_with("posthorn-pool-");
            if !of_the_operator && !own.contains(&name) && !objects.contains(&(kind, name.clone())) {
                wrong.push(format!("{place}: {short} {name}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count > 10, "{count}");
}

/// The schema of a destination.
fn schema() -> Value {
    let definition = yaml("crds/eventdestinations.posthorn.dev.yaml").remove(0);
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

/// Whether a destination has a field, `.status.conditions[?(…)].reason` or `spec.sink.http`.
fn is_field(schema: &Value, path: &str) -> bool {
    let filter = Regex::new(r"\[[^\]]*\]").unwrap();
    let mut here = schema;
    for name in filter.replace_all(path, "").trim_start_matches('.').split('.') {
        let within = here.get("items").unwrap_or(here);
        match within.pointer(&format!("/properties/{name}")) {
            Some(next) => here = next,
            // a map, whose names are whoever's
            None => return within.get("additionalProperties").is_some(),
        }
    }
    true
}

#[test]
fn every_field_of_a_destination_that_is_asked_for_is_in_its_schema() {
    let schema = schema();
    assert!(is_field(&schema, r#".status.conditions[?(@.type=="Ready")].reason"#) && !is_field(&schema, ".status.backlogs"));
    let asked = Regex::new(r"jsonpath=['{]*\{?(\.(?:spec|status)[^}]*)\}").unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (place, text) in
        texts().into_iter().filter(|(_, text)| words(text).iter().any(|word| word == "evd" || word.starts_with("eventdestination")))
    {
        for path in asked.captures_iter(&text).map(|found| found[1].to_owned()) {
            count += 1;
            if !is_field(&schema, &path) {
                wrong.push(format!("{place}: {path}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count > 3, "{count}");
}

#[test]
fn every_field_that_the_text_names_is_in_the_schema() {
    let schema = schema();
    let field = Regex::new(r"^((?:spec|status)(?:\.[A-Za-z]+)+)(?:: .*)?$").unwrap();
    // of other kinds
    let others = ["status.address.url"];
    let named = texts().into_iter().filter_map(|(place, text)| field.captures(&text).map(|found| (place, found[1].to_owned())));
    let wrong: Vec<String> = named
        .filter(|(_, path)| !others.contains(&path.as_str()) && !is_field(&schema, path))
        .map(|(place, path)| format!("{place}: {path}"))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}
