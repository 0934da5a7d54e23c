//! Media types as RFC 2045 and RFC 9110 write them: `type/subtype; name=value; name="value"`.

/// A media type, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaType<'a> {
    /// `type/subtype` as written.
    pub(super) essence: &'a str,
    subtype: &'a str,
    charset: Option<&'a str>,
}

impl<'a> MediaType<'a> {
    /// Reads a media type; `None` if it is none.
    pub(super) fn parse(text: &'a str) -> Option<MediaType<'a>> {
        let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let essence = essence.trim_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut charset = None;
        while !rest.is_empty() {
            let (name, value, after) = parameter(rest)?;
            if name.eq_ignore_ascii_case("charset") {
                charset = Some(value);
            }
            rest = after;
        }
        Some(MediaType { essence, subtype, charset })
    }

    /// Whether it declares JSON: subtype `json`, or one that ends with `+json` (JSON event format 1.0.2, section 3.1.1).
    pub(super) fn is_json(&self) -> bool {
        let suffix = self.subtype.rsplit('+').next().unwrap_or_default();
        suffix.eq_ignore_ascii_case("json")
    }

    /// Whether its text is UTF-8: declared so, or not declared.
    pub(super) fn is_utf8(&self) -> bool {
        self.charset.is_none_or(|charset| ["utf-8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known)))
    }
}

/// One `; name=value` off the front: name, value without its quotes, and what follows. An empty one (`;`) has neither.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.strip_prefix(';')?.trim_start_matches([' ', '\t']);
    if text.is_empty() || text.starts_with(';') {
        return Some(("", "", text));
    }
    let (name, value) = text.split_once('=')?;
    let end = match value.strip_prefix('"') {
        Some(quoted) => 1 + end_of_quoted(quoted)?,
        None => value.find([';', ' ', '\t']).unwrap_or(value.len()),
    };
    let (value, rest) = value.split_at(end);
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let right = is_token(name) && (unquoted.is_some() || is_token(value));
    right.then(|| (name, unquoted.unwrap_or(value), rest.trim_start_matches([' ', '\t'])))
}

/// Length of a quoted string up to and including its closing quote, the opening one aside.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => drop(bytes.next().filter(|(_, byte)| is_printable(*byte))?),
            _ if is_printable(byte) => {}
            _ => return None,
        }
    }
    None
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read() {
        for (text, json, utf8) in [
            ("application/json", true, true),
            ("text/JSON ; charset=UTF-8", true, true),
            ("application/vnd.api+Json;charset=\"utf-8\"; v=1;", true, true),
            ("application/json; charset=utf-16", true, false),
            ("application/jsonx", false, true),
            ("text/xml; a=\"b;\\\"c\"; charset=iso-8859-1", false, false),
            ("application/vnd.apache.thrift.binary;;", false, true),
        ] {
            let media_type = MediaType::parse(text).expect(text);
            assert_eq!((media_type.is_json(), media_type.is_utf8()), (json, utf8), "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in [
            "",
            "json",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a /b",
            "a/b c",
            "a/b;c",
            "a/b;=d",
            "a/b;c=",
            "a/b;c=\"d",
            "a/b;c=\"d\"e",
            "a/b;c=d e",
            "é/b",
            "a/b;c=\"é\"",
            "a/b\n",
            "a/b, c/d",
            "a/b;c=\"\n\"",
        ] {
            assert_eq!(MediaType::parse(text), None, "{text}");
        }
    }
}
