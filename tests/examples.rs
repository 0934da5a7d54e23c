//! Every sample manifest is valid, and nothing of it is lost on its way through the real types.

use posthorn::api::crd::crd_json;
use posthorn::api::manifest::{self, Document};
use posthorn::api::objects::Objects;
use posthorn::api::{EventDestination, KIND, validate};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples")
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        samples().read_dir().expect("the samples are there").map(|entry| entry.expect("it can be read").path()).collect();
    files.retain(|file| file.is_file() && file.file_name().is_some_and(|name| name != "kustomization.yaml"));
    files.sort();
    files
}

/// Every object, and what destinations need beside them.
fn documents() -> Vec<Document> {
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("a sample can be read");
        let (documents, problems) = manifest::read(&file.display().to_string(), &text);
        assert_eq!(problems, []);
        documents
    };
    files().into_iter().flat_map(read).collect()
}

fn destinations() -> Vec<Document> {
    documents().into_iter().filter(|sample| sample.kind == KIND).collect()
}

#[test]
fn every_sample_is_valid() {
    let problems: Vec<String> =
        destinations().iter().filter_map(|sample| sample.destination().err()).flatten().map(|problem| problem.to_string()).collect();
    assert_eq!(problems, Vec::<String>::new());
    assert!(destinations().len() > 10);
    let others = [KIND, "Namespace", "ResourceQuota", "Secret"];
    assert!(documents().iter().all(|sample| others.contains(&sample.kind.as_str())));
}

#[test]
fn every_sample_survives_the_types() {
    for sample in destinations() {
        let mut defaulted = sample.value().clone();
        assert_eq!(validate(&mut defaulted, None), [], "{}", sample.file);
        let typed: EventDestination = serde_json::from_value(defaulted.clone()).expect("a valid object has the type");
        let again: Value = serde_json::to_value(&typed).expect("the type is JSON");
        assert_eq!(again, defaulted, "{}", sample.file);
    }
}

#[test]
fn every_secret_opts_in() {
    let mut objects = Objects::default();
    for sample in documents() {
        assert_eq!(objects.insert(&sample).expect("it can be read"), sample.kind == "Secret", "{}", sample.file);
        let secret = objects.secret(&sample.namespace, &sample.name);
        assert!(sample.kind != "Secret" || secret.is_some_and(|secret| secret.allowed), "{} {}", sample.file, sample.name);
    }
}

#[test]
fn the_kustomization_lists_every_sample() {
    let text = std::fs::read_to_string(samples().join("kustomization.yaml")).expect("it is there");
    let listed: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("- ")).collect();
    let files = files();
    let present: BTreeSet<&str> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(listed, present);
}

/// The name of a field, whichever filter it is within: filters hold filters.
fn name_of(path: &str) -> String {
    let (above, last) = path.rsplit_once('.').unwrap_or(("", path));
    above.split('.').filter(|name| !["all", "any", "not"].contains(name)).chain([last]).collect::<Vec<_>>().join(".")
}

/// The fields that a schema has below a path.
fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(name_of(&path));
        fields(field, &path, found);
        fields(&field["items"], &path, found);
    }
}

/// The fields that a value has below a path.
fn used(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.insert(name_of(&path));
        used(value, &path, found);
    }
    value.as_array().into_iter().flatten().for_each(|item| used(item, path, found));
}

#[test]
fn every_field_and_every_backoff_policy_is_in_a_sample() {
    let schema = &crd_json()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let (mut there, mut shown) = (BTreeSet::new(), BTreeSet::new());
    fields(schema, "spec", &mut there);
    assert!(there.len() > 80, "{there:?}");
    destinations().iter().for_each(|sample| used(&sample.value()["spec"], "spec", &mut shown));
    assert_eq!(there.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new());
    let text: String = files().iter().map(|file| std::fs::read_to_string(file).expect("a sample can be read")).collect();
    for policy in ["Constant", "Linear", "Exponential"] {
        assert!(text.contains(&format!("backoffPolicy: {policy}")), "{policy}");
    }
}
