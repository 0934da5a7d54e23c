//! A walk over a value and its schema at once.

use serde_json::Value;

/// A value, its schema, where both are, and what the value was before.
pub(super) struct Node<'a> {
    pub(super) schema: &'a Value,
    pub(super) value: &'a Value,
    /// The value before, where the two can be told to be the same field.
    pub(super) old: Option<&'a Value>,
    /// Where the value is: `spec.sink.http.headers[0].name`.
    pub(super) path: String,
    /// Where the schema is: `spec.sink.http.headers[].name`.
    pub(super) place: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(schema: &'a Value, value: &'a Value, old: Option<&'a Value>) -> Node<'a> {
        Node { schema, value, old, path: String::new(), place: String::new() }
    }

    /// The path of a field of this node.
    pub(super) fn below(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The fields and items that are there, in the order of the schema.
    pub(super) fn children(&self) -> Vec<Node<'a>> {
        match self.value {
            Value::Object(_) => self.fields(),
            Value::Array(items) => self.items(items),
            _ => Vec::new(),
        }
    }

    fn fields(&self) -> Vec<Node<'a>> {
        let of = |name: &str, schema: &'a Value| {
            let value = self.value.get(name)?;
            let old = self.old.and_then(|old| old.get(name));
            Some(Node { schema, value, old, path: self.below(name), place: join(&self.place, name) })
        };
        let (schema, value) = (self.schema, self.value);
        let named = schema["properties"].as_object().into_iter().flatten().filter_map(|(name, schema)| of(name, schema));
        let free = schema.get("additionalProperties").zip(value.as_object());
        let free = free.into_iter().flat_map(|(schema, fields)| fields.keys().filter_map(move |name| of(name, schema)));
        named.chain(free).collect()
    }

    fn items(&self, items: &'a [Value]) -> Vec<Node<'a>> {
        let Some(schema) = self.schema.get("items") else {
            return Vec::new();
        };
        let node = |(index, value)| Node {
            schema,
            value,
            old: self.old_item(value),
            path: format!("{}[{index}]", self.path),
            place: format!("{}[]", self.place),
        };
        items.iter().enumerate().map(node).collect()
    }

    /// The item of the old list with the same keys; only a list of type `map` has such.
    fn old_item(&self, item: &Value) -> Option<&'a Value> {
        let keys = self.schema["x-kubernetes-list-map-keys"].as_array()?;
        let same = |old: &&Value| keys.iter().filter_map(Value::as_str).all(|key| old.get(key) == item.get(key));
        self.old?.as_array()?.iter().find(same)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Visits a node, then what is below it if the visit returns true. What did not change since the old object is not visited.
pub(super) fn walk<'a>(node: &Node<'a>, visit: &mut dyn FnMut(&Node<'a>) -> bool) {
    if node.old != Some(node.value) && visit(node) {
        node.children().iter().for_each(|child| walk(child, visit));
    }
}
