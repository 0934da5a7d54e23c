use super::*;
use crate::event::Attributes;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn attributes() -> Attributes {
    let json =
        r#"{"id":"1","source":"/orders/eu","type":"com.example.order.created","partitionkey":"c-7","datacontenttype":"application/json"}"#;
    Attributes::from_json(json.as_bytes()).unwrap()
}

fn all_match(filters: &[Filter], attributes: &Attributes) -> bool {
    let subject = Subject::of_attributes(attributes.clone());
    Filters::compile(filters).unwrap().match_event(&subject, &mut |failure| panic!("{failure}"))
}

impl Filter {
    fn matches(&self, attributes: &Attributes) -> bool {
        all_match(std::slice::from_ref(self), attributes)
    }
}

fn filter(json: &str) -> Filter {
    serde_json::from_str(json).unwrap()
}

#[test]
fn each_dialect_matches_as_the_draft_says() {
    for (json, wanted) in [
        (r#"{"exact":{"type":"com.example.order.created"}}"#, true),
        (r#"{"exact":{"type":"com.example.order"}}"#, false),
        (r#"{"exact":{"type":"Com.Example.Order.Created"}}"#, false),
        (r#"{"exact":{"specversion":"1.0","datacontenttype":"application/json","id":"1"}}"#, true),
        (r#"{"prefix":{"type":"com.example."}}"#, true),
        (r#"{"prefix":{"type":"com.example.","source":"/invoices"}}"#, false),
        (r#"{"prefix":{"type":"com.example.order.created.x"}}"#, false),
        (r#"{"suffix":{"type":".created","source":"/eu"}}"#, true),
        (r#"{"suffix":{"type":".Created"}}"#, false),
        (r#"{"all":[{"exact":{"id":"1"}},{"prefix":{"partitionkey":"c-"}}]}"#, true),
        (r#"{"all":[{"exact":{"id":"1"}},{"exact":{"id":"2"}}]}"#, false),
        (r#"{"any":[{"exact":{"id":"2"}},{"exact":{"id":"1"}}]}"#, true),
        (r#"{"any":[{"exact":{"id":"2"}}]}"#, false),
        (r#"{"not":{"exact":{"id":"2"}}}"#, true),
        (r#"{"not":{"any":[{"all":[{"exact":{"id":"1"}}]}]}}"#, false),
    ] {
        assert_eq!(filter(json).matches(&attributes()), wanted, "{json}");
    }
}

#[test]
fn an_absent_attribute_equals_nothing() {
    for dialect in ["exact", "prefix", "suffix"] {
        let json = format!(r#"{{"{dialect}":{{"subject":""}}}}"#);
        assert!(!filter(&json).matches(&attributes()), "{json}");
        assert!(filter(&format!(r#"{{"not":{json}}}"#)).matches(&attributes()), "not {json}");
    }
}

#[test]
fn no_filters_want_everything_and_several_must_all_match() {
    let (yes, no) = (filter(r#"{"exact":{"id":"1"}}"#), filter(r#"{"exact":{"id":"2"}}"#));
    assert!(all_match(&[], &attributes()));
    assert!(all_match(&[yes.clone(), yes.clone()], &attributes()));
    assert!(!all_match(&[yes, no], &attributes()));
}

/// The same question, answered as naively as possible: by name, value and position.
fn naive(filter: &Filter, event: &BTreeMap<String, String>) -> bool {
    let each = |wanted: &BTreeMap<String, String>, fits: &dyn Fn(&[char], &[char]) -> bool| {
        for (name, want) in wanted {
            let Some((_, have)) = event.iter().find(|(n, _)| *n == name) else { return false };
            let (have, want): (Vec<char>, Vec<char>) = (have.chars().collect(), want.chars().collect());
            if have.len() < want.len() || !fits(&have, &want) {
                return false;
            }
        }
        true
    };
    match filter {
        Filter::Exact(wanted) => each(wanted, &|have, want| have == want),
        Filter::Prefix(wanted) => each(wanted, &|have, want| &have[..want.len()] == want),
        Filter::Suffix(wanted) => each(wanted, &|have, want| &have[have.len() - want.len()..] == want),
        Filter::Cel(_) => unreachable!("none is made"),
        Filter::All(filters) => filters.iter().filter(|f| naive(f, event)).count() == filters.len(),
        Filter::Any(filters) => filters.iter().filter(|f| naive(f, event)).count() > 0,
        Filter::Not(filter) => !naive(filter, event),
    }
}

/// Few names and letters, so that matches are frequent.
fn values() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("id|source|type|x|y", "[aé]{1,3}", 0..4)
}

fn filters() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![values().prop_map(Filter::Exact), values().prop_map(Filter::Prefix), values().prop_map(Filter::Suffix),];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #[test]
    fn filters_agree_with_a_naive_model(filter in filters(), mut event in values()) {
        for required in ["id", "source", "type"] {
            event.entry(required.to_owned()).or_insert_with(|| "a".to_owned());
        }
        let attributes = Attributes::from_json(&serde_json::to_vec(&event).unwrap()).unwrap();
        prop_assert_eq!(filter.matches(&attributes), naive(&filter, &event));
        let read: Filter = serde_json::from_str(&serde_json::to_string(&filter).unwrap()).unwrap();
        prop_assert_eq!(read, filter);
    }
}
