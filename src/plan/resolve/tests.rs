use super::*;
use crate::api::objects::SecretObject;
use crate::api::parse;
use crate::plan::{Auth, Format, HttpSink};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SECRET_VALUE: &str = "hunter2";

fn destination(spec: Value) -> EventDestination {
    let object = json!({
        "apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination",
        "metadata": {"name": "x", "namespace": "shop", "generation": 7, "creationTimestamp": "2026-11-01T00:00:00Z"},
        "spec": spec,
    });
    parse(object).expect("the spec is valid")
}

/// A Secret `s` of namespace `shop` with these values.
fn secret(allowed: bool, values: &[(&str, &str)]) -> Objects {
    let data = values.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    let mut objects = Objects::default();
    objects.insert_secret("shop", "s", SecretObject { allowed, data });
    objects
}

fn http(destination: &EventDestination, objects: &Objects) -> (HttpSink, Resolved) {
    let resolved = resolve(destination, "u", objects, &Surroundings::Standalone).expect("it resolves");
    let Sink::Http(sink) = resolved.plan.clone().expect("nothing is missing").sink;
    (sink, resolved)
}

/// The problems of a sink that refers to key `k` of Secret `s`; no message may repeat the value.
fn problems(sink: Value, objects: &Objects) -> Vec<Problem> {
    let resolved = resolve(&destination(json!({"sink": {"http": sink}})), "u", objects, &Surroundings::Standalone);
    let problems = resolved.and_then(|resolved| resolved.plan).expect_err("it does not resolve");
    assert!(problems.iter().all(|problem| !problem.to_string().contains(SECRET_VALUE)), "{problems:?}");
    problems
}

fn key() -> Value {
    json!({"secretKeyRef": {"name": "s", "key": "k"}})
}

fn bearer() -> Value {
    json!({"uri": "https://a.example/h", "auth": {"bearer": key()}})
}

#[test]
fn a_destination_becomes_a_plan_and_a_route() {
    let destination = destination(json!({
        "bus": "orders", "startFrom": "Earliest", "suspend": true,
        "filters": [{"any": [{"exact": {"type": "a"}}, {"not": {"prefix": {"source": "/test/"}}}]}, {"suffix": {"type": "z"}}],
        "sink": {"http": {"uri": "https://a.example/h?token=x", "format": "Structured", "headers": [{"name": "X-Team", "value": "a"}]}},
        "delivery": {"retry": -1, "backoffDelay": "500ms", "maxEventAge": "1h", "deadLetter": {"maxEvents": 5, "maxAge": "2h"}},
    }));
    let (sink, Resolved { plan, route, start, bus }) = http(&destination, &Objects::default());
    let plan = plan.unwrap();
    assert_eq!(bus, plan.bus);
    assert_eq!((sink.uri.expose(), sink.format), ("https://a.example/h?token=x", Format::Structured));
    assert_eq!(sink.headers, [("X-Team".into(), Secret::new("a"))]);
    assert_eq!((sink.halt_on_status_codes, sink.retry_after_max), (vec![401, 403, 410], Duration::from_secs(600)));
    assert_eq!((plan.bus.as_str(), plan.uid.as_str(), plan.suspend, plan.delivery.retry), ("orders", "u", true, None));
    assert_eq!(plan.delivery.backoff_delay, Duration::from_millis(500));
    assert_eq!((plan.delivery.max_event_age, plan.delivery.max_dead_letters), (Some(Duration::from_secs(3600)), 5));
    assert_eq!((route.rev, route.created.as_str(), route.sink_uri.as_str()), (7, "2026-11-01T00:00:00Z", "https://a.example/h"));
    assert_eq!((route.state, route.dead_letter_max_age, start), (RouteState::Open, Duration::from_secs(7200), Start::Earliest));
    let attribute = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let not_test = Filter::Not(Box::new(Filter::Prefix(attribute("source", "/test/"))));
    let any = Filter::Any(vec![Filter::Exact(attribute("type", "a")), not_test]);
    assert_eq!(route.filters, [any, Filter::Suffix(attribute("type", "z"))]);
}

#[test]
fn a_secret_url_is_shown_without_its_path() {
    let destination = destination(json!({"sink": {"http": {"uriFrom": key()}}}));
    let objects = secret(true, &[("k", "https://hooks.example:8443/services/hunter2?x=1\n")]);
    let (sink, resolved) = http(&destination, &objects);
    assert_eq!(sink.uri.expose(), "https://hooks.example:8443/services/hunter2?x=1");
    assert_eq!(resolved.route.sink_uri, "https://hooks.example:8443");
    assert!(!format!("{resolved:?}").contains(SECRET_VALUE));
}

#[test]
fn a_secret_url_follows_the_rules_of_a_url() {
    let cases = [
        ("hooks.example/hunter2", "must be an absolute http:// or https:// URL with a host"),
        ("ftp://hooks.example/hunter2", "must be an absolute http:// or https:// URL with a host"),
        ("https://user:hunter2@hooks.example/", "must not hold a user name or password"),
        ("https://hooks.example/#hunter2", "must not have a fragment"),
    ];
    for (value, message) in cases {
        let found = problems(json!({"uriFrom": key()}), &secret(true, &[("k", value)]));
        assert_eq!(found[0].reason, Reason::InvalidSecret);
        assert!(found[0].message.contains(message), "{value}: {}", found[0].message);
    }
    let in_clear = secret(true, &[("k", "http://hooks.example/hunter2"), ("t", "x")]);
    let with_token = json!({"uriFrom": key(), "auth": {"bearer": {"secretKeyRef": {"name": "s", "key": "t"}}}});
    assert!(problems(with_token, &in_clear)[0].message.contains("credentials are only sent over https"));
    assert!(problems(json!({"uriFrom": key(), "tls": {"serverName": "a"}}), &in_clear)[0].message.contains("tls has no effect"));
}

#[test]
fn a_secret_that_cannot_be_used_says_why() {
    let cases = [
        (Objects::default(), Reason::SecretNotFound),
        (secret(false, &[("k", SECRET_VALUE)]), Reason::SecretNotAllowed),
        (secret(true, &[("other", SECRET_VALUE)]), Reason::SecretKeyMissing),
        (secret(true, &[("k", "\n")]), Reason::InvalidSecret),
        (secret(true, &[("k", "hunter2 hunter2")]), Reason::InvalidSecret),
        (secret(true, &[("k", "hunter2\nx")]), Reason::InvalidSecret),
    ];
    for (objects, reason) in cases {
        let found = problems(bearer(), &objects);
        assert_eq!((found[0].path.as_str(), found[0].reason), ("spec.sink.http.auth.bearer.secretKeyRef", reason));
    }
}

#[test]
fn basic_takes_both_values_of_a_secret() {
    let basic = || json!({"uri": "https://a.example/h", "auth": {"basic": {"secretRef": {"name": "s"}}}});
    let objects = secret(true, &[("username", "ann"), ("password", "hunter2\n")]);
    let (sink, _) = http(&destination(json!({"sink": {"http": basic()}})), &objects);
    assert_eq!(sink.auth, Some(Auth::Basic { username: Secret::new("ann"), password: Secret::new(SECRET_VALUE) }));
    assert_eq!(problems(basic(), &secret(true, &[("username", "a:b"), ("password", SECRET_VALUE)]))[0].reason, Reason::InvalidSecret);
    assert_eq!(problems(basic(), &secret(true, &[]))[1].reason, Reason::SecretKeyMissing);
}

#[test]
fn signing_secrets_have_the_form_of_standard_webhooks() {
    let sink = || json!({"uri": "https://a.example/h", "signing": {"secretKeyRefs": [{"name": "s", "key": "k"}]}});
    let encoded = |prefix: &str, length: usize| {
        format!("{prefix}{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; length]))
    };
    for good in [encoded("whsec_", 24), encoded("whsec_", 64), encoded("whsk_", 32), encoded("whsec_", 25).trim_end_matches('=').to_owned()]
    {
        let (sink, _) = http(&destination(json!({"sink": {"http": sink()}})), &secret(true, &[("k", &good)]));
        assert_eq!(sink.signing, [Secret::new(good)]);
    }
    for bad in [
        encoded("whsec_", 23),
        encoded("whsec_", 65),
        encoded("whsk_", 33),
        encoded("whsk_", 31),
        encoded("whsk_", 64),
        encoded("", 32),
        "whsec_hunter2!".into(),
    ] {
        let found = problems(sink(), &secret(true, &[("k", &bad)]));
        assert_eq!((found[0].path.as_str(), found[0].reason), ("spec.sink.http.signing.secretKeyRefs[0]", Reason::InvalidSecret), "{bad}");
    }
}

#[test]
fn a_certificate_bundle_is_read_before_it_is_trusted() {
    let sink = || json!({"uri": "https://a.example/h", "tls": {"caBundleRef": {"name": "ca"}, "serverName": "b.example"}});
    let with = |pem: &str| {
        let mut objects = Objects::default();
        objects.insert_config_map("shop", "ca", BTreeMap::from([("ca.crt".to_owned(), pem.to_owned())]));
        objects
    };
    let authority = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate can be made").cert.pem();
    let (resolved, _) = http(&destination(json!({"sink": {"http": sink()}})), &with(&authority));
    assert_eq!((resolved.ca_bundle, resolved.server_name.as_deref()), (Some(authority), Some("b.example")));
    for bad in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(problems(sink(), &with(bad))[0].reason, Reason::InvalidCABundle, "{bad:?}");
    }
    assert_eq!(problems(sink(), &Objects::default())[0].reason, Reason::ConfigMapNotFound);
}

#[test]
fn every_problem_is_told_at_once() {
    let sink = json!({
        "uri": "https://a.example/h", "auth": {"bearer": key()},
        "headers": [{"name": "X-A", "valueFrom": key()}, {"name": "X-B", "value": "b"}, {"name": "X-C", "valueFrom": key()}],
    });
    let paths: Vec<String> = problems(sink, &Objects::default()).into_iter().map(|problem| problem.path).collect();
    let header = |index| format!("spec.sink.http.headers[{index}].valueFrom.secretKeyRef");
    assert_eq!(paths, [header(0), header(2), "spec.sink.http.auth.bearer.secretKeyRef".into()]);
}

#[test]
fn what_is_not_there_yet_is_refused() {
    let found = problems(json!({"uri": "https://a.example/h", "format": "Batch"}), &Objects::default());
    assert_eq!((found[0].path.as_str(), found[0].reason), ("spec.sink.http.format", Reason::NotImplemented));
    assert_eq!(problems(json!({"ref": {"name": "billing"}}), &Objects::default())[0].reason, Reason::NotImplemented);
}

/// What a sink that refers to something becomes in a cluster, with Secret `s` at hand.
fn referring(sink: Value, address: Option<Result<Address, Problem>>) -> Resolved {
    let objects = secret(true, &[("k", SECRET_VALUE)]);
    resolve(&destination(json!({"sink": {"http": sink}})), "u", &objects, &Surroundings::Cluster(address)).expect("its spec is right")
}

fn address(url: &str, is_service: bool) -> Option<Result<Address, Problem>> {
    Some(Ok(Address { url: Url::parse(url).expect("a URL"), is_service }))
}

#[test]
fn a_reference_becomes_the_address_of_what_it_names() {
    let resolved = referring(json!({"ref": {"name": "billing"}}), address("http://billing.shop.svc:8080/h?x=1", true));
    let Sink::Http(sink) = resolved.plan.expect("nothing is missing").sink;
    assert_eq!((sink.uri.expose(), sink.in_cluster), ("http://billing.shop.svc:8080/h?x=1", true));
    assert_eq!(resolved.route.sink_uri, "http://billing.shop.svc:8080/h");
    let resolved = referring(json!({"ref": {"name": "billing"}}), address("https://a.example/", false));
    let Sink::Http(sink) = resolved.plan.expect("nothing is missing").sink;
    assert!(!sink.in_cluster);
}

#[test]
fn a_reference_to_nothing_is_routed_all_the_same() {
    for (address, reason) in [
        (None, Reason::RefNotFound),
        (Some(Err(Problem::new("spec.sink.http.ref", Reason::RefNotPermitted, "no"))), Reason::RefNotPermitted),
    ] {
        let resolved = referring(json!({"ref": {"name": "billing"}}), address);
        assert_eq!(resolved.plan.expect_err("it has no address")[0].reason, reason);
        assert_eq!(resolved.route.unresolved.map(|unresolved| unresolved.reason), Some(reason.to_string()));
        assert_eq!(resolved.route.sink_uri, "");
    }
}

#[test]
fn credentials_go_to_a_service_in_clear_and_to_no_other_address() {
    let with_token = || json!({"ref": {"name": "billing"}, "auth": {"bearer": key()}});
    assert!(referring(with_token(), address("http://billing.shop.svc/", true)).plan.is_ok());
    assert!(referring(with_token(), address("https://a.example/", false)).plan.is_ok());
    let problems = referring(with_token(), address("http://a.example/", false)).plan.expect_err("it would be sent in clear");
    assert_eq!((problems[0].path.as_str(), problems[0].reason), ("spec.sink.http.ref", Reason::RefNotAddressable));
    let with_tls = json!({"ref": {"name": "billing"}, "tls": {"serverName": "a"}});
    assert!(referring(with_tls.clone(), address("http://billing.shop.svc/", true)).plan.is_err());
    assert!(referring(with_tls, address("https://billing.shop.svc/", true)).plan.is_ok());
}

#[test]
fn a_plan_without_secrets_has_none() {
    let key = |name: &str| json!({"secretKeyRef": {"name": "s", "key": name}});
    let signing = format!("whsec_{}", "MTEx".repeat(8));
    let objects = secret(true, &[("url", "https://hooks.example/hunter2"), ("token", SECRET_VALUE), ("signing", &signing)]);
    let sink = json!({
        "uriFrom": key("url"), "headers": [{"name": "X-A", "valueFrom": key("token")}], "auth": {"bearer": key("token")},
        "signing": {"secretKeyRefs": [{"name": "s", "key": "signing"}]},
    });
    let (_, resolved) = http(&destination(json!({"sink": {"http": sink}})), &objects);
    let text = serde_json::to_string(&resolved.plan.expect("nothing is missing").without_secrets()).expect("JSON");
    assert!(!text.contains(SECRET_VALUE) && !text.contains("MTEx"), "{text}");
}

#[test]
fn a_destination_whose_secret_is_missing_is_routed_all_the_same() {
    let resolved = resolve(&destination(json!({"sink": {"http": bearer()}})), "u", &Objects::default(), &Surroundings::Standalone)
        .expect("its spec is right");
    assert!(resolved.plan.is_err());
    assert_eq!(resolved.route.sink_uri, "https://a.example/h");
    assert_eq!(resolved.route.unresolved.map(|unresolved| unresolved.reason), Some("SecretNotFound".to_owned()));
}

#[test]
fn where_the_admin_does_not_allow_it_no_plan_accepts_any_certificate() {
    let resolved = |skip: bool| {
        let sink = json!({"uri": "https://a.example/h", "tls": {"insecureSkipVerify": skip}});
        http(&destination(json!({"sink": {"http": sink}})), &Objects::default()).1
    };
    let refused = resolved(true).without_insecure_tls();
    assert_eq!(refused.plan.expect_err("it is not allowed")[0].reason, Reason::InsecureNotAllowed);
    assert_eq!(refused.route.unresolved.expect("it waits").reason, "InsecureNotAllowed");
    assert_eq!(refused.route.sink_uri, "https://a.example/h");
    assert_eq!(resolved(false).without_insecure_tls(), resolved(false));
}

#[test]
fn a_client_certificate_comes_with_its_own_key() {
    let pair = || rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("a certificate");
    let (one, two) = (pair(), pair());
    let sink = json!({"uri": "https://a.example/h", "tls": {"clientCertificateRef": {"name": "s"}}});
    let (chain, key, other) = (one.cert.pem(), one.signing_key.serialize_pem(), two.signing_key.serialize_pem());
    let found = http(&destination(json!({"sink": {"http": sink}})), &secret(true, &[("tls.crt", &chain), ("tls.key", &key)])).0;
    assert_eq!(found.client_certificate.expect("it is given").chain.trim(), chain.trim());
    for (name, value) in [("tls.key", other.as_str()), ("tls.key", SECRET_VALUE), ("tls.crt", SECRET_VALUE)] {
        let mut values = std::collections::BTreeMap::from([("tls.crt", chain.as_str()), ("tls.key", key.as_str())]);
        values.insert(name, value);
        let values: Vec<_> = values.into_iter().collect();
        assert_eq!(problems(sink.clone(), &secret(true, &values))[0].reason, Reason::InvalidSecret, "{name}");
    }
}
