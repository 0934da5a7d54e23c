//! What every object of a cluster has, and its rules (Kubernetes API conventions, `ObjectMeta`).

use super::{Violation, wrong_kind};
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

const LABEL_FORM: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

static LABEL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("^{LABEL_FORM}$")).expect("the form of a label is a regular expression"));
static SUBDOMAIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"^{LABEL_FORM}(\.{LABEL_FORM})*$")).expect("the form of a subdomain is a regular expression"));

/// Fields of `metadata` that no object has.
pub(super) fn unknown_fields(object: &Value) -> Vec<Violation> {
    let names = object["metadata"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| !FIELDS.contains(name)).map(|name| Violation::unknown(format!("metadata.{name}"))).collect()
}

/// What is wrong with the kind, the name or the namespace.
pub(super) fn check(object: &Value) -> Vec<Violation> {
    let mut violations = wrong_kind(object);
    let metadata = &object["metadata"];
    match metadata["name"].as_str() {
        None => violations.push(Violation::schema("metadata.name", "Required value".into(), true)),
        Some(name) if !SUBDOMAIN.is_match(name) => violations.push(malformed("metadata.name", name, "'-' or '.'")),
        Some(_) => {}
    }
    if let Some(namespace) = metadata["namespace"].as_str().filter(|name| !LABEL.is_match(name) || name.len() > 63) {
        violations.push(malformed("metadata.namespace", namespace, "'-', at most 63"));
    }
    for field in ["labels", "annotations"] {
        for (name, _) in metadata[field].as_object().into_iter().flatten().filter(|(_, value)| !value.is_string()) {
            let message = "Invalid value: must be of type string; put it in quotes".into();
            violations.push(Violation::schema(&format!("metadata.{field}.{name}"), message, true));
        }
    }
    violations
}

fn malformed(path: &str, name: &str, others: &str) -> Violation {
    let form = format!("lower case alphanumeric characters, {others}, and must start and end with an alphanumeric character");
    Violation::schema(path, format!("Invalid value: {name:?}: must consist of {form}"), false)
}
