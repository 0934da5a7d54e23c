//! Secrets reach receivers and nothing else (T86).

use super::Place;
use crate::delivery::scene::{destination, of_type, secret};
use crate::support::client::Post;
use crate::support::eventually;
use crate::support::eventually::holds;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const SIGNING_KEY: &str = "canary-signing-key-of-32-bytes-x";

/// What must be found nowhere: values of Secrets, as they are and as they are sent.
fn canaries() -> Vec<String> {
    let plain = ["canary-header", "canary-bearer", "canary-user", "canary-password", "canary-path", "canary-query", SIGNING_KEY];
    let encoded = [SIGNING_KEY, "canary-user:canary-password", "canary-header"].map(|text| BASE64_STANDARD.encode(text));
    plain.map(str::to_owned).into_iter().chain(encoded).collect()
}

/// The Secret of all destinations; its URL leads to this receiver.
fn credentials(url: &str, nowhere: &str) -> Value {
    let signing = format!("whsec_{}", BASE64_STANDARD.encode(SIGNING_KEY));
    secret(
        "credentials",
        json!({
            "header": "canary-header", "token": "canary-bearer", "signing": signing,
            "username": "canary-user", "password": "canary-password",
            "url": format!("{url}canary-path?key=canary-query"), "nowhere": format!("{nowhere}canary-path?key=canary-query"),
        }),
    )
}

/// A server with a certificate of its own, for 127.0.0.1: credentials are only sent over TLS. The ConfigMap makes it trusted.
pub(super) fn certified() -> (ServerConfig, Value) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let metadata = json!({"namespace": "default", "name": "authority"});
    (config, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": cert.pem()}}))
}

/// A destination that uses all of it and wants one type of events.
fn using_secrets(name: &str, url_key: &str, auth: Value, retry: i32) -> Value {
    let key = |key: &str| json!({"name": "credentials", "key": key});
    let http = json!({
        "uriFrom": {"secretKeyRef": key(url_key)},
        "headers": [{"name": "x-api-key", "valueFrom": {"secretKeyRef": key("header")}}],
        "auth": auth,
        "tls": {"caBundleRef": {"name": "authority"}},
        "signing": {"secretKeyRefs": [key("signing")]},
    });
    let more = json!({"filters": of_type(name), "delivery": {"retry": retry}});
    let mut destination = destination(name, "", more);
    destination["spec"]["sink"]["http"] = http;
    destination
}

/// Every place where no canary may be, by name.
async fn places(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![("log".to_owned(), place.standalone.log().into_bytes())];
    let commands: [&[&str]; 6] = [
        &["get", "-o", "yaml"],
        &["get", "-o", "wide"],
        &["get", "-o", "json"],
        &["get"],
        &["dead", "list", "refused"],
        &["dead", "list", "refused", "-o", "json"],
    ];
    found.extend(commands.map(|args| (args.join(" "), place.run(args).into_bytes())));
    let list: Value = serde_json::from_str(&place.run(&["dead", "list", "refused", "-o", "json"])).unwrap();
    let sequence = list["items"][0]["sequence"].as_str().unwrap();
    for args in [&["dead", "show", "refused", sequence][..], &["dead", "show", "refused", sequence, "-o", "json"]] {
        found.push((args.join(" "), place.run(args).into_bytes()));
    }
    for path in ["/metrics", "/readyz"] {
        found.push((path.to_owned(), place.page(path).await.into_bytes()));
    }
    found
        .extend(place.redis().everything().into_iter().map(|(key, value)| (format!("redis {key}"), format!("{key} {value}").into_bytes())));
    files(&place.data(), &mut found);
    found
}

/// Every file of a directory and those below it.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.is_file() {
            found.push((entry.display().to_string(), std::fs::read(&entry).unwrap()));
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_their_receiver_and_are_found_nowhere_else() {
    let refuses = Behaviour::new(|seen| Answer::Status(if seen.event_type() == Some("refused") { 422 } else { 204 }));
    let (config, authority) = certified();
    let receiver = Receiver::start_tls(Arc::new(config), refuses).await.unwrap();
    let bearer = json!({"bearer": {"secretKeyRef": {"name": "credentials", "key": "token"}}});
    let basic = json!({"basic": {"secretRef": {"name": "credentials"}}});
    let objects = [
        authority,
        credentials(&format!("https://{}/", receiver.addr), "https://127.0.0.1:1/"),
        using_secrets("bearer", "url", bearer.clone(), 0),
        using_secrets("basic", "url", basic, 0),
        using_secrets("refused", "url", bearer.clone(), 0),
        using_secrets("unreachable", "nowhere", bearer, -1),
    ];
    let place = Place::start_with(&objects, &[("POSTHORN_LOG", "trace")]).await;
    let mut client = place.client();
    for (number, name) in (1..).zip(["bearer", "basic", "refused", "unreachable"]) {
        client.post_until_accepted(&Post { event_type: name.into(), ..Post::numbered(number) }).await;
    }
    for name in ["bearer", "basic", "refused"] {
        place.settled(name).await;
    }
    let failed = format!("ph:{{default}}:st:{}", place.uid("unreachable"));
    eventually("a failed attempt", async || {
        let failed = place.redis().cli(&["HGET", &failed, "failed"]);
        holds(failed.parse::<u64>().is_ok_and(|failed| failed > 1), || failed.clone())
    })
    .await;

    for (name, authorization) in [("bearer", "Bearer canary-bearer".to_owned()), ("basic", format!("Basic {}", canaries()[8]))] {
        let log = receiver.log();
        let seen = log.iter().find(|seen| seen.event_type() == Some(name)).unwrap();
        assert_eq!((seen.header("authorization"), seen.header("x-api-key")), (Some(authorization.as_str()), Some("canary-header")));
        assert_eq!(seen.path, "/canary-path?key=canary-query");
        assert!(seen.header("webhook-signature").is_some_and(|signature| signature.starts_with("v1,")), "{seen:?}");
    }
    let places = places(&place).await;
    let in_some = |name: &str, text: &str| places.iter().any(|place| place.0.contains(name) && contains(&place.1, text));
    let searched = [("log", "TRACE"), ("wide", "127.0.0.1"), ("/metrics", "posthorn_"), ("/readyz", "[+]redis")];
    let stored = ["dead list", "dead show", "redis ph:", "appendonlydir"].map(|name| (name, "event-3"));
    for (name, text) in searched.into_iter().chain(stored) {
        assert!(in_some(name, text), "{name} was not searched");
    }
    let leaks =
        places.iter().flat_map(|(name, bytes)| canaries().into_iter().filter(|text| contains(bytes, text)).map(move |text| (name, text)));
    let leaks: Vec<_> = leaks.collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}
