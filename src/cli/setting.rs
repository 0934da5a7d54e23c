//! Flags that may also be set by the environment, where an empty value counts as not set.

use crate::api::values::{duration, quantity};
use std::str::FromStr;
use std::time::Duration;

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

/// A number of bytes above 0, written as a Kubernetes quantity: `1048576`, `512Mi`, `2Gi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        match quantity(text) {
            Ok(0) => Err("nothing fits into 0 bytes: write at least 1, or 512Mi, 2Gi".to_owned()),
            Ok(bytes) => Ok(Bytes(bytes)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A duration above 0, written as Kubernetes does: `500ms`, `30s`, `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        match duration(text) {
            Ok(Duration::ZERO) => Err("write a duration above 0, like 500ms, 30s or 5m".to_owned()),
            Ok(time) => Ok(Time(time)),
            Err(error) => Err(error.to_string()),
        }
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
        assert_eq!("512Mi".parse(), Ok(Bytes(512 << 20)));
        for text in ["", "0", "Mi", "1 Mi"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
