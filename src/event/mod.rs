//! CloudEvents 1.0: attributes, the HTTP binding, the JSON and batch formats, limits. Pure.
//!
//! Source: CloudEvents core specification 1.0.2, HTTP protocol binding 1.0.2, JSON event format 1.0.2.

pub mod attributes;
pub mod http;
pub mod json;
pub mod sequence;

pub use attributes::{Attributes, Identity};
pub use sequence::Sequence;

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
    /// Its context attributes in canonical string form, without `specversion` and `datacontenttype` of a binary event's header.
    pub attributes: Attributes,
    /// Binary: the `Content-Type` header, if there was one. Else the attribute `datacontenttype`, if present.
    pub content_type: Option<String>,
    /// Binary: the body. Structured and batch items: the bytes of the JSON object itself.
    pub data: Bytes,
}
