//! JSON to events.

use super::encode::payload;
use super::members::{Member, items, members};
use crate::event::collector::{self, Collector};
use crate::event::{Error, Event, Limits, Mode, rules};
use bytes::Bytes;
use std::collections::HashSet;

/// Reads one event: a JSON object (JSON event format 1.0.2, section 3).
///
/// # Errors
/// A rule of the specification is broken, or a limit.
pub fn event(body: &Bytes, limits: &Limits) -> Result<Event, Error> {
    limits.check_event(body.len())?;
    object(utf8(body)?, body.clone(), Mode::Structured, limits)
}

/// Reads a batch: a JSON array of events (section 4). All or nothing: one bad item refuses the batch.
///
/// # Errors
/// As [`event`], with the index of the item; an empty batch.
pub fn batch(body: &Bytes, limits: &Limits) -> Result<Vec<Event>, Error> {
    let found =
        items(utf8(body)?, limits.max_batch_events).map_err(|wrong| Error::bad_request(format!("the batch cannot be read: {wrong}")))?;
    if found.elements.is_empty() {
        return Err(Error::bad_request("the batch is empty: send at least one event"));
    }
    if found.more {
        return Err(Error::too_large(format!("the batch has more than {} events: send several", limits.max_batch_events)));
    }
    let read = |(index, item): (usize, &&str)| item_of(item, body, limits).map_err(|error| error.at(index));
    found.elements.iter().enumerate().map(read).collect()
}

fn item_of(item: &str, body: &Bytes, limits: &Limits) -> Result<Event, Error> {
    limits.check_event(item.len())?;
    object(item, body.slice_ref(item.as_bytes()), Mode::BatchItem, limits)
}

fn utf8(body: &Bytes) -> Result<&str, Error> {
    std::str::from_utf8(body).map_err(|error| Error::bad_request(format!("the body is not UTF-8 after byte {}", error.valid_up_to())))
}

/// `data` is `text` as bytes.
fn object(text: &str, data: Bytes, mode: Mode, limits: &Limits) -> Result<Event, Error> {
    // besides attributes: specversion, data
    let found = members(text, limits.max_attributes.saturating_add(2))
        .map_err(|wrong| Error::bad_request(format!("the event cannot be read: {wrong}")))?;
    if found.more {
        return Err(collector::too_many(limits));
    }
    refuse_repeated(&found.elements)?;
    let specversion = found.elements.iter().find(|member| member.name == "specversion" && !member.is_null());
    let specversion = specversion.map(|member| member.string().unwrap_or_default());
    let mut collector = Collector::new(specversion.as_deref(), limits)?;
    for member in &found.elements {
        match member.name.as_ref() {
            "specversion" | "data" | "data_base64" => {}
            _ if member.is_null() => rules::check_name(&member.name).map_err(|rule| Error::attribute(&member.name, rule))?,
            name => collector.add(name, canonical(member)?)?,
        }
    }
    let attributes = collector.finish()?;
    let content_type = attributes.get("datacontenttype").map(str::to_owned);
    payload(&found.elements, content_type.as_deref(), &data).map_err(|(name, rule)| {
        let what = format!("member `{name}` {rule}");
        Error { attribute: Some(name.to_owned()), ..Error::bad_request(what) }
    })?;
    Ok(Event { mode, attributes, content_type, data })
}

/// Names that occur twice mean different things to different receivers.
fn refuse_repeated(members: &[Member<'_>]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(members.len());
    match members.iter().find(|member| !seen.insert(member.name.as_ref())) {
        Some(member) => Err(Error::attribute(&member.name, "must be given once")),
        None => Ok(()),
    }
}

/// The canonical string form of a value (section 2.2 of the format, section 3.1 of the specification).
fn canonical(member: &Member<'_>) -> Result<String, Error> {
    let wrong = |rule| Error::attribute(&member.name, rule);
    match member.value.as_bytes().first() {
        Some(b'"') => member.string().ok_or_else(|| wrong("must be valid Unicode: it has half a surrogate pair")),
        _ if rules::is_core(&member.name) => Err(wrong("must be a JSON string")),
        Some(b't' | b'f') => Ok(member.value.to_owned()),
        Some(b'-' | b'0'..=b'9') => {
            let number: i32 =
                member.value.parse().map_err(|_| wrong("must be a whole number between -2147483648 and 2147483647, or a string"))?;
            Ok(number.to_string())
        }
        _ => Err(wrong("must be a string, a boolean or a whole number")),
    }
}
