//! Every row of `fixtures/refusals.md` is refused with the message that stands there.

use posthorn::api::{crd, validate};
use table::{NOT_CHECKED, destination, rows};

#[path = "fixtures/refusals.rs"]
mod table;

#[test]
fn every_row_is_refused_with_its_message() {
    let mut wrong = Vec::new();
    for mut row in rows() {
        let found: Vec<String> = validate(&mut row.object, row.old.as_ref()).iter().map(ToString::to_string).collect();
        if found != row.messages {
            wrong.push(format!("{}\n  wanted {:#?}\n  found {found:#?}", row.name, row.messages));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows().len() > 50, "the table was not read");
}

/// The rules in CEL are evaluated by another implementation than ours, so neither can drift from the other.
#[test]
fn the_rules_in_cel_say_what_the_rules_in_rust_say() {
    let compiled = kube_cel::compile_schema(crd::schema());
    assert!(!compiled.has_errors(), "{:?}", compiled.compilation_errors());
    for mut row in rows() {
        let found = validate(&mut row.object, row.old.as_ref());
        if found.iter().any(|violation| violation.to_string().contains(NOT_CHECKED) || violation.message.contains("unknown field")) {
            continue;
        }
        let mut ours: Vec<String> =
            found.iter().filter(|violation| violation.is_rule()).map(|it| format!("{}: {}", it.path, it.message)).collect();
        let theirs = kube_cel::Validator::new().validate_compiled(&compiled, &row.object, row.old.as_ref());
        let mut theirs: Vec<String> = theirs.err().into_iter().flat_map(|errors| errors.into_vec()).map(|it| it.to_string()).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(theirs, ours, "{}", row.name);
    }
}

#[test]
fn what_is_accepted_on_purpose_is_accepted() {
    let bearer = "auth: {bearer: {secretKeyRef: {name: t, key: token}}}";
    let accepted = [
        "sink: {http: {uri: https://a.example/h, format: Batch, batch: {maxBytes: 65536}}}".to_owned(),
        "sink: {http: {uri: https://a.example/h, format: Batch, batch: {maxBytes: 1Mi}}}".to_owned(),
        "sink: {http: {uri: https://a.example/h, ref: null}}".to_owned(),
        format!("sink: {{http: {{uri: 'http://billing.shop.svc', {bearer}}}}}"),
        format!("sink: {{http: {{uri: 'http://billing.shop.svc.cluster.local:8080/h', {bearer}}}}}"),
    ];
    for spec in accepted {
        let mut object = destination(&spec);
        assert_eq!(validate(&mut object, None), [], "{spec}");
        assert_eq!(kube_cel::Validator::new().validate(crd::schema(), &object, None), Ok(()), "{spec}");
    }
    let elsewhere = format!("sink: {{http: {{uri: 'http://billing.shop.svc.other.example', {bearer}}}}}");
    assert_eq!(validate(&mut destination(&elsewhere), None).len(), 1);
}

#[test]
fn a_field_that_stays_as_it_was_is_not_judged_again() {
    let old = destination("bus: Orders, sink: {http: {uri: a.example}}, delivery: {retry: 3000}");
    let mut new = old.clone();
    new["spec"]["suspend"] = true.into();
    assert_eq!(validate(&mut new, Some(&old)), []);
    new["spec"]["delivery"]["retry"] = 3001.into();
    let found: Vec<String> = validate(&mut new, Some(&old)).iter().map(|violation| violation.path.clone()).collect();
    assert_eq!(found, ["spec.delivery.retry"]);
}
