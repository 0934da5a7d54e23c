//! Flags that may also be set by the environment, where an empty value counts as not set.

use std::str::FromStr;

/// A value that was given, or none: an empty environment variable is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T>(pub Option<T>);

impl<T> Default for Setting<T> {
    fn default() -> Setting<T> {
        Setting(None)
    }
}

impl<T: FromStr> FromStr for Setting<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Setting<T>, T::Err> {
        if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|value| Setting(Some(value))) }
    }
}

/// Most memory, as in Kubernetes: bytes, or with one of the suffixes k, M, G, Ki, Mi, Gi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, suffix) = text.split_at(split);
        let unit = match suffix {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => 0,
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|bytes| *bytes > 0);
        bytes.map(Bytes).ok_or_else(|| format!("`{text}` is not a size: write bytes, or 512Mi, 2Gi"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set() {
        assert_eq!("".parse(), Ok(Setting::<u16>(None)));
        assert_eq!("7".parse(), Ok(Setting(Some(7_u16))));
        assert!("x".parse::<Setting<u16>>().is_err());
    }

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in [("1", 1), ("4k", 4000), ("512Mi", 512 << 20), ("2Gi", 2 << 30), ("1G", 1_000_000_000)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "0", "Mi", "1.5Gi", "-1", "1 Mi", "1mi", "99999999999999999999", "18446744073709551615Ki"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
