//! Why a filter matches an event or not, clause by clause. Pure.

use super::{Filter, Filters, Subject};
use crate::event::Attributes;
use serde::Serialize;
use std::collections::BTreeMap;

/// One clause, and what came of it. The whole is a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// What it asks, in one line.
    pub asks: String,
    /// Whether it is so.
    pub matches: bool,
    /// What the event has instead, where that says more; never of a clause that holds others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Whether it decided: were it otherwise, so would be the whole, all others being the same.
    pub decides: bool,
    /// The clauses that it holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<Clause>,
}

/// Explains what a destination with these filters makes of an event: all of them must match. It agrees with
/// [`Filters::match_event`].
pub fn explain(filters: &[Filter], event: &Subject) -> Clause {
    let mut clause = match filters {
        [] => leaf("no filter: every event is wanted".to_owned(), true, None),
        _ => every("filters: every one must match", filters.iter().map(|filter| clause(filter, event)).collect()),
    };
    clause.decide(true);
    clause
}

fn clause(filter: &Filter, event: &Subject) -> Clause {
    match filter {
        Filter::Exact(wanted) => each("exact", "is", wanted, event.attributes(), |value, wanted| value == wanted),
        Filter::Prefix(wanted) => each("prefix", "begins with", wanted, event.attributes(), |value, wanted| value.starts_with(wanted)),
        Filter::Suffix(wanted) => each("suffix", "ends with", wanted, event.attributes(), |value, wanted| value.ends_with(wanted)),
        Filter::All(filters) => every("all", filters.iter().map(|filter| clause(filter, event)).collect()),
        Filter::Any(filters) => {
            let clauses: Vec<_> = filters.iter().map(|filter| clause(filter, event)).collect();
            Clause { matches: clauses.iter().any(|clause| clause.matches), clauses, ..leaf("any".to_owned(), false, None) }
        }
        Filter::Not(filter) => {
            let inner = clause(filter, event);
            Clause { matches: !inner.matches, clauses: vec![inner], ..leaf("not".to_owned(), false, None) }
        }
        Filter::Cel(text) => expression(filter, text, event),
    }
}

/// An expression says all there is to say; where it has no answer, why.
fn expression(filter: &Filter, text: &str, event: &Subject) -> Clause {
    let mut found = None;
    let matches = match Filters::compile(std::slice::from_ref(filter)) {
        Ok(compiled) => compiled.match_event(event, &mut |failure| found = Some(failure.to_string())),
        Err(invalid) => {
            found = Some(invalid.source.to_string());
            false
        }
    };
    leaf(format!("cel: {text}"), matches, found)
}

fn leaf(asks: String, matches: bool, found: Option<String>) -> Clause {
    Clause { asks, matches, found, decides: false, clauses: Vec::new() }
}

fn every(asks: &str, clauses: Vec<Clause>) -> Clause {
    Clause { matches: clauses.iter().all(|clause| clause.matches), clauses, ..leaf(asks.to_owned(), true, None) }
}

fn each(
    dialect: &str,
    verb: &str,
    wanted: &BTreeMap<String, String>,
    attributes: &Attributes,
    fits: impl Fn(&str, &str) -> bool,
) -> Clause {
    let one = |(name, wanted): (&String, &String)| {
        let value = attributes.get(name);
        let matches = value.is_some_and(|value| fits(value, wanted));
        let found = value.map_or_else(|| format!("the event has no {name}"), |value| format!("it is {value:?}"));
        leaf(format!("{name} {verb} {wanted:?}"), matches, Some(found).filter(|_| !matches))
    };
    every(dialect, wanted.iter().map(one).collect())
}

impl Clause {
    /// Marks what decided, where this clause itself does or does not.
    fn decide(&mut self, decides: bool) {
        self.decides = decides;
        let same = |clause: &Clause| clause.matches == self.matches;
        let alone = self.clauses.iter().filter(|clause| same(clause)).count() == 1;
        // of `all` that matches every clause decides, of `any` that does not likewise; else only one that stands alone
        let unanimous = self.clauses.iter().all(same) && (self.asks == "any") != self.matches;
        let (parent, is_not) = (self.matches, self.asks == "not");
        for clause in &mut self.clauses {
            let decisive = is_not || unanimous || (alone && clause.matches == parent);
            clause.decide(decides && decisive);
        }
    }

    /// Lines of the tree, two spaces for each level: `✓` or `✗`, what is asked, what was found instead; `◀` marks the innermost that decided.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.write(0, &mut lines);
        lines
    }

    fn write(&self, level: usize, lines: &mut Vec<String>) {
        let mark = if self.matches { '✓' } else { '✗' };
        let found = self.found.as_ref().map(|found| format!("  ({found})")).unwrap_or_default();
        let innermost = self.decides && level > 0 && self.clauses.iter().all(|clause| !clause.decides);
        let decided = if innermost { "  ◀" } else { "" };
        lines.push(format!("{}{mark} {}{found}{decided}", "  ".repeat(level), self.asks));
        self.clauses.iter().for_each(|clause| clause.write(level + 1, lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(source: &str, event_type: &str) -> Subject {
        let json = serde_json::json!({"id": "1", "source": source, "type": event_type}).to_string();
        Subject::of_attributes(Attributes::from_json(json.as_bytes()).unwrap())
    }

    fn filters(text: &str) -> Vec<Filter> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_clause_tells_what_it_found_and_which_one_decided() {
        let filters = filters(
            r#"[{"prefix": {"type": "com.example."}}, {"any": [{"exact": {"source": "/a"}}, {"not": {"exact": {"tenant": "x"}}}]}]"#,
        );
        let lines = explain(&filters, &subject("/b", "org.example.a")).lines();
        let expected = [
            "✗ filters: every one must match",
            "  ✗ prefix",
            "    ✗ type begins with \"com.example.\"  (it is \"org.example.a\")  ◀",
            "  ✓ any",
            "    ✗ exact",
            "      ✗ source is \"/a\"  (it is \"/b\")",
            "    ✓ not",
            "      ✗ exact",
            "        ✗ tenant is \"x\"  (the event has no tenant)",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn without_filters_every_event_is_wanted() {
        let clause = explain(&[], &subject("/a", "t"));
        assert!(clause.matches && clause.lines()[0].starts_with('✓'));
    }

    #[test]
    fn an_expression_is_shown_as_it_is_written() {
        let lines = |text: &str| explain(&[Filter::Cel(text.into())], &subject("/a", "a")).lines();
        assert_eq!(lines("event.type == 'a'")[1], "  ✓ cel: event.type == 'a'  ◀");
        assert!(lines("event.tenant == 'a'")[1].starts_with("  ✗ cel: event.tenant == 'a'  ("), "{:?}", lines("event.tenant == 'a'"));
    }

    fn leaf() -> impl Strategy<Value = Filter> {
        let map = || prop::collection::btree_map("source|type|tenant", "|a|b|ab", 1..3);
        prop_oneof![map().prop_map(Filter::Exact), map().prop_map(Filter::Prefix), map().prop_map(Filter::Suffix)]
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        leaf().prop_recursive(3, 24, 3, |inner| {
            let list = || prop::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                list().prop_map(Filter::All),
                list().prop_map(Filter::Any),
                inner.clone().prop_map(|filter| Filter::Not(Box::new(filter)))
            ]
        })
    }

    /// What the tree says by itself, from the marks of its leaves; `flipped` is turned round.
    fn value(clause: &Clause, flipped: &Clause) -> bool {
        let inner = |clause: &Clause| value(clause, flipped);
        if std::ptr::eq(clause, flipped) {
            return !clause.matches;
        }
        match (clause.clauses.as_slice(), clause.asks.as_str()) {
            ([], _) => clause.matches,
            (clauses, "any") => clauses.iter().any(inner),
            (clauses, "not") => !clauses.iter().any(inner),
            (clauses, _) => clauses.iter().all(inner),
        }
    }

    fn nodes(clause: &Clause) -> Vec<&Clause> {
        std::iter::once(clause).chain(clause.clauses.iter().flat_map(nodes)).collect()
    }

    proptest! {
        #[test]
        fn it_agrees_with_what_decides_for_the_router(filters in prop::collection::vec(any_filter(), 0..4), source in "a|b|ab", event_type in "a|b|ba") {
            let event = subject(&source, &event_type);
            let whole = explain(&filters, &event);
            prop_assert_eq!(whole.matches, Filters::compile(&filters).unwrap().match_event(&event, &mut |_| {}));
            for clause in nodes(&whole) {
                // what decides is what turns the whole round when it is turned round itself
                prop_assert_eq!(clause.decides, value(&whole, clause) != whole.matches, "{:?}\n{:#?}", clause, whole);
            }
        }
    }
}
