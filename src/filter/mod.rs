//! The filter dialects of the CloudEvents Subscriptions draft, and `cel`. Pure.
//!
//! A [`Filter`] is what is written down; [`Filters`] is what a destination's filters are compiled to, once; a [`Subject`] is an event that is
//! asked about.

pub mod cel;
pub mod explain;
mod filters;
mod subject;

pub use filters::{Filters, Invalid};
pub use subject::Subject;

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

#[cfg(test)]
mod tests;
