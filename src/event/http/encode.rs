//! An event to a request in binary mode.

use super::percent;
use crate::event::attributes::SPEC_VERSION;
use crate::event::{Event, Mode, Sequence, Undecodable, json};
use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;

/// The event as `ce-*` headers, `Content-Type` and a body (HTTP protocol binding 1.0.2, section 3.1), with our `sequence`.
///
/// The body is the data as it came; of an event that came as JSON it is the raw slice of `data`, or what `data_base64` holds, or the text of
/// a string where the content type is not JSON. The producer's own `sequence` goes out as `producersequence`.
///
/// # Errors
/// If the stored event is damaged.
pub fn binary(event: &Event, sequence: Sequence) -> Result<(HeaderMap, Bytes), Undecodable> {
    let (content_type, body) = match event.mode {
        Mode::Binary => (event.content_type.as_deref(), event.data.clone()),
        Mode::Structured | Mode::BatchItem => json::content(event)?,
    };
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert("ce-specversion", HeaderValue::from_static(SPEC_VERSION));
    headers.insert("ce-sequence", value_of("sequence", &sequence.padded())?);
    for (name, value) in event.attributes.passed_on() {
        let header = HeaderName::try_from(format!("ce-{name}")).map_err(|_| Undecodable(format!("{name:?} is no name of an attribute")))?;
        headers.insert(header, value_of(name, &percent::encode(value))?);
    }
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, value_of("datacontenttype", content_type)?);
    }
    Ok((headers, body))
}

fn value_of(name: &str, value: &str) -> Result<HeaderValue, Undecodable> {
    HeaderValue::try_from(value).map_err(|_| Undecodable(format!("attribute `{name}` cannot be sent as a header")))
}
