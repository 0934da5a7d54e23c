//! Events to JSON, and the data out of a JSON envelope.

use super::members::{Member, members};
use crate::event::attributes::SPEC_VERSION;
use crate::event::media_type::MediaType;
use crate::event::trace::{TRACEPARENT, TRACESTATE};
use crate::event::{Event, Mode, Sequence, Undecodable};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;

/// The event as one JSON object with our `sequence`.
///
/// What came as JSON is passed on byte for byte, save that `sequence` is put in and the producer's own becomes `producersequence`. What
/// came in binary mode is put into an envelope: JSON data as it is, other data as `data_base64`.
///
/// # Errors
/// If the stored event is damaged.
pub fn structured(event: &Event, sequence: Sequence) -> Result<Bytes, Undecodable> {
    match event.mode {
        Mode::Binary => Ok(envelope(event, sequence)),
        Mode::Structured | Mode::BatchItem => spliced(event, sequence),
    }
}

/// Events as one JSON array, each as [`structured`] makes it.
///
/// # Errors
/// If a stored event is damaged.
pub fn batched<'a>(events: impl Iterator<Item = (&'a Event, Sequence)>) -> Result<Bytes, Undecodable> {
    let mut json = vec![b'['];
    for (event, sequence) in events {
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend_from_slice(&structured(event, sequence)?);
    }
    json.push(b']');
    Ok(json.into())
}

fn envelope(event: &Event, sequence: Sequence) -> Bytes {
    let sequence = sequence.padded();
    enveloped(event, [("sequence", sequence.as_str())].into_iter().chain(event.attributes.passed_on())).into()
}

/// An event that came in binary mode as one JSON object, with the attributes that its producer gave it.
pub(super) fn unnumbered(event: &Event) -> String {
    enveloped(event, event.attributes.iter().filter(|(name, _)| *name != "datacontenttype"))
}

fn enveloped<'a>(event: &Event, attributes: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut json = String::with_capacity(event.data.len() + 512);
    json.push('{');
    push_member(&mut json, "specversion", SPEC_VERSION);
    for (name, value) in attributes {
        push_member(&mut json, name, value);
    }
    if let Some(content_type) = &event.content_type {
        push_member(&mut json, "datacontenttype", content_type);
    }
    match json_text(event) {
        _ if event.data.is_empty() => {}
        Some(text) => json.extend([",\"data\":", text]),
        None => push_member(&mut json, "data_base64", &STANDARD.encode(&event.data)),
    }
    json.push('}');
    json
}

fn push_member(json: &mut String, name: &str, value: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    json.extend([&quoted(name), ":", &quoted(value)]);
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// The data, if it is declared as JSON in UTF-8 and is so.
fn json_text(event: &Event) -> Option<&str> {
    let declared = event.content_type.as_deref().and_then(MediaType::parse).is_some_and(|t| t.is_json() && t.is_utf8());
    let text = declared.then(|| std::str::from_utf8(&event.data).ok())??;
    serde_json::from_str::<&RawValue>(text).ok().map(|_| text)
}

/// What replaces a part of a text; an empty part is a place to insert at.
type Patch<'a> = (&'a str, &'a str);

fn spliced(event: &Event, sequence: Sequence) -> Result<Bytes, Undecodable> {
    let (text, members) = envelope_of(&event.data)?;
    let find = |name: &str| members.iter().find(|member| member.name == name);
    let ours = format!("\"{}\"", sequence.padded());
    let mut inserted = String::new();
    let mut patches: Vec<Patch<'_>> = match (find("sequence"), find("producersequence")) {
        (None, _) => Vec::new(),
        (Some(own), None) => vec![(own.key, "\"producersequence\"")],
        (Some(own), Some(first)) if first.is_null() => vec![(own.value, &ours), (first.value, own.value)],
        (Some(own), Some(_)) => vec![(own.value, &ours)],
    };
    if find("sequence").is_none() || find("producersequence").is_none() {
        inserted = format!("\"sequence\":{ours},");
    }
    let adopted = adopted(event, &members);
    for (name, value) in &adopted {
        match find(name) {
            Some(null) => patches.push((null.value, value)),
            None => inserted.extend(["\"", name, "\":", value, ","]),
        }
    }
    // before what may be replaced at the same place: the sort keeps their order
    patches.splice(0..0, members.first().map(|member| (&member.key[..0], inserted.as_str())));
    patches.sort_by_key(|(part, _)| part.as_ptr());
    Ok(patched(text, &patches).into())
}

/// Attributes that the event did not come with, quoted: its trace context may be that of its request.
fn adopted(event: &Event, members: &[Member<'_>]) -> Vec<(&'static str, String)> {
    let came = |name: &str| members.iter().any(|member| member.name == name && !member.is_null());
    let names = [TRACEPARENT, TRACESTATE].into_iter().filter(|name| !came(name));
    names.filter_map(|name| Some((name, quoted(event.attributes.get(name)?)))).collect()
}

/// The text with its patches, which are parts of it, do not overlap and are in order.
fn patched(text: &str, patches: &[Patch<'_>]) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for (part, replacement) in patches {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        out.extend([&text[done..start], replacement]);
        done = start + part.len();
    }
    out.push_str(&text[done..]);
    out
}

fn envelope_of(data: &Bytes) -> Result<(&str, Vec<Member<'_>>), Undecodable> {
    let text = std::str::from_utf8(data).map_err(|error| Undecodable(error.to_string()))?;
    let members = members(text, usize::MAX).map_err(Undecodable)?.elements;
    if members.is_empty() {
        return Err(Undecodable("it is an empty JSON object".to_owned()));
    }
    Ok((text, members))
}

/// The data of an event, if it is declared as JSON. That it is so is not checked.
pub fn data(event: &Event) -> Option<Bytes> {
    match event.mode {
        // without a content type nothing says what a body is
        Mode::Binary => event.content_type.as_deref().filter(|text| is_json(Some(text))).map(|_| event.data.clone()),
        Mode::Structured | Mode::BatchItem => {
            let (content_type, data) = content(event).ok()?;
            is_json(content_type).then_some(data)
        }
    }
}

/// Content type and data of an event that came as JSON, for binary mode.
///
/// # Errors
/// If the stored event is damaged.
pub(in crate::event) fn content(event: &Event) -> Result<(Option<&str>, Bytes), Undecodable> {
    let (_, members) = envelope_of(&event.data)?;
    let declared = event.content_type.as_deref();
    match payload(&members, declared, &event.data) {
        Ok(None) => Ok((declared, Bytes::new())),
        Ok(Some(bytes)) => Ok((declared.or(Some("application/json")), bytes)),
        Err((name, rule)) => Err(Undecodable(format!("member `{name}` {rule}"))),
    }
}

/// The data of an envelope as bytes: `data_base64` decoded; a string in `data` unescaped where the content type is not JSON; else `data` as
/// it is written, also where it is `null` (JSON event format 1.0.2, section 3.1). `envelope` is what the members are parts of.
pub(super) fn payload(
    members: &[Member<'_>],
    content_type: Option<&str>,
    envelope: &Bytes,
) -> Result<Option<Bytes>, (&'static str, &'static str)> {
    let find = |name: &str| members.iter().find(|member| member.name == name);
    match (find("data"), find("data_base64").filter(|member| !member.is_null())) {
        (Some(_), Some(_)) => Err(("data_base64", "must not be there beside `data`: send one of both")),
        (None, Some(member)) => {
            let text = member.string().ok_or(("data_base64", "must be a JSON string"))?;
            let bytes = STANDARD.decode(text).map_err(|_| ("data_base64", "must be Base64 (RFC 4648, section 4, with padding)"))?;
            Ok(Some(bytes.into()))
        }
        (Some(member), None) if member.value.starts_with('"') && !is_json(content_type) => {
            let text = member.string().ok_or(("data", "must be valid Unicode: it has half a surrogate pair"))?;
            Ok(Some(text.into()))
        }
        (Some(member), None) => Ok(Some(envelope.slice_ref(member.value.as_bytes()))),
        (None, None) => Ok(None),
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_none_or(|text| MediaType::parse(text).is_some_and(|media_type| media_type.is_json()))
}
