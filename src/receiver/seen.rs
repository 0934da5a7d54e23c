//! One request as it arrived.

use crate::event::Sequence;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Instant;

/// One request, and what was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    /// 1 for the first request that this receiver got.
    pub number: u64,
    /// Where this is the first attempt of an event (`posthorn-attempt: 1`): 1 for the first such request.
    pub first_number: Option<u64>,
    /// When its body was complete.
    pub at: Instant,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// CloudEvents attributes: the `ce-*` headers, or the members of the JSON object. As they came, nothing is decoded.
    pub attributes: BTreeMap<String, String>,
    /// Status code that it was answered with; `None` if it got no HTTP answer.
    pub status: Option<u16>,
}

/// Numbers requests as they come.
#[derive(Debug, Default)]
pub struct Numbering {
    requests: u64,
    firsts: u64,
}

impl Numbering {
    /// Sets the numbers of the next request.
    pub fn number(&mut self, seen: &mut Seen) {
        self.requests += 1;
        seen.number = self.requests;
        if seen.attempt() == Some(1) {
            self.firsts += 1;
            seen.first_number = Some(self.firsts);
        }
    }
}

impl Seen {
    /// A request that is not yet answered.
    pub fn new(method: Method, path: String, headers: HeaderMap, body: Bytes) -> Seen {
        let attributes = if is_structured(&headers) { of_json(&body) } else { of_headers(&headers) };
        Seen { number: 0, first_number: None, at: Instant::now(), method, path, headers, body, attributes, status: None }
    }

    /// Each of its events as if it had come alone, with its own attributes and its own data as the body; of a batch each member.
    pub fn events(&self) -> Vec<Seen> {
        if !media_type(&self.headers).starts_with("application/cloudevents-batch+json") {
            return vec![self.clone()];
        }
        let members: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(&self.body).unwrap_or_default();
        let event = |member: &BTreeMap<String, Box<RawValue>>| {
            let body = member.get("data").map_or_else(Bytes::new, |data| Bytes::copy_from_slice(data.get().as_bytes()));
            let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_default();
            let attributes = texts(member.iter().map(|(name, raw)| (name.clone(), value(raw))));
            Seen { attributes, body, ..self.clone() }
        };
        members.iter().map(event).collect()
    }

    /// The event's place in the order of its bus (`ce-sequence`).
    pub fn sequence(&self) -> Option<Sequence> {
        self.attribute("sequence")?.parse().ok()
    }

    /// Which attempt this is (`posthorn-attempt`).
    pub fn attempt(&self) -> Option<u32> {
        self.header("posthorn-attempt")?.parse().ok()
    }

    /// CloudEvents `id`.
    pub fn id(&self) -> Option<&str> {
        self.attribute("id")
    }

    /// CloudEvents `source`.
    pub fn source(&self) -> Option<&str> {
        self.attribute("source")
    }

    /// CloudEvents `type`.
    pub fn event_type(&self) -> Option<&str> {
        self.attribute("type")
    }

    /// Any CloudEvents attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// A header that is text; the first one of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it was answered with 2xx.
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

fn media_type(headers: &HeaderMap) -> String {
    headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase()
}

fn is_structured(headers: &HeaderMap) -> bool {
    media_type(headers).starts_with("application/cloudevents+json")
}

fn of_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix("ce-")?.to_owned(), text(value)))).collect()
}

fn of_json(body: &[u8]) -> BTreeMap<String, String> {
    texts(serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(body).unwrap_or_default().into_iter())
}

fn texts(members: impl Iterator<Item = (String, serde_json::Value)>) -> BTreeMap<String, String> {
    members
        .filter(|(name, value)| !name.starts_with("data") && !value.is_null())
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(headers: &[(&'static str, &'static str)], body: &'static str) -> Seen {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Seen::new(Method::POST, "/".into(), headers, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn attributes_of_a_binary_event_are_its_headers() {
        let seen = seen(&[("ce-id", "a"), ("ce-sequence", "0000000000000005-0000000000"), ("posthorn-attempt", "2")], "{\"id\":\"no\"}");
        assert_eq!(seen.id(), Some("a"));
        assert_eq!(seen.sequence(), Some(Sequence { ms: 5, seq: 0 }));
        assert_eq!(seen.attempt(), Some(2));
    }

    #[test]
    fn a_batch_is_as_many_events_each_with_its_own_attributes_and_data() {
        let body = r#"[{"id":"a","sequence":"5-1","data":{"n": 1}},{"id":"b","sequence":"5-2"}]"#;
        let events = seen(&[("content-type", "application/cloudevents-batch+json"), ("posthorn-attempt", "2")], body).events();
        assert_eq!(events.iter().map(|event| event.id().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((&events[0].body[..], &events[1].body[..], events[0].attempt()), (&b"{\"n\": 1}"[..], &b""[..], Some(2)));
        assert_eq!(events[1].sequence(), Some(Sequence { ms: 5, seq: 2 }));
        assert_eq!(seen(&[("ce-id", "a")], "x").events().len(), 1);
    }

    #[test]
    fn attributes_of_a_structured_event_are_its_members() {
        let body = r#"{"id":"a","source":"/s","type":"t","sequence":"5-1","n":7,"data":{"id":"no"}}"#;
        let seen = seen(&[("content-type", "application/CloudEvents+json; charset=utf-8")], body);
        assert_eq!((seen.id(), seen.source(), seen.event_type()), (Some("a"), Some("/s"), Some("t")));
        assert_eq!(seen.sequence(), Some(Sequence { ms: 5, seq: 1 }));
        assert_eq!(seen.attribute("n"), Some("7"));
        assert_eq!(seen.attribute("data"), None);
    }
}
