//! The filter dialects of the CloudEvents Subscriptions draft. Pure.

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
    /// Every one of these matches.
    All(Vec<Filter>),
    /// At least one of these matches.
    Any(Vec<Filter>),
    /// This one does not match.
    Not(Box<Filter>),
}

impl Filter {
    /// Whether an event with these attributes is wanted. An absent attribute matches no dialect.
    pub fn matches(&self, _attributes: &Attributes) -> bool {
        unimplemented!()
    }
}
