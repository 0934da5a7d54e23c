//! The filter dialects of the CloudEvents Subscriptions draft. Pure.

pub mod explain;

use crate::event::Attributes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One filter: exactly one dialect. Serialised as in the resource: `{"prefix": {"type": "com.example."}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Every named attribute has exactly this value.
    Exact(BTreeMap<String, String>),
    /// Every named attribute begins with this value.
    Prefix(BTreeMap<String, String>),
    /// Every named attribute ends with this value.
    Suffix(BTreeMap<String, String>),
    /// This expression is true.
    Cel(String),
    /// Every one of these matches.
    All(Vec<Filter>),
    /// At least one of these matches.
    Any(Vec<Filter>),
    /// This one does not match.
    Not(Box<Filter>),
}

impl Filter {
    /// Whether an event with these attributes is wanted. Values are compared as they are, case included; an absent attribute equals nothing.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        match self {
            Filter::Exact(values) => each(values, attributes, |value, wanted| value == wanted),
            Filter::Prefix(values) => each(values, attributes, |value, wanted| value.starts_with(wanted)),
            Filter::Suffix(values) => each(values, attributes, |value, wanted| value.ends_with(wanted)),
            Filter::Cel(_) => false, // refused by `api::not_yet`
            Filter::All(filters) => all_match(filters, attributes),
            Filter::Any(filters) => filters.iter().any(|filter| filter.matches(attributes)),
            Filter::Not(filter) => !filter.matches(attributes),
        }
    }
}

/// Whether every filter matches: what a destination wants. No filters want everything.
pub fn all_match(filters: &[Filter], attributes: &Attributes) -> bool {
    filters.iter().all(|filter| filter.matches(attributes))
}

fn each(wanted: &BTreeMap<String, String>, attributes: &Attributes, fits: impl Fn(&str, &str) -> bool) -> bool {
    wanted.iter().all(|(name, wanted)| attributes.get(name).is_some_and(|value| fits(value, wanted)))
}

#[cfg(test)]
mod tests;
