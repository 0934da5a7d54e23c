//! Validation of an `EventDestination` by the generated schema and the table of rules, with the messages of an API server.
//!
//! In the order of an API server: unknown fields; then null counts as absent and defaults are applied; then types, bounds and lists;
//! then, unless the object is too wrong for that, the rules. A part that is as it was in the old object is not looked at (ratcheting).

mod defaults;
mod metadata;
mod structure;
mod walk;

use super::spec::EventDestination;
use super::{API_VERSION, KIND, crd, rules};
use crate::filter::cel::Expression;
use serde_json::Value;
use std::fmt;
use walk::{Node, walk};

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field: names joined by `.`, `[0]` for the items of a list. Empty for the whole object.
    pub path: String,
    /// What is wrong with it; never repeats a credential.
    pub message: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A field that the schema does not have.
    Unknown,
    /// Type, enum, bound, length, required field; `blocking` if rules cannot be evaluated beside it, `said` by an API server.
    Schema { blocking: bool, said: String },
    /// A rule; the type of the value at its place.
    Rule(String),
    /// Says that rules were not evaluated.
    NotChecked,
}

impl Violation {
    /// Whether it is a rule that is broken, rather than the form of the object.
    pub fn is_rule(&self) -> bool {
        matches!(self.kind, Kind::Rule(_))
    }

    fn unknown(path: String) -> Violation {
        let is_sql = path.starts_with("spec.filters") && path.ends_with(".sql");
        let message = if is_sql { "unknown field: filters in CloudEvents SQL are not offered; use cel" } else { "unknown field" };
        Violation { path, message: message.into(), kind: Kind::Unknown }
    }

    fn schema(path: &str, message: String, blocking: bool) -> Violation {
        Violation { path: path.to_owned(), kind: Kind::Schema { blocking, said: message.clone() }, message }
    }

    /// About a value, which an API server puts before the message.
    fn value(path: &str, value: impl fmt::Display, message: String, blocking: bool) -> Violation {
        let said = format!("Invalid value: {value}: {path} in body {message}");
        Violation { path: path.to_owned(), message, kind: Kind::Schema { blocking, said } }
    }

    fn is_blocking(&self) -> bool {
        matches!(self.kind, Kind::Schema { blocking: true, .. })
    }

    fn not_checked() -> Violation {
        let message = "some validation rules were not checked because the object was invalid".to_owned();
        Violation { path: String::new(), message, kind: Kind::NotChecked }
    }
}

/// As an API server says it, behind its opening words.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unknown => write!(f, "strict decoding error: unknown field \"{}\"", self.path),
            Kind::Schema { said, .. } => write!(f, "{}: {said}", self.path),
            Kind::Rule(of) => write!(f, "{}: Invalid value: \"{of}\": {}", self.path, self.message),
            Kind::NotChecked => f.write_str(&self.message),
        }
    }
}

/// Validates an object (apiVersion, kind, metadata, spec) and applies the defaults to it; empty if all is well. `old` is what it was
/// before, for what cannot be changed. `status` is left out: an API server drops it from what is applied.
pub fn validate(new: &mut Value, old: Option<&Value>) -> Vec<Violation> {
    if let Some(object) = new.as_object_mut() {
        object.remove("status");
    }
    let unknown = unknown_fields(new);
    if !unknown.is_empty() {
        return unknown;
    }
    defaults::apply(crd::schema(), new);
    let old = old.map(|old| {
        let mut old = old.clone();
        defaults::apply(crd::schema(), &mut old);
        old
    });
    let root = Node::root(crd::schema(), new, old.as_ref());
    let mut violations = structure::check(&root);
    if violations.iter().any(Violation::is_blocking) {
        violations.push(Violation::not_checked());
    } else {
        violations.extend(broken_rules(&root));
        violations.extend(wrong_expressions(&root));
        violations.extend(refers_to_itself(new));
    }
    violations.extend(metadata::check(new));
    violations
}

/// Validates an object and reads it into its type.
pub fn parse(mut object: Value) -> Result<EventDestination, Vec<Violation>> {
    let violations = validate(&mut object, None);
    if !violations.is_empty() {
        return Err(violations);
    }
    serde_json::from_value(object).map_err(|error| vec![Violation::schema("metadata", format!("Invalid value: {error}"), true)])
}

/// What is not one of the names that the schema, or the metadata of any object, has.
fn unknown_fields(new: &Value) -> Vec<Violation> {
    let mut unknown = metadata::unknown_fields(new);
    walk(&Node::root(crd::schema(), new, None), &mut |node| {
        let (Some(fields), Some(properties)) = (node.value.as_object(), node.schema["properties"].as_object()) else {
            return true;
        };
        if node.place != "metadata" {
            let names = fields.keys().filter(|name| !properties.contains_key(*name));
            unknown.extend(names.map(|name| Violation::unknown(node.below(name))));
        }
        true
    });
    unknown
}

fn broken_rules(root: &Node) -> Vec<Violation> {
    let mut violations = Vec::new();
    walk(root, &mut |node| {
        let broken = rules::at(&node.place).filter_map(|rule| Some((rule, rule.broken(node.value, node.old)?)));
        violations.extend(broken.map(|(rule, message)| Violation {
            path: format!("{}{}", node.path, rule.field_path.unwrap_or_default()),
            message,
            kind: Kind::Rule(node.schema["type"].as_str().unwrap_or_default().to_owned()),
        }));
        true
    });
    violations
}

/// Expressions of filters that cannot be used: an API server cannot tell.
fn wrong_expressions(root: &Node) -> Vec<Violation> {
    let mut violations = Vec::new();
    walk(root, &mut |node| {
        let text = node.value.as_str().filter(|_| node.place.ends_with(".cel"));
        let wrong = text.and_then(|text| Expression::compile(text).err());
        violations.extend(wrong.map(|wrong| Violation::schema(&node.path, wrong.to_string(), false)));
        true
    });
    violations
}

/// Dead letters that would come back: an API server cannot tell cheaply.
fn refers_to_itself(object: &Value) -> Option<Violation> {
    let name = object["spec"]["delivery"]["deadLetter"]["destinationRef"]["name"].as_str()?;
    let message = "destinationRef names this destination itself: dead letters would come back to it; name another one";
    let is_itself = object["metadata"]["name"] == name;
    is_itself.then(|| Violation::schema("spec.delivery.deadLetter.destinationRef.name", message.to_owned(), false))
}

/// Whether an object says that it is an `EventDestination` of this version.
fn wrong_kind(object: &Value) -> Vec<Violation> {
    let wrong = |field: &str, wanted: &str| {
        let found = object[field].as_str().unwrap_or_default();
        let message = format!("Unsupported value: \"{found}\": supported values: \"{wanted}\"");
        (found != wanted).then(|| Violation::schema(field, message, false))
    };
    [wrong("apiVersion", API_VERSION), wrong("kind", KIND)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(filters: Value) -> Vec<String> {
        said_of(json!({"filters": filters, "sink": {"http": {"uri": "https://a.example/h"}}}))
    }

    fn said_of(spec: Value) -> Vec<String> {
        let object = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "x", "namespace": "shop"}, "spec": spec});
        parse(object).err().unwrap_or_default().iter().map(|violation| format!("{}: {}", violation.path, violation.message)).collect()
    }

    #[test]
    fn an_expression_that_cannot_be_used_is_refused_with_its_place() {
        assert_eq!(said(json!([{"cel": "event.data.amount > 5"}])), [""; 0]);
        let wrong = json!([{"any": [{"exact": {"type": "a"}}, {"not": {"cel": "event.type == 'a'\n  && amount > 5"}}]}]);
        let wanted = "spec.filters[0].any[1].not.cel: the expression cannot be used (line 2, column 6): there is no variable amount; \
            attributes are event.type, event.source …, JSON data is event.data";
        assert_eq!(said(wrong), [wanted]);
    }

    #[test]
    fn dead_letters_cannot_be_sent_to_where_they_come_from() {
        let to = |name| json!({"sink": {"http": {"uri": "https://a.example/h"}}, "delivery": {"deadLetter": {"destinationRef": {"name": name}}}});
        assert_eq!(said_of(to("y")), [""; 0]);
        let said = said_of(to("x"));
        assert!(
            said[0].starts_with("spec.delivery.deadLetter.destinationRef.name: destinationRef names this destination itself"),
            "{said:?}"
        );
    }

    #[test]
    fn cloudevents_sql_is_refused_by_its_name() {
        let wanted = "spec.filters[0].sql: unknown field: filters in CloudEvents SQL are not offered; use cel";
        assert_eq!(said(json!([{"sql": "type = 'a'"}])), [wanted]);
    }
}
