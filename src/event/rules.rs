//! What a name and a value of an attribute must be. A rule is told as the end of the sentence "attribute `x` …".

use super::media_type::MediaType;
use super::uri;

/// Longest name of an attribute. The specification says that names should not exceed 20; longer ones exist.
const MAX_NAME: usize = 256;

/// Whether this may be the name of an attribute (CloudEvents 1.0.2, sections 2.4 and 3.1).
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "data" => Err("is not allowed: `data` is the name of the payload"),
        "specversion" => Err("must be given once"),
        _ if name.len() > MAX_NAME => Err("has a name of more than 256 characters"),
        _ if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) => {
            Err("has a name that is not allowed: names consist of the characters a-z and 0-9")
        }
        _ => Ok(()),
    }
}

/// Whether the value is of the type of this attribute (sections 3.1 to 3.3).
pub(super) fn check_value(name: &str, value: &str) -> Result<(), &'static str> {
    if value.chars().any(is_forbidden) {
        return Err("must not contain control characters (U+0000 to U+001F, U+007F to U+009F) or noncharacters");
    }
    match name {
        "id" | "source" | "type" | "subject" | "dataschema" if value.is_empty() => Err("must not be empty"),
        "source" if !uri::is_reference(value) => Err("must be a URI-reference (RFC 3986): percent-encode what its grammar does not allow"),
        "dataschema" if !uri::is_absolute(value) => Err("must be an absolute URI (RFC 3986), like https://example.com/schema"),
        "time" if !is_timestamp(value) => Err("must be a timestamp as in RFC 3339, like 2018-04-05T17:31:00Z"),
        "datacontenttype" if MediaType::parse(value).is_none() => Err("must be a media type as in RFC 2045, like application/json"),
        _ => Ok(()),
    }
}

/// Whether this is the one version that is read.
pub(super) fn check_specversion(value: Option<&str>) -> Result<(), &'static str> {
    match value {
        Some(super::attributes::SPEC_VERSION) => Ok(()),
        Some(_) => Err("must be 1.0, the only version that is read"),
        None => Err("is required and must be 1.0"),
    }
}

/// Attributes of the specification: their JSON type is always string.
pub(super) fn is_core(name: &str) -> bool {
    matches!(name, "id" | "source" | "specversion" | "type" | "datacontenttype" | "dataschema" | "subject" | "time")
}

/// What section 3.1 excludes from strings.
fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{FDD0}'..='\u{FDEF}') || (c as u32) & 0xFFFE == 0xFFFE
}

/// RFC 3339, section 5.6: `date-time`. Looks at the grammar and the calendar; a leap second is accepted at any minute.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() {
        return false;
    }
    let shape = bytes[..19].iter().zip(b"0000-00-00T00:00:00").all(|(byte, pattern)| match pattern {
        b'0' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(pattern),
    });
    let in_calendar = || {
        let (year, month, day) = (number(bytes, 0, 4), number(bytes, 5, 2), number(bytes, 8, 2));
        (1..=days_of(year, month)).contains(&day) && number(bytes, 11, 2) < 24 && number(bytes, 14, 2) < 60 && number(bytes, 17, 2) <= 60
    };
    shape && in_calendar() && is_fraction_and_offset(&bytes[19..])
}

fn is_fraction_and_offset(mut rest: &[u8]) -> bool {
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    match rest {
        b"Z" | b"z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) => {
            number(rest, 1, 2) < 24 && number(rest, 4, 2) < 60
        }
        _ => false,
    }
}

/// The decimal number at this place; all its bytes are digits.
fn number(bytes: &[u8], at: usize, digits: usize) -> u32 {
    bytes[at..at + digits].iter().fold(0, |number, byte| number * 10 + u32::from(byte - b'0'))
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_of_rfc_3339() {
        for text in [
            "2018-04-05T17:31:00Z",
            "1985-04-12T23:20:50.52Z",
            "1990-12-31T23:59:60Z",
            "1937-01-01T12:00:27.87+00:20",
            "2024-02-29t00:00:00z",
            "2018-04-05T03:56:24.123456789123-23:59",
        ] {
            assert!(is_timestamp(text), "{text}");
        }
        for text in [
            "",
            "2018-04-05",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31:00",
            "2018-04-05T17:31Z",
            "2018-13-05T17:31:00Z",
            "2018-00-05T17:31:00Z",
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2018-04-31T00:00:00Z",
            "2018-04-00T00:00:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00+0200",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00+02:60",
            "2018-04-05T17:31:00Zx",
            "1522949460000000000000",
            "2018-04-05T17:31:0éZ",
        ] {
            assert!(!is_timestamp(text), "{text}");
        }
    }

    #[test]
    fn names_are_lower_case_letters_and_digits() {
        for name in ["a", "0", "abc123", "atwentyonecharactername", &"a".repeat(256)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "A", "a-b", "a_b", "a.b", "a b", "ä", "data", "specversion", &"a".repeat(257)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn forbidden_characters_are_refused_and_others_are_not() {
        for c in ['\0', '\t', '\r', '\n', '\u{1f}', '\u{7f}', '\u{9f}', '\u{fdd0}', '\u{fffe}', '\u{10ffff}'] {
            assert!(check_value("ext", &format!("a{c}b")).is_err(), "{c:?}");
        }
        for c in [' ', '~', '\u{a0}', '€', '\u{fffd}', '😀'] {
            assert!(check_value("ext", &format!("a{c}b")).is_ok(), "{c:?}");
        }
    }
}
