//! The filters of a destination, compiled.

use super::cel::{self, Expression, Failure};
use super::{Filter, Subject};
use std::collections::BTreeMap;

/// The filters of a destination: an event is wanted if every one matches.
#[derive(Debug, Default)]
pub struct Filters(Vec<Compiled>);

/// An expression that cannot be used, and which filter it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {source}")]
pub struct Invalid {
    /// The field below `filters`: `[0].any[1].cel`.
    pub path: String,
    /// What is wrong with it.
    pub source: cel::Invalid,
}

#[derive(Debug)]
enum Compiled {
    Exact(BTreeMap<String, String>),
    Prefix(BTreeMap<String, String>),
    Suffix(BTreeMap<String, String>),
    Cel(Expression),
    All(Vec<Compiled>),
    Any(Vec<Compiled>),
    Not(Box<Compiled>),
}

impl Filters {
    /// Compiles the filters of a destination.
    ///
    /// # Errors
    /// An expression among them cannot be used.
    pub fn compile(filters: &[Filter]) -> Result<Filters, Invalid> {
        compile_all(filters, "").map(Filters)
    }

    /// Whether an event is wanted. Values are compared as they are, case included; an absent attribute equals nothing. An expression that
    /// has no answer does not match; each one is told to `failed`.
    pub fn match_event(&self, event: &Subject, failed: &mut dyn FnMut(Failure)) -> bool {
        all_match(&self.0, event, failed)
    }
}

fn compile_all(filters: &[Filter], path: &str) -> Result<Vec<Compiled>, Invalid> {
    filters.iter().enumerate().map(|(index, filter)| compile(filter, &format!("{path}[{index}]"))).collect()
}

fn compile(filter: &Filter, path: &str) -> Result<Compiled, Invalid> {
    Ok(match filter {
        Filter::Exact(values) => Compiled::Exact(values.clone()),
        Filter::Prefix(values) => Compiled::Prefix(values.clone()),
        Filter::Suffix(values) => Compiled::Suffix(values.clone()),
        Filter::Cel(text) => Compiled::Cel(Expression::compile(text).map_err(|source| Invalid { path: format!("{path}.cel"), source })?),
        Filter::All(filters) => Compiled::All(compile_all(filters, &format!("{path}.all"))?),
        Filter::Any(filters) => Compiled::Any(compile_all(filters, &format!("{path}.any"))?),
        Filter::Not(filter) => Compiled::Not(Box::new(compile(filter, &format!("{path}.not"))?)),
    })
}

impl Compiled {
    fn matches(&self, event: &Subject, failed: &mut dyn FnMut(Failure)) -> bool {
        match self {
            Compiled::Exact(values) => each(values, event, |value, wanted| value == wanted),
            Compiled::Prefix(values) => each(values, event, |value, wanted| value.starts_with(wanted)),
            Compiled::Suffix(values) => each(values, event, |value, wanted| value.ends_with(wanted)),
            Compiled::Cel(expression) => expression.evaluate(event.values(expression.wants_data())).unwrap_or_else(|failure| {
                failed(failure);
                false
            }),
            Compiled::All(filters) => all_match(filters, event, failed),
            Compiled::Any(filters) => filters.iter().any(|filter| filter.matches(event, failed)),
            Compiled::Not(filter) => !filter.matches(event, failed),
        }
    }
}

fn all_match(filters: &[Compiled], event: &Subject, failed: &mut dyn FnMut(Failure)) -> bool {
    filters.iter().all(|filter| filter.matches(event, failed))
}

fn each(wanted: &BTreeMap<String, String>, event: &Subject, fits: impl Fn(&str, &str) -> bool) -> bool {
    wanted.iter().all(|(name, wanted)| event.attributes().get(name).is_some_and(|value| fits(value, wanted)))
}
