//! The CustomResourceDefinition, made from the Rust types and the table of rules.

use super::KIND;
use super::rules::{self, Rule};
use super::spec::{EventDestination, EventDestinationSpec};
use super::status::EventDestinationStatus;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(make_schema);

/// The structural schema of `EventDestination`, with its rules: what an API server validates by, and what [`super::validate()`] does.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// The CustomResourceDefinition as JSON, fields in the order of the Rust types.
pub fn crd_json() -> Value {
    let mut crd = serde_json::to_value(EventDestination::crd()).expect("a definition is JSON");
    crd["spec"]["names"]["listKind"] = format!("{KIND}List").into();
    crd["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": schema()});
    crd
}

/// The CustomResourceDefinition.
pub fn crd() -> CustomResourceDefinition {
    serde_json::from_value(crd_json()).expect("the generated definition has the form of one")
}

fn make_schema() -> Value {
    let mut status = structural::<EventDestinationStatus>();
    status["default"] = pending_status();
    let mut schema = json!({
        "description": "EventDestination says where events of a bus go: which ones, to which receiver, in what order, and what happens \
            when the receiver fails.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            // The name becomes the value of a label, which has at most 63 characters.
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}},
            "spec": structural::<EventDestinationSpec>(),
            "status": status,
        },
    });
    for rule in rules::all() {
        insert_rule(&mut schema, rule);
    }
    schema
}

/// What a new object shows until the operator has seen it.
fn pending_status() -> Value {
    let condition = |aspect| {
        json!({
            "type": aspect, "status": "Unknown", "reason": "Pending", "message": "Waiting for the operator",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    json!({"conditions": [condition("Ready"), condition("Delivering")]})
}

fn insert_rule(schema: &mut Value, rule: &Rule) {
    let node = node_mut(schema, &rule.path).unwrap_or_else(|| panic!("rule at {}, which is not in the schema", rule.path));
    let rules = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    rules.as_array_mut().expect("it was made as a list").push(rule.to_json());
}

/// The node at a schema path: names joined by `.`, `[]` for the items of a list.
fn node_mut<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut serde_json::Map<String, Value>> {
    let mut node = schema;
    for name in path.split('.') {
        let (name, items) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
        node = node.get_mut("properties")?.get_mut(name)?;
        if items {
            node = node.get_mut("items")?;
        }
    }
    node.as_object_mut()
}

/// The schema of a type in the form that Kubernetes wants: no references, no null, each field one type.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = serde_json::to_value(settings.into_generator().into_root_schema_for::<T>()).expect("a schema is JSON");
    make_structural(&mut schema);
    schema
}

fn make_structural(node: &mut Value) {
    let Some(fields) = node.as_object_mut() else {
        return;
    };
    for name in ["$schema", "title", "nullable", "components"] {
        fields.remove(name);
    }
    unwrap_optional(fields);
    collapse_enum(fields);
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    if let Some(Value::String(description)) = fields.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(make_structural);
    }
    if let Some(items) = fields.get_mut("items") {
        make_structural(items);
    }
    lead_with(fields, ["description", "type"]);
}

/// Puts these fields first, so that a reader of the YAML meets them before long properties.
fn lead_with(fields: &mut serde_json::Map<String, Value>, first: [&str; 2]) {
    let rest = std::mem::take(fields);
    let (mut leading, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(name, _)| first.contains(&name.as_str()));
    leading.sort_by(|(a, _), (b, _)| a.cmp(b));
    fields.extend(leading.into_iter().chain(rest));
}

/// `anyOf: [X, null]`, an optional value, becomes X; what stands beside it (the field's own description) wins.
fn unwrap_optional(fields: &mut serde_json::Map<String, Value>) {
    if fields.contains_key("x-kubernetes-int-or-string") {
        return;
    }
    let Some(Value::Array(choices)) = fields.remove("anyOf").or_else(|| fields.remove("allOf")) else {
        return;
    };
    let Some(Value::Object(inner)) = choices.into_iter().find(|choice| choice.get("enum") != Some(&json!([null]))) else {
        return;
    };
    for (name, value) in inner {
        fields.entry(name).or_insert(value);
    }
}

/// `oneOf` single words, each with its description, becomes one `enum`.
fn collapse_enum(fields: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(choices)) = fields.remove("oneOf") else {
        return;
    };
    let words: Vec<Value> = choices.iter().filter_map(|choice| choice["enum"][0].as_str()).map(Value::from).collect();
    fields.insert("type".into(), "string".into());
    fields.insert("enum".into(), words.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_node(node: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, node);
        let named = node["properties"].as_object().into_iter().flatten().map(|(name, child)| (format!("{path}.{name}"), child));
        let items = node.get("items").map(|items| (format!("{path}[]"), items));
        named.chain(items).for_each(|(path, child)| every_node(child, &path, visit));
    }

    #[test]
    fn the_schema_is_structural_and_explains_itself() {
        every_node(schema(), "", &mut |path, node| {
            let known_type = node["type"].is_string() || node["x-kubernetes-int-or-string"] == true;
            assert!(known_type, "{path} has no type");
            for name in ["nullable", "$ref", "oneOf", "allOf", "title"] {
                assert!(node.get(name).is_none(), "{path} has {name}");
            }
            let format = node["format"].as_str().unwrap_or("int32");
            assert!(["int32", "int64", "date-time"].contains(&format), "{path} has format {format}");
            let explained =
                !path.starts_with(".spec") && !path.starts_with(".status") || path.ends_with("[]") || node["description"].is_string();
            assert!(explained, "{path} has no description");
        });
    }

    #[test]
    fn every_column_and_selectable_field_is_in_the_schema() {
        let mut fields = Vec::new();
        every_node(schema(), "", &mut |path, _| fields.push(path.to_owned()));
        let crd = crd_json();
        let version = &crd["spec"]["versions"][0];
        let paths = |list: &str| {
            version[list]
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| item["jsonPath"].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        let all = [paths("additionalPrinterColumns"), paths("selectableFields")].concat();
        assert_eq!(all.len(), 15);
        let selector = regex::Regex::new(r"\[\?\(.*?\)\]").expect("it is an expression");
        for path in all.iter().filter(|path| *path != ".metadata.creationTimestamp") {
            let path = selector.replace(path, "[]");
            assert!(fields.iter().any(|field| *field == path), "{path}");
        }
    }

    #[test]
    fn the_definition_has_the_form_of_one() {
        assert_eq!(serde_json::to_value(crd()).expect("it is JSON"), with_float_bounds(crd_json()));
    }

    /// JSON whose numbers are as the typed form writes them: bounds are floats there.
    fn with_float_bounds(mut value: Value) -> Value {
        match &mut value {
            Value::Object(fields) => fields.iter_mut().for_each(|(name, field)| {
                let bound = ["minimum", "maximum"].contains(&name.as_str()).then(|| field.as_f64()).flatten();
                *field = bound.map_or_else(|| with_float_bounds(field.take()), Value::from);
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| *item = with_float_bounds(item.take())),
            _ => {}
        }
        value
    }
}
