//! Values that are written as text: durations and sizes.

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

/// The form of a duration, as the rules of the schema have it: one to four numbers, each with a unit.
pub(super) const DURATION_FORM: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

static DURATION: LazyLock<Regex> = LazyLock::new(|| Regex::new(DURATION_FORM).expect("the form of a duration is a regular expression"));
static PART: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("([0-9]{1,5})(h|ms|m|s)").expect("the form of one part is a regular expression"));

/// Not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write it like 500ms, 30s, 5m or 1h30m")]
pub struct NotADuration(pub String);

/// Reads a duration in Kubernetes style: `500ms`, `30s`, `1h30m`. Units are `h`, `m`, `s` and `ms`; whole numbers only.
pub fn duration(text: &str) -> Result<Duration, NotADuration> {
    if !DURATION.is_match(text) {
        return Err(NotADuration(text.to_owned()));
    }
    let parts = PART.captures_iter(text).map(|part| {
        let number = part[1].parse::<u64>().expect("at most five digits");
        Duration::from_millis(number * if &part[2] == "ms" { 1 } else { 1000 * seconds(&part[2]) })
    });
    Ok(parts.sum())
}

fn seconds(unit: &str) -> u64 {
    match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    }
}

/// Not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of bytes: write it like 65536, 512Ki or 4Mi")]
pub struct NotAQuantity(pub String);

/// A number of bytes, as a Kubernetes quantity: a number, or text like `512Ki`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Bytes.
    Number(i64),
    /// As text.
    Text(String),
}

impl Quantity {
    /// The number of bytes, a fraction rounded up.
    pub fn bytes(&self) -> Result<u64, NotAQuantity> {
        quantity(&self.to_string())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Number(number) => number.fmt(f),
            Quantity::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "maxLength": 20})
    }
}

static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^([+-]?)([0-9]*)(?:\.([0-9]*))?(|[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})$").expect("the form of a quantity is one")
});

/// Reads a Kubernetes quantity (`65536`, `512Ki`, `1.5M`, `2e3`) that is not negative; a fraction of a byte is rounded up, and what is
/// more than a `u64` holds is its maximum.
pub fn quantity(text: &str) -> Result<u64, NotAQuantity> {
    let wrong = || NotAQuantity(text.to_owned());
    let parts = QUANTITY.captures(text).ok_or_else(wrong)?;
    let (whole, fraction) = (&parts[2], parts.get(3).map_or("", |fraction| fraction.as_str()));
    if whole.is_empty() && fraction.is_empty() {
        return Err(wrong());
    }
    let digits = format!("{whole}{fraction}").parse::<u128>().map_err(|_| wrong())?;
    if &parts[1] == "-" && digits != 0 {
        return Err(wrong());
    }
    Ok(scale(digits, fraction.len(), &parts[4]))
}

/// `digits` · 10^-`decimals` · what the suffix stands for, rounded up.
fn scale(digits: u128, decimals: usize, suffix: &str) -> u64 {
    let exponent = i32::try_from(decimals).map_or(i32::MIN / 2, |decimals| decimal_exponent(suffix) - decimals);
    let scaled = digits.saturating_mul(binary_factor(suffix));
    let power = 10u128.checked_pow(exponent.unsigned_abs()).unwrap_or(u128::MAX);
    let value = if exponent < 0 { scaled.div_ceil(power) } else { scaled.saturating_mul(power) };
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn binary_factor(suffix: &str) -> u128 {
    match suffix.strip_suffix('i') {
        Some(unit) => "KMGTPE".find(unit).map_or(1, |power| 1 << (10 * (power + 1))),
        None => 1,
    }
}

fn decimal_exponent(suffix: &str) -> i32 {
    match suffix {
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        exponent => exponent.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse().ok()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        let cases = [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("1m500ms", 60_500), ("0s", 0)];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_forms_of_durations_are_refused() {
        for text in ["", "30", "PT1S", "1.5s", "-1s", "1 s", "3 days", "100000s", "1s1s1s1s1s", "1S"] {
            assert_eq!(duration(text), Err(NotADuration(text.into())), "{text}");
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let cases = [
            ("65536", 65_536),
            ("512Ki", 524_288),
            ("1Mi", 1 << 20),
            ("0.5Mi", 1 << 19),
            (".5Ki", 512),
            ("5.Ki", 5120),
            ("1k", 1000),
            ("1500m", 2),
            ("1.5", 2),
            ("2e3", 2000),
            ("2E3", 2000),
            ("1E", 1_000_000_000_000_000_000),
            ("+4Mi", 4 << 20),
            ("99999999999Ei", u64::MAX),
            ("1e-400", 1),
        ];
        for (text, bytes) in cases {
            assert_eq!(quantity(text), Ok(bytes), "{text}");
        }
        assert_eq!(Quantity::Number(7).bytes(), Ok(7));
    }

    #[test]
    fn other_forms_of_quantities_are_refused() {
        for text in ["", ".", "1MB", "1K", "1mi", "-1", "1 Mi", "Mi", "1ki", "0x10", "1e"] {
            assert_eq!(quantity(text), Err(NotAQuantity(text.into())), "{text}");
        }
    }
}
