//! One dead letter: as an object, and as text for a person.

use crate::bus::dead_letters::DeadLetter;
use crate::cli::output::harmless;
use crate::cli::when::shown as time;
use crate::event::{Event, http};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// All but the data.
pub(super) fn object(letter: &DeadLetter) -> Value {
    let mut object = json!({
        "sequence": letter.sequence.padded(),
        "deadLetterID": letter.id.to_string(),
        "reason": letter.class,
        "message": letter.message,
        "attempts": letter.attempts,
        "time": time(letter.at),
    });
    let mut add = |name: &str, value: Value| object[name] = value;
    if let Some(code) = letter.code {
        add("statusCode", code.into());
    }
    if let Some(first) = letter.first {
        add("firstAttemptTime", time(first).into());
    }
    match &letter.event {
        Ok(event) => {
            add("event", event.attributes.iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>().into())
        }
        Err(error) => add("unreadable", error.to_string().into()),
    }
    object
}

/// The same with the data: `data` if it is text that can be shown, else `dataBase64`.
pub(super) fn object_with_data(letter: &DeadLetter) -> Value {
    let mut object = object(letter);
    if let Ok(event) = &letter.event
        && let Some(data) = data(letter, event)
    {
        object["dataBytes"] = data.len().into();
        match printable(&data) {
            Some(text) => object["data"] = text.into(),
            None => object["dataBase64"] = STANDARD.encode(&data).into(),
        }
    }
    object
}

/// One line for each field, then the data.
pub(super) fn text(letter: &DeadLetter) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<15} {}", format!("{name}:"), harmless(value));
    };
    line("Sequence", &letter.sequence.padded());
    line("Reason", &letter.class);
    line("Message", &letter.message);
    line("Code", &letter.code.map(|code| code.to_string()).unwrap_or_default());
    line("Attempts", &letter.attempts.to_string());
    line("First attempt", &letter.first.map(time).unwrap_or_default());
    line("Given up", &time(letter.at));
    match &letter.event {
        Ok(event) => {
            line("Attributes", "");
            for (name, value) in event.attributes.iter() {
                line(&format!("  {name}"), value);
            }
            text.push_str(&data_text(letter, event));
        }
        Err(error) => line("Event", &error.to_string()),
    }
    text
}

fn data_text(letter: &DeadLetter, event: &Event) -> String {
    match data(letter, event) {
        None => "Data:           cannot be read\n".to_owned(),
        Some(data) if data.is_empty() => "Data:           none\n".to_owned(),
        Some(data) => match printable(&data) {
            Some(shown) => format!("Data:           {} bytes\n{}\n", data.len(), shown.trim_end_matches('\n')),
            None => format!("Data:           {} bytes, Base64\n{}\n", data.len(), STANDARD.encode(&data)),
        },
    }
}

/// What a receiver in binary mode would get as the body; `None` if the stored event is damaged.
fn data(letter: &DeadLetter, event: &Event) -> Option<Bytes> {
    http::binary(event, letter.sequence).ok().map(|(_, body)| body)
}

/// The data as text, if it cannot steer a terminal.
fn printable(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::entry::BadEntry;
    use crate::event::{Limits, Sequence, json as format};

    fn letter(event: Result<Event, BadEntry>) -> DeadLetter {
        DeadLetter {
            id: Sequence { ms: 9, seq: 0 },
            sequence: Sequence { ms: 7, seq: 1 },
            event,
            attempts: 3,
            class: "Unprocessable".into(),
            code: Some(422),
            message: "answered 422".into(),
            first: Some(1_764_000_000_000),
            at: 1_764_000_006_000,
        }
    }

    fn event(members: &str) -> Event {
        let json = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#);
        format::event(&json.into(), &Limits::default()).unwrap()
    }

    #[test]
    fn the_data_is_text_where_it_can_be_shown() {
        let object = object_with_data(&letter(Ok(event(r#","data":{"a":[1]}"#))));
        assert_eq!((object["data"].as_str(), object["dataBytes"].as_u64()), (Some(r#"{"a":[1]}"#), Some(9)));
        assert_eq!(object["event"]["type"], "t");
        assert!(text(&letter(Ok(event(r#","data":{"a":[1]}"#)))).ends_with("Data:           9 bytes\n{\"a\":[1]}\n"));
    }

    #[test]
    fn binary_data_is_base64() {
        let binary = letter(Ok(event(r#","datacontenttype":"image/png","data_base64":"/wAb""#)));
        let object = object_with_data(&binary);
        assert_eq!((object["dataBase64"].as_str(), object.get("data")), (Some("/wAb"), None));
        assert!(text(&binary).ends_with("3 bytes, Base64\n/wAb\n"));
    }

    #[test]
    fn an_unreadable_event_still_tells_why_it_was_given_up() {
        let letter = letter(Err(BadEntry("it has no version".into())));
        assert!(text(&letter).contains("it has no version"));
        let object = object_with_data(&letter);
        assert_eq!(object["reason"], "Unprocessable");
        assert!(object["unreadable"].as_str().is_some_and(|text| text.contains("no version")));
    }
}
