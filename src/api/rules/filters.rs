//! Rules of `spec.filters`, at every level.

use super::Rule;
use super::helpers::{count, exactly_one};
use super::spec::{ATTRIBUTE_FORM, is_attribute};
use crate::api::filter;

const LEAVES: [&str; 4] = ["exact", "prefix", "suffix", "cel"];
const ALL: [&str; 7] = ["exact", "prefix", "suffix", "cel", "all", "any", "not"];

pub(super) fn rules() -> Vec<Rule> {
    filter::places().into_iter().flat_map(|(path, level)| rules_of(&path, filter::nests(level))).collect()
}

fn rules_of(path: &str, nests: bool) -> Vec<Rule> {
    let (fields, message): (&'static [&'static str], _) = if nests {
        (&ALL, "a filter needs exactly one of exact, prefix, suffix, cel, all, any or not")
    } else {
        (&LEAVES, "a filter needs exactly one of exact, prefix, suffix or cel")
    };
    let mut rules = vec![Rule::value(path, exactly_one(fields), message, |it| count(it, fields) == 1)];
    rules.extend(["exact", "prefix", "suffix"].map(|dialect| attribute_names(format!("{path}.{dialect}"))));
    rules
}

fn attribute_names(path: String) -> Rule {
    Rule::value(
        path,
        format!("self.all(k, k.matches('{ATTRIBUTE_FORM}'))"),
        "names of CloudEvents attributes have 1 to 20 characters, each a-z or 0-9; for the data of an event use cel",
        |it| it.as_object().is_none_or(|attributes| attributes.keys().all(|name| is_attribute(name))),
    )
}
