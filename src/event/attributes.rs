//! Context attributes in canonical string form.

use super::{Undecodable, rules};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The only version of the specification that is accepted.
pub const SPEC_VERSION: &str = "1.0";

/// Context attributes of an event, by name, each in its canonical string form (CloudEvents 1.0.2, section 3.1).
///
/// `specversion` is not stored, as it has one value only; [`Attributes::get`] knows it all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub(super) BTreeMap<String, String>);

impl Attributes {
    /// The value of an attribute, `specversion` included; `None` if it is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(value) => Some(value),
            None if name == "specversion" => Some(SPEC_VERSION),
            None => None,
        }
    }

    /// Attribute `id`; never empty in a decoded event.
    pub fn id(&self) -> &str {
        self.get("id").unwrap_or_default()
    }

    /// Attribute `source`; never empty in a decoded event.
    pub fn source(&self) -> &str {
        self.get("source").unwrap_or_default()
    }

    /// Attribute `type`; never empty in a decoded event.
    pub fn event_type(&self) -> &str {
        self.get("type").unwrap_or_default()
    }

    /// Attribute `subject`.
    pub fn subject(&self) -> Option<&str> {
        self.get("subject")
    }

    /// Attribute `time`, as the producer wrote it (RFC 3339).
    pub fn time(&self) -> Option<&str> {
        self.get("time")
    }

    /// Names and values, sorted by name, `specversion` aside.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What makes the event unique.
    pub fn identity(&self) -> Identity {
        Identity::of(self.source(), self.id())
    }

    /// One compact JSON object of strings: field `a` of an entry.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("a map of strings is always JSON")
    }

    /// Reads [`Attributes::to_json`].
    ///
    /// # Errors
    /// If it is no JSON object of strings, a name is not one of an attribute, or `id`, `source` or `type` is missing.
    pub fn from_json(text: &[u8]) -> Result<Attributes, Undecodable> {
        let map: BTreeMap<String, String> =
            serde_json::from_slice(text).map_err(|error| Undecodable(format!("its attributes are no JSON object of strings: {error}")))?;
        for name in map.keys() {
            rules::check_name(name).map_err(|rule| Undecodable(format!("attribute {name:?} {rule}")))?;
        }
        let attributes = Attributes(map);
        match attributes.missing() {
            Some(name) => Err(Undecodable(format!("attribute `{name}` is missing"))),
            None => Ok(attributes),
        }
    }

    /// The first required attribute that is absent.
    pub(super) fn missing(&self) -> Option<&'static str> {
        ["id", "source", "type"].into_iter().find(|name| self.get(name).is_none_or(str::is_empty))
    }

    /// As sent to a destination: without `datacontenttype`, and with the producer's own `sequence` as `producersequence`.
    ///
    /// A `producersequence` that is there already stays: it is of the first producer in a chain of brokers, `sequence` of the last broker.
    pub(super) fn passed_on(&self) -> impl Iterator<Item = (&str, &str)> {
        let taken = self.0.contains_key("producersequence");
        self.iter().filter_map(move |(name, value)| match name {
            "datacontenttype" => None,
            "sequence" => (!taken).then_some(("producersequence", value)),
            _ => Some((name, value)),
        })
    }
}

/// SHA-256 over (length of source as big-endian u32, source, id), first 16 bytes: what makes an event unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity([u8; 16]);

impl Identity {
    /// The identity of the event `id` of `source`.
    pub fn of(source: &str, id: &str) -> Identity {
        let length = u32::try_from(source.len()).expect("an attribute is shorter than 4 GiB");
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&length.to_be_bytes());
        context.update(source.as_bytes());
        context.update(id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.finish().as_ref()[..16]);
        Identity(bytes)
    }

    /// The end of the dedupe key `ph:{bus}:seen:<hash>`: base64url without padding, 22 characters.
    pub fn base64url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The header `webhook-id`: `evt_` and 32 hexadecimal digits.
    pub fn webhook_id(&self) -> String {
        self.written("evt_")
    }

    /// The header `webhook-id` of a batch: `bat_` and 32 hexadecimal digits, a hash of its members'.
    pub fn webhook_id_of_all(members: impl Iterator<Item = Identity>) -> String {
        let mut hash = digest::Context::new(&digest::SHA256);
        members.for_each(|member| hash.update(&member.0));
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finish().as_ref()[..16]);
        Identity(first).written("bat_")
    }

    fn written(&self, prefix: &str) -> String {
        let mut text = String::from(prefix);
        for byte in self.0 {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(json: &str) -> Attributes {
        Attributes::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn every_attribute_is_found_by_its_name() {
        let json = r#"{"datacontenttype":"text/xml","dataschema":"urn:s","id":"1","myext":"x","source":"/s","subject":"p","time":"t","type":"a.b"}"#;
        let a = attributes(json);
        assert_eq!((a.id(), a.source(), a.event_type(), a.subject(), a.time()), ("1", "/s", "a.b", Some("p"), Some("t")));
        for (name, value) in a.iter() {
            assert_eq!(a.get(name), Some(value));
        }
        assert_eq!((a.get("specversion"), a.get("myext"), a.get("other")), (Some("1.0"), Some("x"), None));
        assert_eq!(a.to_json(), json);
    }

    #[test]
    fn damaged_attributes_are_undecodable() {
        for json in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"id":"1","source":"/s"}"#,
            r#"{"id":"","source":"/s","type":"t"}"#,
            r#"{"id":1,"source":"/s","type":"t"}"#,
            r#"{"id":"1","source":"/s","type":"t","a b":"x"}"#,
            r#"{"id":"1","source":"/s","type":"t","data":"x"}"#,
        ] {
            assert!(Attributes::from_json(json.as_bytes()).is_err(), "{json}");
        }
        assert!(Attributes::from_json(b"{\"id\":\"\xff\"}").is_err());
    }

    #[test]
    fn identity_is_the_documented_hash() {
        // printf '\0\0\0\2/s1' | sha256sum
        let identity = attributes(r#"{"id":"1","source":"/s","type":"t"}"#).identity();
        assert_eq!(identity.webhook_id(), "evt_4f68cfcb3b1cbedb41871b55ee3a631d");
        assert_eq!(identity.base64url(), "T2jPyzscvttBhxtV7jpjHQ");
    }

    #[test]
    fn the_border_between_source_and_id_counts() {
        assert_ne!(Identity::of("/a", "b"), Identity::of("/", "ab"));
        assert_ne!(Identity::of("/a", "1"), Identity::of("/b", "1"));
    }
}
