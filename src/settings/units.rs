//! Durations, sizes and shares as people write them.

use super::Size;
use crate::api::values;
use std::time::Duration;

/// Reads `500ms`, `30s`, `10m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    values::duration(text).map_err(|error| error.to_string())
}

/// Reads a number of bytes as a Kubernetes quantity: `1048576`, `1Mi`, `10M`.
pub(super) fn quantity(text: &str) -> Result<u64, String> {
    values::quantity(text).map_err(|error| error.to_string())
}

/// Reads `85%`, 1 to 100.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse::<u8>().ok());
    number.filter(|share| (1..=100).contains(share)).ok_or_else(|| format!("`{text}` is not a share: write it like 25%, from 1% to 100%"))
}

/// Reads a share of `maxmemory` (`25%`) or a number of bytes (`256Mi`).
pub(super) fn size(text: &str) -> Result<Size, String> {
    if text.ends_with('%') {
        return percent(text).map(Size::Percent);
    }
    match quantity(text)? {
        0 => Err("0 bytes hold nothing: write at least 1, or a share like 25%".to_owned()),
        bytes => Ok(Size::Bytes(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_or_a_share() {
        assert_eq!(size("25%"), Ok(Size::Percent(25)));
        assert_eq!(size("256Mi"), Ok(Size::Bytes(256 << 20)));
        for text in ["0", "0%", "101%", "%", "-5%"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
