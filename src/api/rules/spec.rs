//! Rules of `spec` and all below it but the filters and the sink.

use super::Rule;
use super::helpers::{duration, has, own_text, size, text};
use crate::api::values::{self, DURATION_FORM};
use regex::Regex;
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

const BUS_FORM: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
static BUS: LazyLock<Regex> = LazyLock::new(|| Regex::new(BUS_FORM).expect("the form of a name is a regular expression"));

pub(super) const ATTRIBUTE_FORM: &str = "^[a-z0-9]{1,20}$";
static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| Regex::new(ATTRIBUTE_FORM).expect("the form of a name is a regular expression"));

/// Whether a text can name a CloudEvents attribute.
pub(super) fn is_attribute(name: &str) -> bool {
    ATTRIBUTE.is_match(name)
}

pub(super) fn rules() -> Vec<Rule> {
    [start(), ordering(), delivery(), limits()].into_iter().flatten().collect()
}

fn start() -> Vec<Rule> {
    vec![
        Rule::value(
            "spec.bus",
            format!("self.matches('{BUS_FORM}')"),
            "must be the name of a bus: lower-case letters, digits and -, at most 63",
            |it| BUS.is_match(own_text(it)),
        )
        .says(r#"'"' + self + '" is not the name of a bus: lower-case letters, digits and -, at most 63'"#, |it| {
            format!("\"{}\" is not the name of a bus: lower-case letters, digits and -, at most 63", own_text(it))
        }),
        Rule::change("spec.bus", "self == oldSelf", "bus cannot be changed", |new, old| new == old).says(
            "'bus cannot be changed (it is ' + oldSelf + '): the events that wait belong to it; create another EventDestination'",
            |old| {
                let old = own_text(old);
                format!("bus cannot be changed (it is {old}): the events that wait belong to it; create another EventDestination")
            },
        ),
        Rule::change(
            "spec",
            "self.startFrom == oldSelf.startFrom && (has(self.startTime) ? has(oldSelf.startTime) && self.startTime == oldSelf.startTime \
             : !has(oldSelf.startTime))",
            "startFrom and startTime cannot be changed: they were used when the queue was created",
            |new, old| new["startFrom"] == old["startFrom"] && new["startTime"] == old["startTime"],
        )
        .on(".startFrom"),
        Rule::value(
            "spec",
            "has(self.startTime) == (self.startFrom == 'Time')",
            "startTime is needed with startFrom: Time, and only then",
            |it| has(it, "startTime") == (it["startFrom"] == "Time"),
        )
        .on(".startTime"),
        Rule::value(
            "spec",
            "!has(self.drainTimeout) || self.deletionPolicy == 'Drain'",
            "drainTimeout is for deletionPolicy: Drain",
            |it| !has(it, "drainTimeout") || it["deletionPolicy"] == "Drain",
        )
        .on(".drainTimeout"),
        duration("spec.drainTimeout", "1s", "24h", false),
    ]
}

fn ordering() -> Vec<Rule> {
    vec![
        Rule::value("spec.ordering", "!has(self.keyAttribute) || self.mode == 'PerKey'", "keyAttribute is for mode: PerKey", |it| {
            !has(it, "keyAttribute") || it["mode"] == "PerKey"
        })
        .says("'keyAttribute is for mode: PerKey, not ' + self.mode", |it| {
            format!("keyAttribute is for mode: PerKey, not {}", text(it, "mode"))
        })
        .on(".keyAttribute"),
        Rule::value(
            "spec.ordering",
            "self.mode != 'Strict' || !has(self.maxInFlight) || self.maxInFlight == 1",
            "Strict order allows one request in progress; for more use mode: PerKey or Unordered",
            |it| it["mode"] != "Strict" || !has(it, "maxInFlight") || it["maxInFlight"] == 1,
        )
        .on(".maxInFlight"),
        Rule::value(
            "spec.ordering.keyAttribute",
            format!("self.matches('{ATTRIBUTE_FORM}')"),
            "must be the name of a CloudEvents attribute: 1 to 20 characters, each a-z or 0-9",
            |it| is_attribute(own_text(it)),
        )
        .says(r#"'"' + self + '" is not the name of a CloudEvents attribute: 1 to 20 characters, each a-z or 0-9'"#, |it| {
            format!("\"{}\" is not the name of a CloudEvents attribute: 1 to 20 characters, each a-z or 0-9", own_text(it))
        }),
    ]
}

fn delivery() -> Vec<Rule> {
    vec![
        Rule::value(
            "spec.delivery",
            compares("backoffMax", ">=", "backoffDelay"),
            "backoffMax must not be shorter than backoffDelay",
            compare("backoffMax", "backoffDelay", |most, first| most >= first),
        )
        .says("'backoffMax (' + self.backoffMax + ') must not be shorter than backoffDelay (' + self.backoffDelay + ')'", |it| {
            format!("backoffMax ({}) must not be shorter than backoffDelay ({})", text(it, "backoffMax"), text(it, "backoffDelay"))
        })
        .on(".backoffMax"),
        Rule::value(
            "spec.delivery",
            compares("maxEventAge", ">", "timeout"),
            "maxEventAge must be longer than timeout",
            compare("maxEventAge", "timeout", |age, timeout| age > timeout),
        )
        .says("'maxEventAge (' + self.maxEventAge + ') must be longer than timeout (' + self.timeout + ')'", |it| {
            format!("maxEventAge ({}) must be longer than timeout ({})", text(it, "maxEventAge"), text(it, "timeout"))
        })
        .on(".maxEventAge"),
        duration("spec.delivery.backoffDelay", "10ms", "1h", false),
        duration("spec.delivery.backoffMax", "10ms", "24h", false),
        duration("spec.delivery.timeout", "100ms", "10m", false),
        duration("spec.delivery.maxEventAge", "1m", "8760h", false),
        duration("spec.delivery.deadLetter.maxAge", "1h", "8760h", false),
    ]
}

/// CEL that compares two durations, and steps aside where one is missing or malformed: its own rule says so.
fn compares(left: &str, operator: &str, right: &str) -> String {
    let aside = |field| format!("!has(self.{field}) || !self.{field}.matches('{DURATION_FORM}')");
    format!("{} || {} || duration(self.{left}) {operator} duration(self.{right})", aside(left), aside(right))
}

/// The same in Rust.
fn compare(left: &'static str, right: &'static str, holds: fn(Duration, Duration) -> bool) -> impl Fn(&Value) -> bool {
    move |it| match (values::duration(text(it, left)), values::duration(text(it, right))) {
        (Ok(left), Ok(right)) => holds(left, right),
        _ => true,
    }
}

fn limits() -> Vec<Rule> {
    vec![
        duration("spec.limits.rate.per", "1s", "1h", false),
        Rule::value(
            "spec.limits.backlog",
            "has(self.maxEvents) || has(self.maxBytes)",
            "backlog needs maxEvents, maxBytes or both",
            |it| has(it, "maxEvents") || has(it, "maxBytes"),
        ),
        size("spec.limits.backlog.maxBytes", "1Ki", "1Ti"),
    ]
}
