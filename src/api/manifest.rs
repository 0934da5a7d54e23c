//! Manifests: files of YAML documents, each an object as `kubectl apply` takes it, with the line of every field.

use super::KIND;
use super::spec::EventDestination;
use super::validate::{self, Violation};
use super::yaml::Yaml;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One object of a manifest.
#[derive(Clone)]
pub struct Document {
    /// The file it is in, as it was given.
    pub file: String,
    /// `apiVersion`; empty if there is none.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`, or [`DEFAULT_NAMESPACE`].
    pub namespace: String,
    /// `metadata.name`; only a kind that is not ours may be without.
    pub name: String,
    yaml: Yaml,
}

/// Something wrong in a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file, as it was given.
    pub file: String,
    /// Line, counted from 1.
    pub line: u64,
    /// Field path; empty for the whole document.
    pub field: String,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { String::new() } else { format!("{}: ", self.field) };
        write!(f, "{}:{}: {field}{}", self.file, self.line, self.message)
    }
}

/// Whether a file of a directory is a manifest, by its name: `.yaml`, `.yml` or `.json` (which is YAML too), and not hidden, as the
/// files are that editors and Kubernetes' mounts leave.
pub fn is_manifest(file: &Path) -> bool {
    let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// Reads the objects of a file, and what is wrong with those that are none. Empty documents are passed over.
pub fn read(file: &str, text: &str) -> (Vec<Document>, Vec<Problem>) {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for yaml in Yaml::read(text) {
        match yaml {
            Ok(yaml) if yaml.value.is_null() => {}
            Ok(yaml) => match Document::new(file, yaml) {
                Ok(document) => documents.push(document),
                Err(problem) => problems.push(problem),
            },
            Err(error) => problems.push(Problem { file: file.to_owned(), line: error.line, field: String::new(), message: error.message }),
        }
    }
    (documents, problems)
}

impl Document {
    fn new(file: &str, yaml: Yaml) -> Result<Document, Problem> {
        let text = |pointer: &str| yaml.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let document = Document {
            file: file.to_owned(),
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: if namespace.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { namespace },
            name,
            yaml,
        };
        if !document.value().is_object() {
            return Err(document.problem("", "not an object: it needs apiVersion, kind and metadata"));
        }
        if document.kind.is_empty() {
            return Err(document.problem("kind", "is missing"));
        }
        if document.name.is_empty() && [KIND, "Secret", "ConfigMap"].contains(&document.kind.as_str()) {
            return Err(document.problem("metadata.name", "is missing"));
        }
        Ok(document)
    }

    /// The object as it is written down.
    pub fn value(&self) -> &Value {
        &self.yaml.value
    }

    /// The line of a field, or of the nearest one around it that is written down.
    pub fn line(&self, path: &str) -> u64 {
        self.yaml.line(path)
    }

    /// Something wrong with a field.
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        Problem { file: self.file.clone(), line: self.line(path), field: path.to_owned(), message: message.into() }
    }

    /// The problems that violations are.
    pub fn problems(&self, violations: Vec<Violation>) -> Vec<Problem> {
        violations.into_iter().map(|violation| self.problem(&violation.path, violation.message)).collect()
    }

    /// Validates the object as an `EventDestination`, and reads it; its namespace is filled in.
    pub fn destination(&self) -> Result<EventDestination, Vec<Problem>> {
        let mut value = self.value().clone();
        value["metadata"]["namespace"] = json!(self.namespace);
        validate::parse(value).map_err(|violations| self.problems(violations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata: {name: a}\nspec:\n  sink:\n    http:\n";

    #[test]
    fn a_bad_document_is_reported_with_its_place_and_the_others_go_on() {
        let text =
            format!("{GOOD}      uri: https://a.example/h\n---\n{GOOD}      uri: a.example\n---\nkind: [\n---\n- 1\n---\nkind: Secret\n");
        let (documents, problems) = read("dir/a.yaml", &text);
        assert_eq!(documents.len(), 2);
        assert!(documents[0].destination().is_ok());
        let wrong = documents[1].destination().expect_err("it has no scheme");
        assert_eq!(
            wrong[0].to_string(),
            "dir/a.yaml:15: spec.sink.http.uri: \"a.example\" must be an absolute http:// or https:// URL with a host"
        );
        let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.field.as_str())).collect();
        assert_eq!(places[1..], [(18, ""), (20, "metadata.name")]);
    }

    #[test]
    fn an_object_without_namespace_is_in_the_default_one() {
        let (documents, _) = read("a.yaml", &format!("{GOOD}      uri: https://a.example/h\n"));
        let destination = documents[0].destination().expect("it is valid");
        assert_eq!((destination.metadata.namespace.as_deref(), documents[0].namespace.as_str()), (Some("default"), "default"));
    }
}
