//! What the rules share: rows that recur, and in Rust what CEL's library does.

use super::Rule;
use crate::api::values::{self, DURATION_FORM};
use serde_json::Value;

/// Whether a field is there.
pub(super) fn has(object: &Value, field: &str) -> bool {
    object.get(field).is_some()
}

/// How many of the fields are there.
pub(super) fn count(object: &Value, fields: &[&str]) -> usize {
    fields.iter().filter(|field| has(object, field)).count()
}

/// A field's text; empty if it is not there.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// The text of a value; empty if it is none.
pub(super) fn own_text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// CEL for exactly one of the fields.
pub(super) fn exactly_one(fields: &[&str]) -> String {
    let all: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    format!("[{}].exists_one(x, x)", all.join(", "))
}

/// A duration between two bounds, or zero where that has a meaning of its own.
pub(super) fn duration(path: &str, least: &'static str, most: &'static str, or_zero: bool) -> Rule {
    let zero = if or_zero { ", or 0s" } else { "" };
    let message = format!("must be a duration from {least} to {most}{zero}, written like 500ms, 30s, 5m or 1h30m");
    let bounds = format!("(duration(self) >= duration('{least}') && duration(self) <= duration('{most}'))");
    let bounds = if or_zero { format!("{bounds} || duration(self) == duration('0s')") } else { bounds };
    let within = move |text: &str| {
        let read = values::duration;
        match (read(text), read(least), read(most)) {
            (Ok(value), Ok(least), Ok(most)) => (least <= value && value <= most) || (or_zero && value.is_zero()),
            _ => false,
        }
    };
    Rule::value(path, format!("self.matches('{DURATION_FORM}') && ({bounds})"), message.clone(), move |it| within(own_text(it)))
        .says(format!(r#"'"' + self + '" {message}'"#), move |it| format!("\"{}\" {message}", own_text(it)))
}

/// A size between two bounds.
pub(super) fn size(path: &str, least: &'static str, most: &'static str) -> Rule {
    let message = format!("must be a number of bytes from {least} to {most}, written like 65536, 512Ki or 4Mi");
    let cel = format!(
        "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('{least}')) >= 0 \
         && quantity(string(self)).compareTo(quantity('{most}')) <= 0"
    );
    let within = move |text: &str| {
        let read = values::quantity;
        matches!((read(text), read(least), read(most)), (Ok(value), Ok(least), Ok(most)) if least <= value && value <= most)
    };
    Rule::value(path, cel, message.clone(), move |it| within(&as_string(it)))
        .says(format!(r#"'"' + string(self) + '" {message}'"#), move |it| format!("\"{}\" {message}", as_string(it)))
}

/// CEL's `string(…)` of a number or a text.
fn as_string(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A URL as Kubernetes' `isURL` and `url` take it apart (Go's `net/url`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// In lower case.
    pub scheme: String,
    /// Without port; without the brackets of an IPv6 address.
    pub host: &'a str,
}

impl Uri<'_> {
    /// An absolute URL; `None` for anything else.
    pub fn parse(text: &str) -> Option<Uri<'_>> {
        let (scheme, rest) = text.split_once(':')?;
        let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && rest.starts_with('/')
            && !text.chars().any(|c| c.is_ascii_control());
        let (before_query, _) = rest.split_once('?').unwrap_or((rest, ""));
        let after_slashes = before_query.strip_prefix("//").unwrap_or("");
        let (authority, path) = after_slashes.split_at(after_slashes.find('/').unwrap_or(after_slashes.len()));
        let (user, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = split_port(host_and_port)?;
        let valid = valid
            && host.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"".contains(c))
            && port.chars().all(|c| c.is_ascii_digit())
            && user.chars().all(|c| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c))
            && well_escaped(path)
            && well_escaped(user);
        valid.then(|| Uri { scheme: scheme.to_ascii_lowercase(), host: host.trim_start_matches('[').trim_end_matches(']') })
    }
}

/// Host and port; `None` if the brackets of an IPv6 address do not match.
fn split_port(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('[') {
        let (host, rest) = text.split_at(text.rfind(']')? + 1);
        return if rest.is_empty() { Some((host, "")) } else { Some((host, rest.strip_prefix(':')?)) };
    }
    Some(text.rsplit_once(':').unwrap_or((text, "")))
}

/// Every `%` begins two hexadecimal digits.
fn well_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_as_an_api_server_does() {
        let parts = |text| Uri::parse(text).map(|uri| (uri.scheme, uri.host.to_owned()));
        let is = |scheme: &str, host: &str| Some((scheme.to_owned(), host.to_owned()));
        assert_eq!(parts("https://a.example/h?x=%zz"), is("https", "a.example"));
        assert_eq!(parts("HTTP://a.example:80"), is("http", "a.example"));
        assert_eq!(parts("https://[::1]:8443/h"), is("https", "::1"));
        assert_eq!(parts("https://user:pw@a.example/h"), is("https", "a.example"));
        assert_eq!(parts("https:///h"), is("https", ""));
        for text in
            ["a.example/hooks", "/h", "https://a b/", "https://a/%zz", "https://a:x/", "https://[::1/h", "1http://a/", "https://a/\n"]
        {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
