//! An entry of the log or of a queue: `v m a c d`, and `to orig copy` for an event meant for one destination.

use super::connection::Error;
use super::scripts::text;
use crate::event::{Attributes, Event, Mode, Sequence};
use crate::filter::Subject;
use bytes::Bytes;
use redis::Value;

/// Version of entries that this program writes and understands.
pub const ENTRY_VERSION: &[u8] = b"1";

/// An entry as Redis holds it: handed on unchanged, read where needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its ID.
    pub sequence: Sequence,
    /// Fields and values in turn.
    pub flat: Vec<Bytes>,
}

/// Why an entry cannot be delivered: it was damaged, or written by a newer version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored entry cannot be read: {0}")]
pub struct BadEntry(pub String);

impl Entry {
    /// Reads the pair (ID, fields) of XRANGE.
    pub(super) fn from_value(value: Value) -> Result<Entry, Error> {
        let wrong = || Error::Protocol("an entry that is not a pair of ID and fields".to_owned());
        let Value::Array(pair) = value else { return Err(wrong()) };
        let mut pair = pair.into_iter();
        let id = pair.next().as_ref().and_then(text).and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        let Some(Value::Array(fields)) = pair.next() else { return Err(wrong()) };
        Ok(Entry::new(id, fields))
    }

    pub(super) fn new(sequence: Sequence, fields: Vec<Value>) -> Entry {
        let bytes = |value| match value {
            Value::BulkString(bytes) => Bytes::from(bytes),
            other => Bytes::from(text(&other).unwrap_or_default()),
        };
        Entry { sequence, flat: fields.into_iter().map(bytes).collect() }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Bytes> {
        self.flat.as_chunks::<2>().0.iter().find(|[field, _]| field == name).map(|[_, value]| value)
    }

    /// The value of a field as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.field(name)?).ok()
    }

    /// What quotas count: the lengths of all values, bytes.
    pub fn size(&self) -> usize {
        self.flat.as_chunks::<2>().0.iter().map(|[_, value]| value.len()).sum()
    }

    /// Its context attributes; empty where they cannot be read.
    pub fn attributes(&self) -> Attributes {
        self.field("a").and_then(|json| Attributes::from_json(json).ok()).unwrap_or_default()
    }

    /// What filters are asked about; where the event cannot be read, its attributes alone.
    pub fn subject(&self) -> Subject {
        self.event().map_or_else(|_| Subject::of_attributes(self.attributes()), Subject::new)
    }

    /// The event in it.
    ///
    /// # Errors
    /// [`BadEntry`] if it was damaged or written by a newer version.
    pub fn event(&self) -> Result<Event, BadEntry> {
        let bad = |what: &str| BadEntry(what.to_owned());
        match self.field("v").map(Bytes::as_ref) {
            Some(ENTRY_VERSION) => {}
            Some(other) => return Err(BadEntry(format!("its version is {}", String::from_utf8_lossy(other)))),
            None => return Err(bad("it has no version")),
        }
        let mode = self.text("m").and_then(Mode::from_code).ok_or_else(|| bad("its mode is unknown"))?;
        let json = self.field("a").ok_or_else(|| bad("it has no attributes"))?;
        let attributes = Attributes::from_json(json).map_err(|error| BadEntry(format!("its attributes: {error}")))?;
        let content_type = self.text("c").filter(|text| !text.is_empty()).map(str::to_owned);
        let data = self.field("d").cloned().ok_or_else(|| bad("it has no data"))?;
        Ok(Event { mode, attributes, content_type, data })
    }
}

impl Mode {
    /// The value of field `m`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Mode::Binary => "b",
            Mode::Structured => "s",
            Mode::BatchItem => "j",
        }
    }

    fn from_code(code: &str) -> Option<Mode> {
        match code {
            "b" => Some(Mode::Binary),
            "s" => Some(Mode::Structured),
            "j" => Some(Mode::BatchItem),
            _ => None,
        }
    }
}
