//! An event as one line, for files of JSON lines.

use super::encode;
use super::members::members;
use crate::event::{Event, Mode, Sequence, Undecodable};
use std::borrow::Cow;

/// The event as one line with our `sequence`, as a receiver in structured mode would get it.
///
/// # Errors
/// If the stored event is damaged.
pub fn line(event: &Event, sequence: Sequence) -> Result<String, Undecodable> {
    one_line(String::from_utf8_lossy(&encode::structured(event, sequence)?))
}

/// The event as its producer sent it, as one line, with these members instead of any of the same names; their values are JSON.
///
/// # Errors
/// If the stored event is damaged.
pub fn line_with(event: &Event, more: &[(&str, String)]) -> Result<String, Undecodable> {
    let text = match event.mode {
        Mode::Binary => encode::unnumbered(event),
        Mode::Structured | Mode::BatchItem => String::from_utf8_lossy(&event.data).into_owned(),
    };
    let kept = members(&text, usize::MAX).map_err(Undecodable)?.elements;
    let kept = kept.iter().filter(|member| more.iter().all(|(name, _)| member.name != *name));
    let own = kept.map(|member| format!("{}:{}", member.key, member.value));
    let added = more.iter().map(|(name, value)| format!("\"{name}\":{value}"));
    one_line(format!("{{{}}}", own.chain(added).collect::<Vec<_>>().join(",")).into())
}

/// In JSON a line break can only be white space: in a string it is escaped.
fn one_line(text: Cow<'_, str>) -> Result<String, Undecodable> {
    Ok(text.replace(['\r', '\n'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Limits, json};
    use bytes::Bytes;

    fn structured(text: &str) -> Event {
        json::event(&Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
    }

    #[test]
    fn a_line_has_no_line_break_and_the_data_as_they_were() {
        let event = structured(
            "{\n \"specversion\": \"1.0\", \"id\":\"1\",\"source\":\"/s\",\r\n\"type\":\"t\", \"data\": {\n\"n\": 1.50,\n\"t\":\"a\\nb\"}}",
        );
        let line = line_with(&event, &[("deadletterreason", "\"Timeout\"".into())]).unwrap();
        let data = "{ \"n\": 1.50, \"t\":\"a\\nb\"}";
        let expected = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\":{data},\"deadletterreason\":\"Timeout\"}}"
        );
        assert_eq!(line, expected);
        assert!(!super::line(&event, Sequence { ms: 1, seq: 0 }).unwrap().contains('\n'));
    }

    #[test]
    fn what_was_added_before_is_replaced_and_the_producers_sequence_stays() {
        let event = structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","sequence":"7","deadletterreason":"Old"}"#);
        let line = line_with(&event, &[("deadletterreason", "\"New\"".into())]).unwrap();
        assert!(line.contains(r#""sequence":"7""#) && line.contains("New") && !line.contains("Old"), "{line}");
    }

    #[test]
    fn an_event_in_binary_mode_becomes_one_that_can_be_read_again() {
        let mut event =
            structured(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","sequence":"7","datacontenttype":"image/png"}"#);
        event.mode = Mode::Binary;
        event.data = Bytes::from_static(&[0xff, 0, 1]);
        let again = structured(&line_with(&event, &[]).unwrap());
        assert_eq!(again.attributes, event.attributes);
        assert_eq!(encode::content(&again).unwrap().1, event.data);
    }
}
