//! Context attributes in canonical string form.

use std::collections::BTreeMap;

/// Context attributes of an event, by name, each in its canonical string form (CloudEvents 1.0.2, section 3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, String>);

/// SHA-256 over (length of source as big-endian u32, source, id), first 16 bytes: what makes an event unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity([u8; 16]);

impl Attributes {
    /// The value of an attribute; `None` if it is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
