//! A filter on one attribute, as a person writes it.

use crate::filter::Filter;
use std::collections::BTreeMap;
use std::str::FromStr;

/// `type=com.example.*`: an attribute, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    name: String,
    value: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let wrong = || format!("`{text}` is no filter: write it like type=com.example.order.placed, type=com.example.* or source=*/orders");
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let (kind, value) = match (value.strip_prefix('*'), value.strip_suffix('*')) {
            (None, None) => (Kind::Exact, value),
            (None, Some(prefix)) => (Kind::Prefix, prefix),
            (Some(suffix), None) => (Kind::Suffix, suffix),
            // `*` alone is both
            (Some(_), Some("")) => (Kind::Prefix, ""),
            (Some(_), Some(_)) => return Err(wrong()),
        };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !is_name || value.contains('*') {
            return Err(wrong());
        }
        Ok(Pattern { name: name.to_owned(), value: value.to_owned(), kind })
    }
}

impl Pattern {
    pub(super) fn filter(&self) -> Filter {
        let wanted = BTreeMap::from([(self.name.clone(), self.value.clone())]);
        match self.kind {
            Kind::Exact => Filter::Exact(wanted),
            Kind::Prefix => Filter::Prefix(wanted),
            Kind::Suffix => Filter::Suffix(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_an_end_stands_for_anything() {
        let filter = |text: &str| serde_json::to_string(&text.parse::<Pattern>().unwrap().filter()).unwrap();
        assert_eq!(filter("type=com.example.a"), r#"{"exact":{"type":"com.example.a"}}"#);
        assert_eq!(filter("type=com.example.*"), r#"{"prefix":{"type":"com.example."}}"#);
        assert_eq!(filter("source=*/a=b"), r#"{"suffix":{"source":"/a=b"}}"#);
        assert_eq!(filter("tenant=*"), r#"{"prefix":{"tenant":""}}"#);
        for wrong in ["", "type", "=a", "Type=a", "type=a*b", "type=*a*"] {
            assert!(wrong.parse::<Pattern>().unwrap_err().contains("is no filter"), "{wrong}");
        }
    }
}
