//! Null counts as absent, and absent fields get their default.

use serde_json::Value;

/// Applies both to a value and all below it.
pub(super) fn apply(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                // The default of `status` is for objects in a cluster.
                if let Some(default) = schema.get("default").filter(|_| name != "status" && !fields.contains_key(name)) {
                    fields.insert(name.clone(), default.clone());
                }
                fields.get_mut(name).into_iter().for_each(|value| apply(schema, value));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| apply(&schema["items"], item)),
        _ => {}
    }
}
