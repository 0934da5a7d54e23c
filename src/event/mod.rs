//! CloudEvents 1.0: attributes, the HTTP binding, the JSON and batch formats, limits. Pure.
//!
//! Source: CloudEvents core specification 1.0.2, HTTP protocol binding 1.0.2, JSON event format 1.0.2.
//!
//! ```text
//! request ─▶ http::decode ─▶ Event, stored as it came ─▶ http::binary or json::structured ─▶ request to a destination
//! ```
//!
//! What the specification leaves open is decided so:
//!
//! * Names of attributes may have up to 256 characters (the specification says that they should not exceed 20).
//! * A `ce-datacontenttype` header is refused: the binding forbids it beside `Content-Type`, and never needs it.
//! * `dataschema` may have a fragment. `source` and `dataschema` are URIs, not IRIs: other characters must be percent-encoded.
//! * A `%` in a header that is not followed by two hexadecimal digits stands for itself.
//! * An empty batch is refused.

pub mod attributes;
mod collector;
pub mod error;
pub mod http;
pub mod json;
mod media_type;
mod rules;
pub mod sequence;
#[cfg(test)]
mod tests;
pub mod trace;
mod uri;

pub use attributes::{Attributes, Identity};
pub use error::{Error, Kind, Undecodable};
pub use sequence::Sequence;
pub use trace::TraceParent;

use bytes::Bytes;

/// How an event was received; field `m` of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes as `ce-*` headers, data as the body (`b`).
    Binary,
    /// One JSON object (`s`).
    Structured,
    /// One item of a JSON batch (`j`).
    BatchItem,
}

/// An event as it was received. Nothing of it is ever re-encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// How it was received.
    pub mode: Mode,
    /// Its context attributes in canonical string form, without `specversion` (always 1.0).
    pub attributes: Attributes,
    /// Binary: the `Content-Type` header, if there was one. Else the attribute `datacontenttype`, if present.
    pub content_type: Option<String>,
    /// Binary: the body. Structured and batch items: the bytes of the JSON object itself.
    pub data: Bytes,
}

/// How large an event and a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of [`Event::data`]: the body, the JSON object, or one item of a batch. Default 1 MiB.
    pub max_event_bytes: u64,
    /// Most attributes of an event, `specversion` aside. Default 64.
    pub max_attributes: usize,
    /// Most bytes of all names and values of an event's attributes, so that they fit into headers. Default 64 KiB.
    pub max_attribute_bytes: usize,
    /// Most events of a batch. Default 1,000.
    pub max_batch_events: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_event_bytes: 1 << 20, max_attributes: 64, max_attribute_bytes: 64 << 10, max_batch_events: 1000 }
    }
}

impl Limits {
    /// Whether this many bytes of [`Event::data`] are allowed.
    pub(crate) fn check_event(&self, bytes: usize) -> Result<(), Error> {
        if bytes as u64 > self.max_event_bytes {
            return Err(Error::too_large(format!(
                "the event has {bytes} bytes, {} are allowed: send less, or a reference to the data",
                self.max_event_bytes
            )));
        }
        Ok(())
    }
}
