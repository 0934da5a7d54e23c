//! Both ways through the module: what is refused and how it is told, and that nothing changes on the way.

mod modes;
mod refusals;
mod roundtrip;

use super::http::{Received, decode};
use super::*;
use ::http::{HeaderMap, HeaderName, HeaderValue};

const SEQUENCE: Sequence = Sequence { ms: 1_764_000_000_000, seq: 7 };
const PADDED: &str = "0001764000000000-0000000007";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

/// A binary request: a valid one, where `pairs` replace headers of the same name; an empty value takes one away.
fn binary_headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = headers(&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]);
    for (name, _) in pairs {
        map.remove(*name);
    }
    for (name, value) in headers(pairs).iter().filter(|(_, value)| !value.is_empty()) {
        map.append(name, value.clone());
    }
    map
}

fn decode_binary(pairs: &[(&str, &str)], body: &str) -> Result<Event, Error> {
    one(decode(&binary_headers(pairs), Bytes::copy_from_slice(body.as_bytes()), &Limits::default()))
}

fn decode_json(content_type: &str, body: impl Into<Vec<u8>>) -> Result<Received, Error> {
    decode(&headers(&[("content-type", content_type)]), Bytes::from(body.into()), &Limits::default())
}

fn decode_structured(body: impl Into<Vec<u8>>) -> Result<Event, Error> {
    one(decode_json("application/cloudevents+json", body))
}

fn decode_batch(body: impl Into<Vec<u8>>) -> Result<Vec<Event>, Error> {
    decode_json("application/cloudevents-batch+json", body).map(|received| match received {
        Received::Batch(events) => events,
        Received::One(_) => panic!("not a batch"),
    })
}

fn one(received: Result<Received, Error>) -> Result<Event, Error> {
    received.map(|received| match received {
        Received::One(event) => event,
        Received::Batch(_) => panic!("a batch"),
    })
}

/// A valid envelope with these members more.
fn envelope(more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#)
}
