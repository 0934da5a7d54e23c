//! Values of Secrets reach their receiver and the plan Secrets of the release namespace, and nothing else.

use super::{PATIENCE, apply, certified, key, secret, signing, unresolved};
use crate::support::client::{Post, get};
use crate::support::eventually::{eventually_within, holds};
use crate::support::pieces::address;
use crate::support::world::{OPERATOR, Plan, RELEASE, SHOP, World};
use crate::support::{Client, Request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use posthorn::receiver::{Answer, Behaviour};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What must be found nowhere: values of Secrets, as they are, as they are stored and as they are sent.
fn canaries() -> Vec<String> {
    let plain = ["canary-header", "canary-bearer", "canary-user", "canary-password", "canary-path", "canary-query", "canary-not-allowed"];
    let plain = plain.map(str::to_owned).into_iter().chain(["canary bad token".to_owned(), signing("canary-key")[6..].to_owned()]);
    let encoded = |text: &String| BASE64_STANDARD.encode(text);
    let basic = BASE64_STANDARD.encode("canary-user:canary-password");
    let plain: Vec<String> = plain.collect();
    plain.iter().map(encoded).chain(plain.clone()).chain([basic]).collect()
}

/// A sink that uses a value of each kind.
fn sink(url: &str, auth: &Value) -> Value {
    json!({
        "uriFrom": {"secretKeyRef": key("credentials", url)},
        "headers": [{"name": "x-api-key", "valueFrom": {"secretKeyRef": key("credentials", "header")}}],
        "auth": auth,
        "tls": {"caBundleRef": {"name": "authority"}},
        "signing": {"secretKeyRefs": [key("credentials", "signing")]},
    })
}

fn of_type(event_type: &str) -> Value {
    json!([{"exact": {"type": event_type}}])
}

/// Every place where no canary may be, by name.
async fn places(world: &mut World) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> =
        world.pieces.redis.everything().into_iter().map(|(key, value)| (format!("redis {key}"), value)).collect();
    let mut admins = vec![world.admin().await, world.ingest.admin, address(&world.router.line("role=\"router\"").await, "admin_listen")];
    admins.extend(world.kubelet.pods().values().filter_map(|pod| pod.admin));
    for admin in admins {
        found.extend(pages(admin).await);
    }
    for (name, pod) in world.kubelet.pods() {
        found.push((format!("log {name}"), world.kubelet.logs(&pod.deployment)));
        for file in ["environ", "cmdline"] {
            let text = std::fs::read(format!("/proc/{}/{file}", pod.pid.unwrap())).unwrap();
            found.push((format!("{file} {name}"), String::from_utf8_lossy(&text).into_owned()));
        }
    }
    let logs = [("operator", world.operator.log()), ("router", world.router.log()), ("ingest", world.ingest.process.log())];
    found.extend(logs.into_iter().map(|(role, log)| (format!("log {role}"), log)));
    for kind in ["eventdestinations", "events", "deployments", "pods", "leases", "configmaps"] {
        found.push((format!("kubectl get {kind}"), world.cluster.ok(&["get", kind, "-A", "-o", "yaml"])));
    }
    found.push(("kubectl describe".into(), world.cluster.ok(&["describe", "eventdestinations", "-A"])));
    let audit = world.cluster.audit_log();
    let others = audit.lines().filter(|line| !line.contains(r#""resource":"secrets""#)).collect::<Vec<_>>().join("\n");
    found.push(("audit".into(), others));
    found
}

async fn pages(admin: SocketAddr) -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for path in ["/metrics", "/readyz"] {
        let body = get(admin, path).await.unwrap().body;
        pages.push((format!("{admin}{path}"), String::from_utf8_lossy(&body).into_owned()));
    }
    pages
}

/// Nothing but metadata was listed, and only what is referred to was read.
fn assert_asked_for_no_more(requests: &[Request]) {
    let asked = |verb: &'static str| requests.iter().filter(move |request| request.verb == verb && request.code() == 200);
    for list in asked("list") {
        assert_eq!(list.answered_kind(), "PartialObjectMetadataList", "{}", list.uri);
    }
    for read in asked("get") {
        let is_referred_to = read.namespace() == SHOP && ["credentials", "forbidden"].contains(&read.name());
        let is_pool = read.namespace() == RELEASE && read.name().starts_with("posthorn-pool-");
        assert!(is_referred_to || is_pool, "{}", read.uri);
    }
    for write in requests.iter().filter(|request| request.is_write()) {
        assert_eq!(write.namespace(), RELEASE, "{} {}", write.verb, write.uri);
    }
    for verb in ["list", "watch", "get", "patch"] {
        assert!(asked(verb).next().is_some(), "no {verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_their_receiver_and_are_found_nowhere_but_in_plan_secrets() {
    let mut world = World::of(Plan { log: "trace", ..Plan::default() }).await;
    let refuses = Behaviour::new(|seen| Answer::Status(if seen.event_type() == Some("refused") { 422 } else { 204 }));
    let receiver = certified(&world, refuses).await;
    let data = json!({
        "header": "canary-header", "token": "canary-bearer", "bad": "canary bad token", "signing": signing("canary-key"),
        "username": "canary-user", "password": "canary-password",
        "url": format!("https://{}/canary-path?key=canary-query", receiver.addr),
        "nowhere": "https://127.0.0.1:1/canary-path?key=canary-query", "nourl": "canary-path no url",
    });
    secret(&world, "credentials", true, &data);
    secret(&world, "forbidden", false, &json!({"token": "canary-not-allowed"}));
    secret(&world, "unrelated", true, &json!({"token": "canary-not-allowed"}));
    let bearer = |secret: &str, name: &str| json!({"bearer": {"secretKeyRef": key(secret, name)}});
    let basic = json!({"basic": {"secretRef": {"name": "credentials"}}});
    let good = bearer("credentials", "token");
    let destinations = [("bearer", "url", &good, "Shared"), ("basic", "url", &basic, "Dedicated"), ("refused", "url", &good, "Shared")];
    for (name, url, auth, isolation) in destinations.into_iter().chain([("unreachable", "nowhere", &good, "Dedicated")]) {
        let retry = json!({"retry": if name == "unreachable" { -1 } else { 0 }, "backoffDelay": "100ms"});
        apply(&world, name, &sink(url, auth), &json!({"filters": of_type(name), "isolation": isolation, "delivery": retry}));
    }
    apply(&world, "bad-url", &sink("nourl", &good), &json!({}));
    apply(&world, "bad-token", &sink("url", &bearer("credentials", "bad")), &json!({}));
    apply(&world, "not-allowed", &sink("url", &bearer("forbidden", "token")), &json!({}));
    for (name, ..) in destinations {
        world.ready(name).await;
        world.status(name, "sinkURI", &json!(format!("https://{}", receiver.addr))).await;
    }
    world.ready("unreachable").await;
    unresolved(&world, "bad-url", "InvalidSecret").await;
    unresolved(&world, "bad-token", "InvalidSecret").await;
    unresolved(&world, "not-allowed", "SecretNotAllowed").await;

    let mut client = Client::new(world.ingest.addr);
    for (number, name) in (1..).zip(["bearer", "basic", "refused", "unreachable"]) {
        client.post_until_accepted(&Post { event_type: name.into(), ..Post::numbered(number) }).await;
    }
    world.delivered("bearer", 1).await;
    world.delivered("basic", 1).await;
    world.status("refused", "deadLetters", &json!(1)).await;
    world.reason("unreachable", "Delivering", "Retrying").await;
    for (name, authorization) in [("bearer", "Bearer canary-bearer"), ("basic", "Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk")] {
        let log = receiver.log();
        let seen = log.iter().find(|seen| seen.event_type() == Some(name)).unwrap();
        assert_eq!((seen.header("authorization"), seen.header("x-api-key")), (Some(authorization), Some("canary-header")));
        assert_eq!(seen.path, "/canary-path?key=canary-query");
    }
    // one that reads the pools when it begins
    let before = world.operator.log();
    world.replace_operator("").await;
    eventually_within(PATIENCE, "the pool was read again", async || {
        let requests = world.cluster.requests();
        let read =
            requests.iter().any(|request| request.verb == "get" && request.name() == "posthorn-pool-0" && request.user() == OPERATOR);
        holds(read, || world.operator.log().lines().count().to_string())
    })
    .await;
    world.ready("bearer").await;

    let mut places = places(&mut world).await;
    places.push(("log of the operator before".into(), before));
    let in_some = |name: &str, text: &str| places.iter().any(|place| place.0.contains(name) && place.1.contains(text));
    let traced = ["log operator", "log of the operator before", "log posthorn-pool", "log posthorn-basic"].map(|log| (log, "TRACE"));
    let searched = traced.into_iter().chain(["log router", "log ingest"].map(|log| (log, "DEBUG")));
    let stored = [("redis ph:", "event-3"), ("/metrics", "posthorn_"), ("kubectl get events", "InvalidSecret"), ("audit", "requestURI")];
    for (name, text) in searched.chain(stored) {
        assert!(in_some(name, text), "{name} was not searched");
    }
    let canaries = canaries();
    let leaks = places.iter().flat_map(|(name, held)| canaries.iter().filter(|text| held.contains(*text)).map(move |text| (name, text)));
    assert_eq!(leaks.collect::<Vec<_>>(), []);
    let plans = world.cluster.ok(&["get", "secrets", "-n", RELEASE, "-o", "jsonpath={range .items[*]}{.data}{end}"]);
    assert!(!plans.contains(&BASE64_STANDARD.encode("canary-not-allowed")), "{plans}");

    let requests = world.cluster.requests();
    let of_operator = |request: &&Request| request.user() == OPERATOR && request.resource() == "secrets";
    assert_asked_for_no_more(&requests.iter().filter(of_operator).cloned().collect::<Vec<_>>());
}
