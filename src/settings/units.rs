//! Durations, quantities and shares as people write them.

use super::Size;
use std::time::Duration;

/// Reads `500ms`, `30s`, `10m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write it like 500ms, 30s, 10m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let milliseconds = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Reads a whole number of bytes as a Kubernetes quantity: `1048576`, `1Mi`, `10M`.
pub(super) fn quantity(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: write it in bytes or like 64Ki, 1Mi, 2Gi");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match &text[digits..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
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
    fn durations_are_read_as_kubernetes_writes_them() {
        for (text, milliseconds) in
            [("0s", 0), ("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("24h", 86_400_000), ("1h30m", 5_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "1d", "-1s", "1.5h", "1 s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in [("0", 0), ("1048576", 1 << 20), ("64Ki", 1 << 16), ("1Mi", 1 << 20), ("2Gi", 2 << 30), ("10M", 10_000_000)] {
            assert_eq!(quantity(text), Ok(bytes), "{text}");
        }
        for text in ["", "Mi", "1 Mi", "1mi", "-1", "1.5Mi", "99999999999Ti"] {
            assert!(quantity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_bytes_or_a_share() {
        assert_eq!(size("25%"), Ok(Size::Percent(25)));
        assert_eq!(size("256Mi"), Ok(Size::Bytes(256 << 20)));
        for text in ["0", "0%", "101%", "%", "-5%"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
