//! Attribute values as header values (HTTP protocol binding 1.0.2, section 3.1.3.2).

use std::fmt::Write as _;

/// Encodes spaces, double quotes, percent signs and all that is not printable ASCII.
pub(super) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => write!(out, "%{byte:02X}").expect("writing to a string does not fail"),
            b'!'..=b'~' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    out
}

/// Takes double quotes off, then decodes once.
///
/// # Errors
/// The rule that is broken, as the end of the sentence "attribute `x` …".
pub(super) fn decode(value: &[u8]) -> Result<String, &'static str> {
    let unquoted = match value.strip_prefix(b"\"") {
        Some(rest) => &unquote(rest).ok_or("begins with a double quote and must end with one")?,
        None => value,
    };
    let mut out = Vec::with_capacity(unquoted.len());
    let mut rest = unquoted;
    while let Some((&byte, after)) = rest.split_first() {
        let encoded =
            if byte == b'%' { after.split_first_chunk::<2>().and_then(|(hex, after)| Some((hex_byte(hex)?, after))) } else { None };
        let (byte, after) = encoded.unwrap_or((byte, after));
        out.push(byte);
        rest = after;
    }
    String::from_utf8(out).map_err(|_| "must be UTF-8, percent-encoded")
}

/// The content of a quoted string (RFC 9110, section 5.6.4) that follows its opening quote and must end the text.
fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(out),
            b'\\' => out.push(*bytes.next()?),
            byte => out.push(*byte),
        }
    }
}

fn hex_byte([high, low]: &[u8; 2]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_binding_is_encoded_so() {
        let encoded = "Euro%20%E2%82%AC%20%F0%9F%98%80";
        assert_eq!(encode("Euro € 😀"), encoded);
        assert_eq!(decode(encoded.as_bytes()).as_deref(), Ok("Euro € 😀"));
    }

    #[test]
    fn what_other_senders_write_is_decoded() {
        for (header, value) in [
            (r#""Euro € 😀""#, "Euro € 😀"),
            (r#""a \"b\" \\ %20""#, "a \"b\" \\  "),
            ("%e2%82%ac", "€"),
            ("%41%2541", "A%41"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%+1", "%zz%+1"),
            ("a\"b\"", "a\"b\""),
            ("\"\"", ""),
            ("", ""),
        ] {
            assert_eq!(decode(header.as_bytes()).as_deref(), Ok(value), "{header}");
        }
    }

    #[test]
    fn invalid_utf8_and_open_quotes_are_refused() {
        for header in [&b"%C0%A0"[..], b"%ff", b"\xff", b"%E2%82", b"\"", b"\"a", b"\"a\\\"", b"\"a\" b"] {
            assert!(decode(header).is_err(), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn every_string_comes_back(value: String) {
            let encoded = encode(&value);
            prop_assert!(encoded.bytes().all(|b| matches!(b, b'!'..=b'~')));
            prop_assert_eq!(decode(encoded.as_bytes()), Ok(value));
        }

        #[test]
        fn no_header_makes_it_panic(value: Vec<u8>) {
            let _ = decode(&value);
        }
    }
}
