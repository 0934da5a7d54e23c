//! What is wrong with an event.

use std::fmt::Display;

/// Why a request holds no acceptable event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of refusal it is.
    pub kind: Kind,
    /// The attribute that breaks a rule, where it is one.
    pub attribute: Option<String>,
    /// Which item of a batch, from 0.
    pub index: Option<usize>,
    /// The attribute and the rule that it broke, for a person.
    pub message: String,
}

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not a CloudEvent: status 400.
    BadRequest,
    /// Above a limit: status 413.
    TooLarge,
    /// A media type, charset or content coding that is not read: status 415.
    UnsupportedMediaType,
}

impl Kind {
    /// The HTTP status that says so.
    pub fn status(self) -> ::http::StatusCode {
        match self {
            Kind::BadRequest => ::http::StatusCode::BAD_REQUEST,
            Kind::TooLarge => ::http::StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UnsupportedMediaType => ::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl Error {
    pub(super) fn bad_request(message: impl Into<String>) -> Error {
        Error { kind: Kind::BadRequest, attribute: None, index: None, message: message.into() }
    }

    pub(super) fn too_large(message: impl Into<String>) -> Error {
        Error { kind: Kind::TooLarge, ..Error::bad_request(message) }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Error {
        Error { kind: Kind::UnsupportedMediaType, ..Error::bad_request(message) }
    }

    /// `rule` completes the sentence "attribute `x` …".
    pub(super) fn attribute(name: &str, rule: impl Display) -> Error {
        let name = shown(name);
        Error { attribute: Some(name.clone()), ..Error::bad_request(format!("attribute `{name}` {rule}")) }
    }

    /// Says which item of a batch it is.
    pub(super) fn at(self, index: usize) -> Error {
        Error { index: Some(index), message: format!("item {index} of the batch (from 0): {}", self.message), ..self }
    }
}

/// A name from outside, fit for a message: at most 64 characters, none of them a control character.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// A stored event that cannot be read or sent: damaged, or written by a version that knew other rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored event cannot be read: {0}")]
pub struct Undecodable(pub String);
