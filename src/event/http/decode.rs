//! A request to events.

use super::percent;
use crate::event::collector::Collector;
use crate::event::media_type::MediaType;
use crate::event::{Error, Event, Limits, Mode, json};
use ::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;

/// What a request held.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// Binary or structured mode.
    One(Event),
    /// Batched mode: at least one event.
    Batch(Vec<Event>),
}

/// How a request carries its events, as its headers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Attributes as `ce-*` headers, data as the body.
    Binary,
    /// One JSON object.
    Structured,
    /// A JSON array.
    Batch,
}

/// Tells the format of a request by its headers, before its body is read.
///
/// # Errors
/// No CloudEvent (400); a CloudEvents format other than JSON, a charset other than UTF-8, a content coding (415).
pub fn format(headers: &HeaderMap) -> Result<Format, Error> {
    let coded = headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Error::unsupported("a Content-Encoding is not read: send the body as it is"));
    }
    let content_type = content_type(headers)?;
    match content_type.filter(|text| is_cloudevents(text)) {
        Some(text) => json_format(text),
        None if headers.contains_key("ce-specversion") => Ok(Format::Binary),
        None => Err(not_a_cloudevent(headers)),
    }
}

/// Reads the events of a request (HTTP protocol binding 1.0.2, section 3). A batch is read whole or not at all.
///
/// # Errors
/// A rule of the specification is broken, or a limit. The error names the attribute, and the item of a batch.
pub fn decode(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Received, Error> {
    match format(headers)? {
        Format::Binary => binary(headers, body, limits).map(Received::One),
        Format::Structured => json::event(&body, limits).map(Received::One),
        Format::Batch => json::batch(&body, limits).map(Received::Batch),
    }
}

/// "Prefixed with the CloudEvents media type" (section 3).
fn is_cloudevents(content_type: &str) -> bool {
    let prefix = b"application/cloudevents";
    content_type.trim_start().as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn json_format(content_type: &str) -> Result<Format, Error> {
    let media_type = MediaType::parse(content_type);
    let has_essence = |name: &str| media_type.is_some_and(|m| m.essence.eq_ignore_ascii_case(name));
    let format = match () {
        () if has_essence(json::STRUCTURED) => Format::Structured,
        () if has_essence(json::BATCH) => Format::Batch,
        () => {
            let message = format!("this format of CloudEvents is not read: send {} or {}, or binary mode", json::STRUCTURED, json::BATCH);
            return Err(Error::unsupported(message));
        }
    };
    match media_type.is_some_and(|m| m.is_utf8()) {
        true => Ok(format),
        false => Err(Error::unsupported("the charset of CloudEvents in JSON is utf-8")),
    }
}

fn not_a_cloudevent(headers: &HeaderMap) -> Error {
    let some = headers.keys().any(|name| name.as_str().starts_with("ce-"));
    let what = if some { "the header ce-specversion is missing" } else { "not a CloudEvent" };
    let message =
        format!("{what}: send the headers ce-specversion: 1.0, ce-id, ce-source and ce-type, or Content-Type: {}", json::STRUCTURED);
    Error { attribute: Some("specversion".to_owned()), ..Error::bad_request(message) }
}

fn binary(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Event, Error> {
    limits.check_event(body.len())?;
    let specversion = only(headers, "ce-specversion").map_err(|rule| Error::attribute("specversion", rule))?;
    let specversion = specversion.map(|value| attribute_value("specversion", value)).transpose()?;
    let mut collector = Collector::new(specversion.as_deref(), limits)?;
    for (header, value) in headers {
        match header.as_str().strip_prefix("ce-") {
            None | Some("specversion") => {}
            Some("datacontenttype") => {
                return Err(Error::attribute("datacontenttype", "must be sent as Content-Type, not as ce-datacontenttype, in binary mode"));
            }
            Some(name) => collector.add(name, attribute_value(name, value)?)?,
        }
    }
    let content_type = content_type(headers)?.map(str::to_owned);
    if let Some(content_type) = &content_type {
        collector.add("datacontenttype", content_type.clone())?;
    }
    Ok(Event { mode: Mode::Binary, attributes: collector.finish()?, content_type, data: body })
}

fn attribute_value(name: &str, value: &HeaderValue) -> Result<String, Error> {
    percent::decode(value.as_bytes()).map_err(|rule| Error::attribute(name, rule))
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let wrong = |rule| Error::attribute("datacontenttype", rule);
    match only(headers, header::CONTENT_TYPE.as_str()).map_err(wrong)? {
        Some(value) => value.to_str().map(Some).map_err(|_| wrong("(Content-Type) must be ASCII")),
        None => Ok(None),
    }
}

/// The header, if it is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, &'static str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err("must be given once"),
    }
}
