//! Secrets and ConfigMaps that destinations refer to.

use super::manifest::{Document, Problem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The label that lets destinations use a Secret.
pub const ALLOW_LABEL: &str = "posthorn.dev/allow";

/// The type of Secret that destinations may use without the label.
const CREDENTIALS_TYPE: &str = "posthorn.dev/credentials";

/// The Secrets and ConfigMaps at hand, by namespace and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    secrets: BTreeMap<(String, String), SecretObject>,
    config_maps: BTreeMap<(String, String), BTreeMap<String, String>>,
}

/// A Secret.
#[derive(Clone, PartialEq)]
pub struct SecretObject {
    /// Whether destinations may use it: who may create one must not be able to send any Secret to a URL of theirs.
    pub allowed: bool,
    /// Its values, decoded.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for SecretObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretObject").field("allowed", &self.allowed).field("keys", &self.data.keys()).finish()
    }
}

impl Objects {
    /// Takes in a Secret.
    pub fn insert_secret(&mut self, namespace: &str, name: &str, secret: SecretObject) {
        self.secrets.insert((namespace.to_owned(), name.to_owned()), secret);
    }

    /// Takes in a ConfigMap.
    pub fn insert_config_map(&mut self, namespace: &str, name: &str, data: BTreeMap<String, String>) {
        self.config_maps.insert((namespace.to_owned(), name.to_owned()), data);
    }

    /// Takes in a Secret or ConfigMap of a manifest; false for any other kind.
    pub fn insert(&mut self, document: &Document) -> Result<bool, Vec<Problem>> {
        match (document.api_version.as_str(), document.kind.as_str()) {
            ("v1", "Secret") => self.insert_secret(&document.namespace, &document.name, SecretObject::read(document)?),
            ("v1", "ConfigMap") => self.insert_config_map(&document.namespace, &document.name, texts(document, "data")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A Secret; `None` if there is none.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&SecretObject> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The data of a ConfigMap; `None` if there is none.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&BTreeMap<String, String>> {
        self.config_maps.get(&(namespace.to_owned(), name.to_owned()))
    }
}

impl SecretObject {
    /// Reads `data` (base64) and `stringData` (as it is; wins, as in a cluster).
    fn read(document: &Document) -> Result<SecretObject, Vec<Problem>> {
        let mut data = BTreeMap::new();
        let mut problems = Vec::new();
        for (key, text) in texts(document, "data")? {
            match STANDARD.decode(text.split_ascii_whitespace().collect::<String>()) {
                Ok(value) => drop(data.insert(key, value)),
                Err(_) => problems.push(document.problem(&format!("data.{key}"), "is not base64; plain text goes into stringData")),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        data.extend(texts(document, "stringData")?.into_iter().map(|(key, text)| (key, text.into_bytes())));
        let value = document.value();
        let allowed = SecretObject::opts_in(value["metadata"]["labels"][ALLOW_LABEL].as_str(), value["type"].as_str());
        Ok(SecretObject { allowed, data })
    }

    /// Whether destinations may use a Secret with this value of the label [`ALLOW_LABEL`] and of this type.
    pub fn opts_in(label: Option<&str>, kind: Option<&str>) -> bool {
        label == Some("true") || kind == Some(CREDENTIALS_TYPE)
    }
}

/// A map of texts.
fn texts(document: &Document, field: &str) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let fields = match &document.value()[field] {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Object(fields) => fields,
        _ => {
            return Err(vec![document.problem(field, "must be an object: names with texts")]);
        }
    };
    let mut texts = BTreeMap::new();
    let mut problems = Vec::new();
    for (key, value) in fields {
        match value.as_str() {
            Some(text) => drop(texts.insert(key.clone(), text.to_owned())),
            None => problems.push(document.problem(&format!("{field}.{key}"), "must be a text; put it in quotes")),
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::manifest;

    fn insert(text: &str) -> Result<Objects, Vec<Problem>> {
        let (documents, problems) = manifest::read("s.yaml", text);
        assert_eq!(problems, []);
        let mut objects = Objects::default();
        documents.iter().try_for_each(|document| objects.insert(document).map(drop))?;
        Ok(objects)
    }

    #[test]
    fn a_secret_is_decoded_and_string_data_wins() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {a: YQ==, b: Yg==}\nstringData: {b: x}\n";
        let objects = insert(text).expect("it is valid");
        let secret = objects.secret("shop", "s").expect("it was inserted");
        assert_eq!(secret.data, BTreeMap::from([("a".into(), b"a".to_vec()), ("b".into(), b"x".to_vec())]));
        assert!(!secret.allowed);
        assert_eq!(format!("{secret:?}"), r#"SecretObject { allowed: false, keys: ["a", "b"] }"#);
    }

    #[test]
    fn a_secret_opts_in_by_label_or_type() {
        for mark in ["metadata: {name: s, labels: {posthorn.dev/allow: 'true'}}", "metadata: {name: s}\ntype: posthorn.dev/credentials"] {
            let objects = insert(&format!("apiVersion: v1\nkind: Secret\n{mark}\n")).expect("it is valid");
            assert!(objects.secret("default", "s").expect("it was inserted").allowed, "{mark}");
        }
    }

    #[test]
    fn a_value_that_is_no_text_is_refused_without_repeating_it() {
        let problems = insert("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a: hunter2!\n").expect_err("not base64");
        assert_eq!(problems[0].to_string(), "s.yaml:5: data.a: is not base64; plain text goes into stringData");
        let problems = insert("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata:\n  a: 1\n").expect_err("a number");
        assert_eq!(problems[0].to_string(), "s.yaml:5: data.a: must be a text; put it in quotes");
    }
}
