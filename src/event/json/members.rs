//! The members of a JSON object and the items of a JSON array, as slices of the text.

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One member of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    /// Its name, unescaped.
    pub(super) name: Cow<'a, str>,
    /// Its name as written, with quotes.
    pub(super) key: &'a str,
    /// Its value as written, without white space around it.
    pub(super) value: &'a str,
}

impl Member<'_> {
    /// The value if it is a string, unescaped; `None` if it is something else or has half a surrogate pair.
    pub(super) fn string(&self) -> Option<String> {
        serde_json::from_str(self.value).ok()
    }

    /// Whether the value is `null`: for an attribute the same as its absence (JSON event format 1.0.2, section 2.2).
    pub(super) fn is_null(&self) -> bool {
        self.value == "null"
    }
}

/// Elements in their order, the first `max` of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    /// The elements.
    pub(super) elements: Vec<T>,
    /// There are more.
    pub(super) more: bool,
}

/// Reads an object. What is wrong with it is told for a person, and never repeats its content.
pub(super) fn members(text: &str, max: usize) -> Result<Found<Member<'_>>, String> {
    if !starts_with(text, '{') {
        return Err("it is no JSON object".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_map(Members { max }).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(found)
}

/// Reads an array.
pub(super) fn items(text: &str, max: usize) -> Result<Found<&str>, String> {
    if !starts_with(text, '[') {
        return Err("it is no JSON array".to_owned());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_seq(Items { max }).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(found)
}

/// serde_json would repeat a wrong value in its error.
fn starts_with(text: &str, bracket: char) -> bool {
    text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with(bracket)
}

struct Members {
    max: usize,
}

impl<'de> Visitor<'de> for Members {
    type Value = Found<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found { elements: Vec::new(), more: false };
        while found.elements.len() < self.max {
            let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? else { return Ok(found) };
            let name = unescape(key.get()).map_err(|_| serde::de::Error::custom("the name of a member has half a surrogate pair"))?;
            found.elements.push(Member { name, key: key.get(), value: value.get() });
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            found.more = true;
        }
        Ok(found)
    }
}

struct Items {
    max: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = Found<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut found = Found { elements: Vec::new(), more: false };
        while found.elements.len() < self.max {
            let Some(item) = sequence.next_element::<&RawValue>()? else { return Ok(found) };
            found.elements.push(item.get());
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            found.more = true;
        }
        Ok(found)
    }
}

/// A quoted name without its quotes and escapes.
fn unescape(key: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    if key.contains('\\') {
        return serde_json::from_str(key).map(Cow::Owned);
    }
    Ok(Cow::Borrowed(key.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_slices_of_the_text() {
        let text = " { \"a\" : [1, {\"b\":2}] ,\"\\u0061\\\"\":\"x\\n\" }\n";
        let found = members(text, 9).unwrap();
        assert!(!found.more);
        let parts: Vec<_> = found.elements.iter().map(|m| (m.name.as_ref(), m.key, m.value)).collect();
        assert_eq!(parts, [("a", "\"a\"", "[1, {\"b\":2}]"), ("a\"", "\"\\u0061\\\"\"", "\"x\\n\"")]);
    }

    #[test]
    fn no_more_than_the_allowed_number_is_kept() {
        assert_eq!(items("[1, 2 ,3]", 3), Ok(Found { elements: vec!["1", "2", "3"], more: false }));
        assert_eq!(items("[1, 2 ,3]", 2), Ok(Found { elements: vec!["1", "2"], more: true }));
        assert!(members("{\"a\":1,\"b\":2}", 1).unwrap().more);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "1",
            "\"{}\"",
            "{",
            "{}}",
            "{}{}",
            "{'a':1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
        ] {
            assert!(members(text, 9).is_err(), "{text:?}");
        }
        for text in ["", "{}", "[", "[1,]", "[1]x", "[1 2]"] {
            assert!(items(text, 9).is_err(), "{text:?}");
        }
        assert!(members("{\"\\ud800\":1}", 9).is_err());
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(members(&format!("{{\"a\":{deep}}}"), 9).unwrap().elements[0].value, deep);
        assert_eq!(items(&format!("[{deep}]"), 9).unwrap().elements, [deep.as_str()]);
        assert!(members(&format!("{{\"a\":{}", "{\"a\":".repeat(1_000_000)), 9).is_err());
    }
}
