use super::*;

fn key(name: &str) -> Key {
    Key { namespace: "shop".into(), name: name.into() }
}

fn secret(name: &str) -> Target {
    Target { kind: Kind::Secret, namespace: "shop".into(), name: Some(name.into()) }
}

fn grants() -> Target {
    Target { kind: Kind::ReferenceGrant, namespace: "billing".into(), name: None }
}

fn versions(versions: &[(&str, &str)]) -> Versions {
    versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
}

/// A destination `a` that saw version 1 of Secret `s`.
fn seen() -> References {
    let references = References::default();
    references.looking(&key("a"), secret("s"));
    references.looked(&key("a"), vec![(secret("s"), versions(&[("s", "1")]))]);
    references
}

#[test]
fn another_version_wakes_and_the_one_that_was_seen_does_not() {
    let references = seen();
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), []);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("2")), [key("a")]);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", None), [key("a")]);
}

#[test]
fn other_objects_wake_nobody() {
    let references = seen();
    assert_eq!(references.changed(&Kind::Secret, "shop", "t", Some("2")), []);
    assert_eq!(references.changed(&Kind::Secret, "other", "s", Some("2")), []);
    assert_eq!(references.changed(&Kind::ConfigMap, "shop", "s", Some("2")), []);
}

#[test]
fn a_change_while_it_is_looking_wakes() {
    let references = seen();
    references.looking(&key("a"), secret("s"));
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), [key("a")]);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", None), [key("a")]);
}

#[test]
fn an_object_that_was_not_there_wakes_when_it_comes() {
    let references = References::default();
    references.looking(&key("a"), secret("s"));
    references.looked(&key("a"), vec![(secret("s"), Versions::new())]);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", None), []);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), [key("a")]);
}

#[test]
fn everyone_who_looks_at_an_object_is_woken() {
    let references = seen();
    references.looking(&key("b"), secret("s"));
    references.looked(&key("b"), vec![(secret("s"), versions(&[("s", "2")]))]);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("2")), [key("a")]);
    let mut woken = references.changed(&Kind::Secret, "shop", "s", Some("3"));
    woken.sort();
    assert_eq!(woken, [key("a"), key("b")]);
}

#[test]
fn who_looks_at_a_namespace_is_woken_by_each_change_in_it() {
    let references = References::default();
    references.looking(&key("a"), grants());
    references.looked(&key("a"), vec![(grants(), versions(&[("one", "1"), ("two", "2")]))]);
    let changed = |name, version| references.changed(&Kind::ReferenceGrant, "billing", name, version);
    assert_eq!(changed("one", Some("1")), []);
    assert_eq!(changed("two", Some("3")), [key("a")]);
    assert_eq!(changed("two", None), [key("a")]);
    assert_eq!(changed("new", Some("4")), [key("a")]);
    assert_eq!(references.changed(&Kind::ReferenceGrant, "shop", "new", Some("4")), []);
}

#[test]
fn what_is_missing_from_a_listing_wakes_who_saw_it() {
    let references = seen();
    references.listing(&Kind::Secret);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), []);
    assert_eq!(references.listed(&Kind::Secret), []);
    references.listing(&Kind::Secret);
    assert_eq!(references.listed(&Kind::Secret), [key("a")]);
}

#[test]
fn a_listing_that_broke_off_says_nothing() {
    let references = seen();
    references.listing(&Kind::Secret);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("1")), []);
    references.listing(&Kind::Secret); // it begins again, and has it no more
    assert_eq!(references.listed(&Kind::Secret), [key("a")]);
    assert_eq!(references.listed(&Kind::ConfigMap), []);
}

#[test]
fn what_was_seen_while_a_listing_was_under_way_must_be_in_it() {
    let references = seen();
    references.listing(&Kind::Secret);
    references.looked(&key("a"), vec![(secret("s"), versions(&[("s", "2")]))]);
    assert_eq!(references.listed(&Kind::Secret), [key("a")]); // seen, deleted, then listed: no event tells that it is gone
    references.looked(&key("a"), vec![(secret("s"), versions(&[("s", "2")]))]);
    references.listing(&Kind::Secret);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("2")), []);
    assert_eq!(references.listed(&Kind::Secret), []);
}

#[test]
fn what_is_no_longer_referred_to_is_forgotten() {
    let references = seen();
    references.looking(&key("a"), secret("t"));
    references.looked(&key("a"), vec![(secret("t"), Versions::new())]);
    assert_eq!(references.changed(&Kind::Secret, "shop", "s", Some("2")), []);
    assert_eq!(references.changed(&Kind::Secret, "shop", "t", Some("2")), [key("a")]);
    references.looking(&key("a"), grants());
    references.forget(&key("a"));
    assert_eq!(references.kinds(), HashSet::new());
    let index = references.index();
    assert!(index.looks.is_empty() && index.by_key.is_empty(), "{index:?}");
}

#[tokio::test]
async fn the_first_look_at_a_kind_is_told() {
    let references = References::default();
    references.looking(&key("a"), secret("s"));
    references.new_kind().await;
    references.looking(&key("b"), secret("t"));
    references.looking(&key("b"), grants());
    references.new_kind().await;
    assert_eq!(references.kinds(), HashSet::from([Kind::Secret, Kind::ReferenceGrant]));
    assert_eq!(references.all(&Kind::ReferenceGrant), [key("b")]);
}
