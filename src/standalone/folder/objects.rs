//! The objects of one file: read, validated, and checked against the settings.

use super::step::{File, Found, Key, Kind, Problem};
use crate::api::manifest::{self, Document};
use crate::api::not_yet::{self, Place};
use crate::api::objects::{Objects, SecretObject};
use crate::api::{self, EventDestination};
use crate::settings::Settings;
use std::collections::BTreeMap;

/// A valid object of the folder.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// With its namespace and defaults filled in.
    EventDestination(Box<EventDestination>),
    /// Values decoded.
    Secret(SecretObject),
    /// Its `data`.
    ConfigMap(BTreeMap<String, String>),
}

/// Reads a file; what is wrong with one object keeps none of the others away.
pub fn parse(name: &str, text: &str, version: u64, settings: &Settings) -> File<Object> {
    let (documents, problems) = manifest::read(name, text);
    let mut file = File { version, objects: Vec::new(), problems: problems.into_iter().map(Problem::from).collect() };
    if documents.is_empty() && file.problems.is_empty() {
        let message = "holds no object; what it held stays. Remove the file to delete it".to_owned();
        file.problems.push(Problem { line: None, field: None, message });
    }
    for document in documents {
        match object(&document, settings) {
            Ok((kind, object)) => {
                let key = Key { kind, namespace: document.namespace.clone(), name: document.name.clone() };
                file.objects.push(Found { key, line: document.line("").try_into().unwrap_or(usize::MAX), object });
            }
            Err(problems) => file.problems.extend(problems.into_iter().map(Problem::from)),
        }
    }
    file
}

fn object(document: &Document, settings: &Settings) -> Result<(Kind, Object), Vec<manifest::Problem>> {
    let (namespace, name) = (&document.namespace, &document.name);
    match (document.api_version.as_str(), document.kind.as_str()) {
        (_, api::KIND) => Ok((Kind::EventDestination, destination(document, settings)?)),
        ("v1", "Secret" | "ConfigMap") => {
            let mut one = Objects::default();
            one.insert(document)?;
            let secret = one.secret(namespace, name).map(|secret| (Kind::Secret, Object::Secret(secret.clone())));
            let config_map = || one.config_map(namespace, name).map(|data| (Kind::ConfigMap, Object::ConfigMap(data.clone())));
            Ok(secret.or_else(config_map).expect("it was inserted under its name"))
        }
        (version, kind) => {
            let message =
                format!("{kind} ({version}) has no place here: write EventDestination ({}), Secret or ConfigMap (v1)", api::API_VERSION);
            Err(vec![document.problem("kind", message)])
        }
    }
}

fn destination(document: &Document, settings: &Settings) -> Result<Object, Vec<manifest::Problem>> {
    let destination = document.destination()?;
    let mut problems: Vec<_> =
        not_yet::find(document.value(), Place::Standalone).into_iter().map(|found| document.problem(&found.path, found.sentence)).collect();
    for note in not_yet::notes(document.value(), Place::Standalone) {
        let note = document.problem(&note.path, note.sentence);
        tracing::warn!(file = note.file, line = note.line, field = note.field, "{}", note.message);
    }
    problems.extend(not_allowed(document, &destination.spec.bus, settings));
    if problems.is_empty() { Ok(Object::EventDestination(Box::new(destination))) } else { Err(problems) }
}

/// Whether the settings have the bus and let destinations of this namespace read it.
fn not_allowed(document: &Document, bus: &str, settings: &Settings) -> Option<manifest::Problem> {
    let Some(found) = settings.buses.get(bus) else {
        let known = settings.buses.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("there is no bus {bus}; name one of {known}, or add it to posthorn.yaml and restart");
        return Some(document.problem("spec.bus", message));
    };
    let allowed = found.allowed_namespaces.as_ref().is_none_or(|allowed| allowed.contains(&document.namespace));
    let message = || {
        let allowed = found.allowed_namespaces.as_deref().unwrap_or_default().join(", ");
        format!("destinations of namespace {} may not read bus {bus}; its allowedNamespaces are: {allowed}", document.namespace)
    };
    (!allowed).then(|| document.problem("spec.bus", message()))
}

impl From<manifest::Problem> for Problem {
    fn from(problem: manifest::Problem) -> Problem {
        let manifest::Problem { file: _, line, field, message } = problem;
        Problem { line: line.try_into().ok(), field: Some(field).filter(|field| !field.is_empty()), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(name: &str, rest: &str) -> String {
        format!(
            "apiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec:\n  sink: {{http: {{uri: 'http://127.0.0.1:9000/'}}}}\n{rest}"
        )
    }

    fn problems(text: &str, settings: &Settings) -> Vec<String> {
        let file = parse("x.yaml", text, 0, settings);
        let show = |problem: Problem| format!("{}: {}: {}", problem.line.unwrap_or(0), problem.field.unwrap_or_default(), problem.message);
        file.problems.into_iter().map(show).collect()
    }

    #[test]
    fn the_three_kinds_are_read_and_the_bad_one_is_reported_with_its_place() {
        let text = [
            destination("a", ""),
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\nstringData: {k: v}\n".to_owned(),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}\n".to_owned(),
            destination("b", "  delivery: {retry: many}\n"),
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n".to_owned(),
        ]
        .join("---\n");
        let file = parse("x.yaml", &text, 0, &Settings::default());
        let keys: Vec<String> = file.objects.iter().map(|found| format!("{} {}", found.line, found.key)).collect();
        assert_eq!(keys, ["1 EventDestination shop/a", "6 Secret shop/s", "11 ConfigMap default/c"]);
        let problems = problems(&text, &Settings::default());
        assert!(problems[0].starts_with("22: spec.delivery.retry: "), "{problems:?}");
        assert!(problems.iter().any(|line| line.starts_with("25: kind: Deployment (apps/v1) has no place here")), "{problems:?}");
    }

    #[test]
    fn a_file_without_an_object_is_an_error() {
        for text in ["", "# all gone\n", "---\n---\n"] {
            assert_eq!(problems(text, &Settings::default()).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_bus_that_is_not_there_or_not_allowed_is_an_error_of_the_field() {
        let said = problems(&destination("a", "  bus: payments\n"), &Settings::default());
        assert_eq!(said, ["6: spec.bus: there is no bus payments; name one of default, or add it to posthorn.yaml and restart"]);
        let mut settings = Settings::default();
        settings.buses.get_mut("default").expect("it always exists").allowed_namespaces = Some(vec!["ops".into()]);
        let said = problems(&destination("a", ""), &settings);
        assert_eq!(said, ["4: spec.bus: destinations of namespace shop may not read bus default; its allowedNamespaces are: ops"]);
    }

    #[test]
    fn what_needs_a_cluster_is_refused() {
        let given = destination("a", "").replace("uri: 'http://127.0.0.1:9000/'", "ref: {name: billing}");
        let said = problems(&given, &Settings::default());
        assert!(said[0].contains("spec.sink.http.ref: ") && said[0].contains("needs a cluster"), "{said:?}");
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_not_repeated() {
        for text in [
            "data: {k: 'canary!'}",
            "stringData: {k: [canary]}",
            "stringData: canary",
            "stringData: {k: 'canary",
            "stringData: {canary: 1, canary: 2}\n k: *canary",
        ] {
            let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{text}\n");
            let said = problems(&text, &Settings::default());
            assert!(!said.is_empty(), "{text}");
            assert!(!said.iter().any(|line| line.contains("canary!") || line.contains("'canary")), "{said:?}");
        }
    }
}
