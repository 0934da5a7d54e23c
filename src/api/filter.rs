//! `spec.filters` of an `EventDestination`: the dialects of the CloudEvents Subscriptions draft, and `cel`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One filter: exactly one dialect. The schema spells out three levels, as a structural schema cannot recurse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// Matches when every named attribute has exactly this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<BTreeMap<String, String>>,
    /// Matches when every named attribute begins with this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<BTreeMap<String, String>>,
    /// Matches when every named attribute ends with this value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<BTreeMap<String, String>>,
    /// Matches when this CEL expression is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cel: Option<String>,
    /// Matches when every one of these filters matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<Filter>>,
    /// Matches when at least one of these filters matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<Filter>>,
    /// Matches when this filter does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Filter>>,
}

/// How deep filters nest.
const LEVELS: usize = 3;

/// The schema path of every filter, with its level: 1 for those that may hold others, [`LEVELS`] for those that may not.
pub(super) fn places() -> Vec<(String, usize)> {
    let mut places = vec![("spec.filters[]".to_owned(), 1)];
    let mut done = 0;
    while done < places.len() {
        let (path, level) = places[done].clone();
        if level < LEVELS {
            places.extend(["all[]", "any[]", "not"].map(|nested| (format!("{path}.{nested}"), level + 1)));
        }
        done += 1;
    }
    places
}

/// Whether filters of this level may hold others.
pub(super) fn nests(level: usize) -> bool {
    level < LEVELS
}

impl JsonSchema for Filter {
    fn schema_name() -> Cow<'static, str> {
        "Filter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = level(1);
        schema["description"] = "One filter: exactly one dialect. Nests three levels deep.".into();
        schema.try_into().expect("an object is a schema")
    }
}

fn level(number: usize) -> Value {
    let mut properties = json!({
        "exact": attributes("Matches when every named attribute has exactly this value."),
        "prefix": attributes("Matches when every named attribute begins with this value."),
        "suffix": attributes("Matches when every named attribute ends with this value."),
        "cel": {
            "description": "Matches when this CEL expression is true. Attributes are fields of `event`, JSON data is `event.data`. \
                An expression that fails at run time does not match and is counted.",
            "type": "string", "minLength": 1, "maxLength": 2048,
        },
    });
    if nests(number) {
        properties["all"] = list("Matches when every one of these filters matches.", level(number + 1));
        properties["any"] = list("Matches when at least one of these filters matches.", level(number + 1));
        properties["not"] = level(number + 1);
        properties["not"]["description"] = "Matches when this filter does not match.".into();
    }
    json!({"description": "One filter: exactly one dialect.", "type": "object", "properties": properties})
}

fn attributes(description: &str) -> Value {
    json!({
        "description": description, "type": "object", "minProperties": 1, "maxProperties": 8,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256},
    })
}

fn list(description: &str, items: Value) -> Value {
    json!({
        "description": description, "type": "array", "minItems": 1, "maxItems": 8,
        "x-kubernetes-list-type": "atomic", "items": items,
    })
}
