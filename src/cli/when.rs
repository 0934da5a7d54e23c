//! A moment, as people write it: a time, or how long ago.

use crate::api::values::duration;
use jiff::Timestamp;
use std::str::FromStr;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So many milliseconds before now.
    Ago(u64),
    /// Milliseconds since the epoch.
    At(u64),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        if let Ok(ago) = duration(text) {
            return Ok(When::Ago(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)));
        }
        let at = text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
        at.map(When::At)
            .ok_or_else(|| format!("`{text}` is neither a time like 2026-01-31T12:00:00Z nor how long ago, like 90s, 10m or 2h"))
    }
}

impl When {
    /// Milliseconds since the epoch, where the clock of Redis shows `now`.
    pub fn at(self, now: u64) -> u64 {
        match self {
            When::Ago(millis) => now.saturating_sub(millis),
            When::At(millis) => millis,
        }
    }
}

/// A moment (milliseconds since the epoch) as RFC 3339, to the second; empty for what is beyond all calendars.
pub fn shown(ms: u64) -> String {
    let known = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    known.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = 1_764_000_000_000;
        for (text, at) in [("10m", now - 600_000), ("0s", now), ("2025-11-24T16:00:00Z", now), ("2025-11-24T17:00:00.5+01:00", now + 500)] {
            assert_eq!(text.parse::<When>().unwrap().at(now), at, "{text}");
        }
        for text in ["", "yesterday", "10", "2025-11-24"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
        assert_eq!(shown(now), "2025-11-24T16:00:00Z");
    }
}
