//! Types, enums, bounds, required fields and lists, with the messages of an API server.

use super::Violation;
use super::walk::{Node, walk};
use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;

/// Everything that is wrong below a node: values first, then lists.
pub(super) fn check(root: &Node) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut lists = Vec::new();
    walk(root, &mut |node| {
        let Some(kind) = kind_of(node) else {
            violations.push(wrong_type(node));
            return false;
        };
        violations.extend(wrong_value(node, kind));
        lists.extend(duplicates(node));
        true
    });
    violations.append(&mut lists);
    violations
}

/// The type of a value, if the schema allows it.
fn kind_of(node: &Node) -> Option<&'static str> {
    let kind = type_name(node.value);
    let allowed = match node.schema["type"].as_str() {
        Some(wanted) => wanted == kind || (wanted == "number" && kind == "integer"),
        None if node.schema["x-kubernetes-int-or-string"] == true => ["integer", "string"].contains(&kind),
        None => true,
    };
    allowed.then_some(kind)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(node: &Node) -> Violation {
    let (path, found) = (&node.path, type_name(node.value));
    let wanted = node.schema["type"].as_str().unwrap_or("integer,string");
    Violation::value(path, format!("\"{found}\""), format!("must be of type {wanted}: \"{found}\""), true)
}

fn wrong_value(node: &Node, kind: &str) -> Vec<Violation> {
    match kind {
        "object" => object(node),
        "array" => array(node).into_iter().collect(),
        "string" => string(node).into_iter().collect(),
        "integer" | "number" => number(node).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn object(node: &Node) -> Vec<Violation> {
    let required = node.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = required.filter(|name| node.value.get(name).is_none());
    let missing = missing.map(|name| Violation::schema(&node.below(name), "Required value".into(), true));
    let size = node.value.as_object().map_or(0, serde_json::Map::len);
    let few = at_least(node, "minProperties", size, "properties");
    missing.chain(few).chain(too_many(node, "maxProperties", size)).collect()
}

fn array(node: &Node) -> Option<Violation> {
    let size = node.value.as_array().map_or(0, Vec::len);
    at_least(node, "minItems", size, "items").or_else(|| too_many(node, "maxItems", size))
}

fn at_least(node: &Node, bound: &str, size: usize, what: &str) -> Option<Violation> {
    let (least, path) = (node.schema[bound].as_u64()?, &node.path);
    ((size as u64) < least).then(|| Violation::value(path, size, format!("should have at least {least} {what}"), false))
}

fn too_many(node: &Node, bound: &str, size: usize) -> Option<Violation> {
    let most = node.schema[bound].as_u64()?;
    let message = format!("Too many: {size}: must have at most {most} items");
    (size as u64 > most).then(|| Violation::schema(&node.path, message, true))
}

fn string(node: &Node) -> Option<Violation> {
    let (text, path) = (node.value.as_str()?, &node.path);
    let length = text.chars().count() as u64;
    if let Some(most) = node.schema["maxLength"].as_u64().filter(|most| length > *most) {
        return Some(Violation::schema(path, format!("Too long: may not be more than {most} bytes"), true));
    }
    if let Some(least) = node.schema["minLength"].as_u64().filter(|least| length < *least) {
        return Some(Violation::value(path, node.value, format!("should be at least {least} chars long"), false));
    }
    if let Some(words) = node.schema["enum"].as_array().filter(|words| !words.contains(node.value)) {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {}: supported values: {}", node.value, words.join(", "));
        return Some(Violation::schema(path, message, true));
    }
    let message = || format!("must be of type date-time: {}", node.value);
    (node.schema["format"] == "date-time" && !is_time(text)).then(|| Violation::value(path, node.value, message(), true))
}

/// RFC 3339, section 5.6.
fn is_time(text: &str) -> bool {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        let form = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$";
        Regex::new(form).expect("the form of a time is a regular expression")
    });
    FORM.is_match(text) && text.parse::<Timestamp>().is_ok()
}

fn number(node: &Node) -> Option<Violation> {
    let (value, path) = (node.value.as_f64()?, &node.path);
    let refuse =
        |relation: &str, bound: &Value| Violation::value(path, node.value, format!("should be {relation} than or equal to {bound}"), false);
    let (least, most) = (&node.schema["minimum"], &node.schema["maximum"]);
    if least.as_f64().is_some_and(|least| value < least) {
        return Some(refuse("greater", least));
    }
    most.as_f64().is_some_and(|most| value > most).then(|| refuse("less", most))
}

/// Items of a list that are there twice, where the list is a set or a map.
fn duplicates(node: &Node) -> Vec<Violation> {
    let Some(items) = node.value.as_array() else {
        return Vec::new();
    };
    let keys = node.schema["x-kubernetes-list-map-keys"].as_array();
    let identity = |item: &Value| match keys {
        Some(keys) => keys.iter().filter_map(Value::as_str).map(|key| (key.to_owned(), item[key].clone())).collect(),
        None => item.clone(),
    };
    if keys.is_none() && node.schema["x-kubernetes-list-type"] != "set" {
        return Vec::new();
    }
    let identities: Vec<Value> = items.iter().map(identity).collect();
    let repeated = (0..items.len()).filter(|&index| identities[..index].contains(&identities[index]));
    repeated
        .map(|index| Violation::schema(&format!("{}[{index}]", node.path), format!("Duplicate value: {}", identities[index]), false))
        .collect()
}
