//! YAML text to JSON values that know the line of each field.
//!
//! The one YAML reader of the project is `serde-saphyr`: it is kept up (kube itself moved to it from the deprecated `serde_yaml`), its
//! parser is fuzz-tested, it refuses duplicate keys, bounds nesting and what aliases expand to, and gives the place of every value. It
//! also writes the YAML that we generate and print.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};
use std::collections::BTreeMap;
use std::fmt;

/// One YAML document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Yaml {
    /// As JSON; null for an empty document.
    pub value: Value,
    /// Field path → line.
    lines: BTreeMap<String, u64>,
}

/// Text that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotYaml {
    /// Where, counted from 1.
    pub line: u64,
    /// What is wrong, in one line.
    pub message: String,
}

impl Yaml {
    /// Reads the documents of a text; each either reads or says what is wrong, whatever the others do.
    pub fn read(text: &str) -> Vec<Result<Yaml, NotYaml>> {
        split(text).into_iter().map(|(first, document)| read_document(first, &document)).collect()
    }

    /// The line of a field, or of the nearest one around it that is written down; paths as in a violation: `spec.filters[0].exact.type`.
    pub fn line(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.lines.get("").copied().unwrap_or(1),
            }
        }
    }
}

/// The documents of a text, each with the number of its first line. A line that begins with `---` always begins a document
/// (YAML 1.2.2, section 9.1.2), so a mistake in one cannot swallow the next.
fn split(text: &str) -> Vec<(u64, String)> {
    let mut documents = vec![(1, String::new())];
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker.is_some() {
            documents.push((number, String::new()));
        }
        let (_, document) = documents.last_mut().expect("there is always the first");
        document.push_str(line);
    }
    documents
}

fn read_document(first_line: u64, text: &str) -> Result<Yaml, NotYaml> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
        budget: serde_saphyr::budget! { max_events: 200_000, max_depth: 64, max_nodes: 200_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
    };
    let offset = first_line - 1;
    let node: Spanned<Option<Node>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line().max(1));
        NotYaml { line: line + offset, message: message(&error) }
    })?;
    let mut yaml = Yaml { value: Value::Null, lines: BTreeMap::from([(String::new(), first_line)]) };
    if let Some(root) = node.value {
        yaml.value = root.into_json("", offset, &mut yaml.lines);
    }
    Ok(yaml)
}

/// What an error says, in one line and without its location: that is said beside it.
fn message(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet();
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("the field {key} is given twice");
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    format!("not YAML: {}", first.split(" at line ").next().unwrap_or(first))
}

/// A YAML node with the places of what is in it.
enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Node>>),
    Fields(Vec<(Spanned<String>, Node)>),
}

impl Node {
    /// As JSON; notes the line of each field and item.
    fn into_json(self, path: &str, offset: u64, lines: &mut BTreeMap<String, u64>) -> Value {
        match self {
            Node::Null => Value::Null,
            Node::Bool(value) => value.into(),
            Node::Number(value) => value.into(),
            Node::Text(value) => value.into(),
            Node::List(items) => {
                let item = |(index, item): (usize, Spanned<Node>)| {
                    let path = format!("{path}[{index}]");
                    lines.insert(path.clone(), item.referenced.line() + offset);
                    item.value.into_json(&path, offset, lines)
                };
                items.into_iter().enumerate().map(item).collect()
            }
            Node::Fields(fields) => {
                let field = |(name, value): (Spanned<String>, Node)| {
                    let path = if path.is_empty() { name.value.clone() } else { format!("{path}.{}", name.value) };
                    lines.insert(path.clone(), name.referenced.line() + offset);
                    (name.value, value.into_json(&path, offset, lines))
                };
                Value::Object(fields.into_iter().map(field).collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
        from.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = from.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Result<Yaml, NotYaml> {
        Yaml::read(text).pop().expect("there is always one document")
    }

    #[test]
    fn every_field_and_item_has_its_line() {
        let yaml = one("# about it\na:\n  b: {c: 1,\n    d: x}\n  e:\n  - f: true\n  -\n    f: null\n").expect("it is YAML");
        assert_eq!(yaml.value, json!({"a": {"b": {"c": 1, "d": "x"}, "e": [{"f": true}, {"f": null}]}}));
        let lines = ["a", "a.b", "a.b.c", "a.b.d", "a.e", "a.e[0].f", "a.e[1].f"].map(|path| yaml.line(path));
        assert_eq!(lines, [2, 3, 3, 4, 5, 6, 8]);
        assert_eq!((yaml.line("a.b.missing"), yaml.line("a.e[0].g[1].h"), yaml.line("z")), (3, 6, 1));
    }

    #[test]
    fn a_bad_document_does_not_hide_the_others() {
        let read = Yaml::read("a: 1\n---\na: 1\na: 2\n---\n- b\n---\nx: [\n--- # the last\nc: 1\n");
        assert_eq!(read.len(), 5);
        assert_eq!(read[0].as_ref().map(|yaml| yaml.value.clone()), Ok(json!({"a": 1})));
        assert_eq!(read[1].as_ref().map_err(|error| error.line), Err(4));
        assert_eq!(read[2].as_ref().map(|yaml| yaml.line("[0]")), Ok(6));
        assert!(read[3].is_err());
        assert_eq!(read[4].as_ref().map(|yaml| yaml.line("c")), Ok(10));
    }

    #[test]
    fn mistakes_give_one_clear_line() {
        let cases = [("a: 1\nb: 2\na: 3\n", 3), ("a:\n\tb: 1\n", 2), ("a: 'x\nb: y\n", 1), ("a: *nobody\n", 1), ("a: b: c\n", 1)];
        for (text, line) in cases {
            let error = one(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {error:?}");
            assert!(!error.message.contains('\n') && !error.message.ends_with(": "), "{error:?}");
        }
    }

    #[test]
    fn aliases_do_not_explode() {
        let levels = (1..10).map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", ")));
        let bomb = format!("l0: &l0 [{}]\n{}", ["x"; 10].join(", "), levels.collect::<String>());
        assert!(one(&bomb).is_err());
        assert!(one(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_err());
        assert_eq!(one("a: &x {b: 1}\nc: *x\n").map(|yaml| yaml.value), Ok(json!({"a": {"b": 1}, "c": {"b": 1}})));
    }

    #[test]
    fn words_and_times_are_read_as_kubectl_reads_them() {
        let yaml = one("a: 2026-01-01T00:00:00Z\nb: '1'\nc: 1.5\nd: yes\ne: ~\nf: 10ms\n").expect("it is YAML");
        assert_eq!(yaml.value, json!({"a": "2026-01-01T00:00:00Z", "b": "1", "c": 1.5, "d": true, "e": null, "f": "10ms"}));
    }

    #[test]
    fn an_empty_document_is_null() {
        assert_eq!(one("").map(|yaml| yaml.value), Ok(Value::Null));
        assert_eq!(one("# nothing\n").map(|yaml| yaml.value), Ok(Value::Null));
    }
}
