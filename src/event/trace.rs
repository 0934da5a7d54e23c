//! W3C Trace Context in an event: the attributes `traceparent` and `tracestate` of the CloudEvents extension for distributed tracing. Pure.
//!
//! An event keeps the context in which it was made: neither attribute is changed on its way.

use super::Event;
use ::http::{HeaderMap, HeaderValue};
use std::fmt;

/// Name of the attribute and of the header.
pub const TRACEPARENT: &str = "traceparent";

/// Name of the attribute and of the header.
pub const TRACESTATE: &str = "tracestate";

/// Longest `tracestate` that is passed on, bytes (Trace Context, section 3.3.1.5: at least so much is).
const LONGEST_STATE: usize = 512;

/// Place of a span in a trace: what `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span; never zero.
    pub parent_id: u64,
    /// Flags; 1 for sampled.
    pub flags: u8,
}

impl TraceParent {
    /// Reads `traceparent` (Trace Context, section 3.2.2). Of a later version what is known of it is read, as section 3.2.4 says.
    pub fn parse(text: &str) -> Option<TraceParent> {
        let (known, rest) = text.split_at_checked(55)?;
        let [version, trace_id, parent_id, flags] = known.split('-').collect::<Vec<_>>().try_into().ok()?;
        let fits = match version {
            "00" => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let version = hex(version, 2)?;
        let (trace_id, parent_id, flags) = (hex(trace_id, 32)?, hex(parent_id, 16)?, hex(flags, 2)?);
        let valid = fits && version != 0xff && trace_id != 0 && parent_id != 0;
        valid.then_some(TraceParent { trace_id, parent_id: parent_id as u64, flags: flags as u8 })
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    u128::from_str_radix(text, 16).ok().filter(|_| lower)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

impl Event {
    /// The context in which it was made, if that is known.
    pub fn trace_parent(&self) -> Option<TraceParent> {
        TraceParent::parse(self.attributes.get(TRACEPARENT)?)
    }

    /// What tracing systems add to that context.
    pub fn trace_state(&self) -> Option<&str> {
        self.trace_parent()?;
        self.attributes.get(TRACESTATE).filter(|state| is_state(state))
    }

    /// Takes this context, unless the event has one.
    pub fn adopt_trace(&mut self, parent: TraceParent, state: Option<&str>) {
        if self.attributes.get(TRACEPARENT).is_some() {
            return;
        }
        self.attributes.0.insert(TRACEPARENT.to_owned(), parent.to_string());
        if let Some(state) = state {
            self.attributes.0.entry(TRACESTATE.to_owned()).or_insert_with(|| state.to_owned());
        }
    }
}

/// The context that a request was made in: `traceparent` if it is there once and valid, and with it `tracestate`.
pub fn of_request(headers: &HeaderMap) -> Option<(TraceParent, Option<String>)> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let parent = TraceParent::parse(parent.to_str().ok()?)?;
    let states: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok()).collect();
    let state = states.map(|states| states.join(",")).filter(|state| is_state(state));
    Some((parent, state))
}

/// The headers for a request about this event.
pub fn headers(event: &Event) -> Option<(HeaderValue, Option<HeaderValue>)> {
    event.trace_parent()?;
    let parent = HeaderValue::from_str(event.attributes.get(TRACEPARENT)?).ok()?;
    Some((parent, event.trace_state().and_then(|state| HeaderValue::from_str(state).ok())))
}

/// Whether a text may be a `tracestate`: members `key=value`, not too long.
fn is_state(text: &str) -> bool {
    let members = || text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let sound = |member: &str| member.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty());
    text.len() <= LONGEST_STATE
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && (1..=32).contains(&members().count())
        && members().all(sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::http::{Received, decode};
    use crate::event::{Limits, Sequence, http as binding, json};
    use bytes::Bytes;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const SEQUENCE: Sequence = Sequence { ms: 5, seq: 0 };

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        let parent = TraceParent::parse(PARENT).unwrap();
        assert_eq!((parent.trace_id, parent.parent_id, parent.flags), (0x4bf92f3577b34da6a3ce929d0e0e4736, 0x00f067aa0ba902b7, 1));
        assert_eq!(parent.to_string(), PARENT);
        assert!(TraceParent::parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_ignored() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_a_list_of_members() {
        for text in ["a=1", "a=1,b=2", "a=1, b=2 ,", "vendor@x=00f067aa0ba902b7"] {
            assert!(is_state(text), "{text}");
        }
        for text in ["", ",", "a", "=1", "a=", "a=\u{7f}", "a=é", &format!("a={}", "x".repeat(511)), &"a=1,".repeat(33)] {
            assert!(!is_state(text), "{text}");
        }
    }

    fn headers_of(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse::<::http::HeaderName>().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_context_of_a_request_is_its_headers() {
        let parent = TraceParent::parse(PARENT).unwrap();
        let table: [(&[(&str, &str)], _); 5] = [
            (&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")], Some((parent, Some("a=1,b=2".to_owned())))),
            (&[("traceparent", PARENT), ("tracestate", "nonsense")], Some((parent, None))),
            (&[("traceparent", PARENT), ("traceparent", PARENT)], None),
            (&[("tracestate", "a=1")], None),
            (&[("traceparent", "nonsense"), ("tracestate", "a=1")], None),
        ];
        for (headers, context) in table {
            assert_eq!(of_request(&headers_of(headers)), context, "{headers:?}");
        }
    }

    fn structured(extra: &str) -> Event {
        let json = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{extra},"data":1}}"#);
        let headers = headers_of(&[("content-type", "application/cloudevents+json")]);
        match decode(&headers, json.into(), &Limits::default()).unwrap() {
            Received::One(event) => event,
            Received::Batch(_) => panic!("one event"),
        }
    }

    #[test]
    fn an_adopted_context_goes_out_in_every_format_and_changes_no_byte_of_what_came() {
        let parent = TraceParent::parse(PARENT).unwrap();
        for extra in ["", r#","traceparent":null,"sequence":"7","producersequence":"8""#] {
            let mut event = structured(extra);
            let before = event.data.clone();
            event.adopt_trace(parent, Some("a=1"));
            assert_eq!(event.data, before);
            let (headers, _) = binding::binary(&event, SEQUENCE).unwrap();
            assert_eq!(headers["ce-traceparent"], PARENT);
            assert_eq!(headers["ce-tracestate"], "a=1");
            let sent: serde_json::Value = serde_json::from_slice(&json::structured(&event, SEQUENCE).unwrap()).unwrap();
            assert_eq!((&sent["traceparent"], &sent["tracestate"], &sent["data"]), (&PARENT.into(), &"a=1".into(), &1.into()));
            assert_eq!(super::headers(&event).unwrap().0, PARENT);
        }
    }

    #[test]
    fn an_event_keeps_the_context_that_it_has() {
        let mut event = structured(r#","traceparent":"of its own""#);
        event.adopt_trace(TraceParent::parse(PARENT).unwrap(), Some("a=1"));
        assert_eq!((event.attributes.get("traceparent"), event.attributes.get("tracestate")), (Some("of its own"), None));
        assert_eq!(event.trace_parent(), None);
        assert!(super::headers(&event).is_none(), "what is not valid is no header");
        let sent = json::structured(&event, SEQUENCE).unwrap();
        assert!(!String::from_utf8_lossy(&sent).contains("tracestate"));
    }

    #[test]
    fn an_event_in_binary_mode_adopts_a_context_as_well() {
        let headers = headers_of(&[("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")]);
        let Received::One(mut event) = decode(&headers, Bytes::from_static(b"x"), &Limits::default()).unwrap() else { panic!("one event") };
        event.adopt_trace(TraceParent::parse(PARENT).unwrap(), None);
        assert_eq!(binding::binary(&event, SEQUENCE).unwrap().0["ce-traceparent"], PARENT);
        assert_eq!(event.trace_state(), None);
    }
}
