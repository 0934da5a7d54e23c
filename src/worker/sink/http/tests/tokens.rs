//! OAuth 2.0 client credentials, against a real token endpoint and a receiver behind TLS.

use super::server::{Request, Server, refusing};
use super::tls::Authority;
use super::*;
use crate::plan::{Auth, OAuth2};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_rustls::TlsAcceptor;

/// Answers each request as a function of its number, from 1, and of the request.
async fn serving(authority: &Authority, answer: impl Fn(usize, &Request) -> String + Send + Sync + 'static) -> Server {
    let (answer, number) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let acceptor = TlsAcceptor::from(Arc::new(authority.certified("127.0.0.1", |_| ())));
    Server::start_tls(acceptor, move |_, mut talk| {
        let (answer, number) = (answer.clone(), number.clone());
        async move {
            while let Some(request) = talk.request().await {
                let number = number.fetch_add(1, Ordering::Relaxed) + 1;
                talk.say(answer(number, &request).as_bytes()).await;
            }
        }
    })
    .await
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An endpoint whose token number n is `token-n` and lasts this many seconds.
async fn granting(authority: &Authority, seconds: u64) -> Server {
    serving(authority, move |number, _| {
        answer("200 OK", &format!(r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":{seconds}}}"#))
    })
    .await
}

async fn accepting(authority: &Authority) -> Server {
    serving(authority, |_, _| answer("200 OK", "")).await
}

fn https(server: &Server, path: &str) -> String {
    format!("https://127.0.0.1:{}{path}", server.address.port())
}

fn oauth2(authority: &Authority, receiver: &Server, token_uri: &str) -> plan::HttpSink {
    let mut plan = plan(&https(receiver, "/hooks"));
    plan.ca_bundle = Some(authority.pem());
    plan.auth = Some(Auth::OAuth2(OAuth2 {
        token_uri: token_uri.to_owned(),
        client_id: "shop:1".into(),
        client_secret: Secret::new("s3cret +canary"),
        scopes: vec!["events:write".into(), "b".into()],
        audience: Some("https://api.example".into()),
    }));
    plan
}

fn sink(plan: &plan::HttpSink) -> HttpSink {
    HttpSink::new(plan, PATIENT, &context()).expect("a good plan")
}

fn authorizations(server: &Server) -> Vec<String> {
    server.requests().iter().map(|request| request.header("authorization")).collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_used_until_it_ends() {
    let authority = Authority::new();
    let (endpoint, receiver) = (granting(&authority, 3600).await, accepting(&authority).await);
    let mut sink = sink(&oauth2(&authority, &receiver, &https(&endpoint, "/token?tenant=1")));
    for number in 1..=3 {
        assert_eq!(send(&mut sink, number).await, DELIVERED);
    }
    assert_eq!(authorizations(&receiver), ["Bearer token-1"; 3]);
    let asked = endpoint.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /token?tenant=1 HTTP/1.1");
    assert_eq!(asked[0].header("content-type"), "application/x-www-form-urlencoded");
    let body = "grant_type=client_credentials&scope=events%3Awrite+b&audience=https%3A%2F%2Fapi.example";
    assert_eq!(String::from_utf8_lossy(&asked[0].body), body);
    // `shop%3A1:s3cret+%2Bcanary`
    assert_eq!(asked[0].header("authorization"), "Basic c2hvcCUzQTE6czNjcmV0KyUyQmNhbmFyeQ==");
}

#[tokio::test]
async fn all_sinks_of_a_destination_share_a_token_and_ask_once() {
    let authority = Authority::new();
    let (endpoint, receiver) = (granting(&authority, 3600).await, accepting(&authority).await);
    let first = sink(&oauth2(&authority, &receiver, &https(&endpoint, "/")));
    let sinks = (0..8).map(|_| {
        let mut sink = first.another();
        async move { send(&mut sink, 1).await }
    });
    for outcome in futures::future::join_all(sinks).await {
        assert_eq!(outcome, DELIVERED);
    }
    assert_eq!((endpoint.requests().len(), receiver.requests().len()), (1, 8));
}

#[tokio::test]
async fn a_token_that_has_ended_is_replaced() {
    let authority = Authority::new();
    let (endpoint, receiver) = (granting(&authority, 0).await, accepting(&authority).await);
    let mut sink = sink(&oauth2(&authority, &receiver, &https(&endpoint, "/")));
    for number in 1..=2 {
        assert_eq!(send(&mut sink, number).await, DELIVERED);
    }
    assert_eq!(authorizations(&receiver), ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn after_a_401_the_attempt_is_repeated_once_with_a_new_token() {
    let authority = Authority::new();
    let endpoint = granting(&authority, 3600).await;
    let receiver = serving(&authority, |_, request| match request.header("authorization").as_str() {
        "Bearer token-2" => answer("200 OK", ""),
        _ => answer("401 Unauthorized", ""),
    })
    .await;
    let mut sink = sink(&oauth2(&authority, &receiver, &https(&endpoint, "/")));
    assert_eq!(send(&mut sink, 7).await, DELIVERED);
    let attempts: Vec<_> = receiver.requests().iter().map(|request| request.header("posthorn-attempt")).collect();
    assert_eq!(attempts, ["7", "7"]);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!((endpoint.requests().len(), receiver.requests().len()), (2, 3));
}

#[tokio::test]
async fn a_second_401_counts() {
    let authority = Authority::new();
    let endpoint = granting(&authority, 3600).await;
    let receiver = serving(&authority, |_, _| answer("401 Unauthorized", "")).await;
    let failure = failed(send(&mut sink(&oauth2(&authority, &receiver, &https(&endpoint, "/"))), 1).await);
    assert_eq!((failure.class, failure.code), (Class::AuthRejected, Some(401)));
    assert_eq!((endpoint.requests().len(), receiver.requests().len()), (2, 2));
}

/// What comes of an attempt where the token endpoint answers so; nothing is sent to the receiver.
async fn without_token(said: String) -> Failure {
    let authority = Authority::new();
    let (endpoint, receiver) = (serving(&authority, move |_, _| said.clone()).await, accepting(&authority).await);
    let failure = failed(send(&mut sink(&oauth2(&authority, &receiver, &https(&endpoint, "/"))), 1).await);
    assert!(receiver.requests().is_empty());
    assert!(failure.message.contains("token endpoint 127.0.0.1"), "{}", failure.message);
    assert!(!failure.message.contains("canary"), "{}", failure.message);
    assert_eq!(failure.code, None);
    failure
}

#[tokio::test]
async fn a_failure_tells_that_it_is_the_token_endpoints() {
    let table = [
        (answer("401 No", r#"{"error":"invalid_client","error_description":"canary"}"#), Class::TokenRefused, "401 invalid_client"),
        (answer("400 No", r#"{"error":"invalid_scope"}"#), Class::TokenRefused, "400 invalid_scope"),
        (answer("400 No", r#"{"error":"s3cret +canary"}"#), Class::TokenRefused, "answered 400"),
        (answer("404 No", "canary"), Class::TokenRefused, "answered 404"),
        (answer("503 Busy", ""), Class::TokenUnavailable, "answered 503"),
        (answer("429 Slow", ""), Class::TokenUnavailable, "answered 429"),
        (answer("302 Found\r\nlocation: /canary", ""), Class::TokenUnavailable, "answered 302"),
        (answer("200 OK", "canary"), Class::TokenRefused, "no JSON object"),
        (answer("200 OK", r#"{"access_token":"canary","token_type":"mac"}"#), Class::TokenRefused, "another type than Bearer"),
        (answer("200 OK", r#"{"access_token":"canary\r\nx: y","token_type":"bearer"}"#), Class::TokenRefused, "cannot be sent"),
        (answer("200 OK", &" ".repeat(17_000)), Class::TokenUnavailable, "more than"),
        ("nonsense\r\n\r\n".into(), Class::TokenUnavailable, "not HTTP"),
    ];
    for (said, class, contains) in table {
        let failure = without_token(said.clone()).await;
        assert_eq!(failure.class, class, "{said}");
        assert!(failure.message.contains(contains), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_token_endpoint_that_cannot_be_reached_is_named() {
    let authority = Authority::new();
    let receiver = accepting(&authority).await;
    let (_socket, address) = refusing();
    let failure = failed(send(&mut sink(&oauth2(&authority, &receiver, &format!("https://{address}/"))), 1).await);
    assert_eq!(failure.class, Class::TokenUnavailable);
    assert!(failure.message.contains(&format!("nothing listens at {address}")), "{}", failure.message);

    let hanging = Server::start(|_, mut talk| async move { talk.hang().await }).await;
    let plan = oauth2(&authority, &receiver, &https(&hanging, "/"));
    let mut sink = HttpSink::new(&plan, IMPATIENT * 2, &context()).expect("a good plan");
    let failure = failed(send(&mut sink, 1).await);
    assert_eq!(failure.class, Class::TokenUnavailable, "{}", failure.message);
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn the_token_endpoint_is_behind_the_same_guard() {
    let authority = Authority::new();
    let (endpoint, receiver) = (granting(&authority, 60).await, accepting(&authority).await);
    let mut plan = oauth2(&authority, &receiver, &https(&endpoint, "/"));
    // the receiver is a Service of the cluster; that says nothing of the token endpoint
    plan.in_cluster = true;
    let failure =
        failed(send(&mut HttpSink::new(&plan, PATIENT, &SinkContext::new(Policy::cluster_default())).expect("a good plan"), 1).await);
    assert_eq!(failure.class, Class::AddressDenied);
    assert!(failure.message.contains("token endpoint"), "{}", failure.message);
    assert_eq!((endpoint.connections(), receiver.connections()), (0, 0));
}

#[tokio::test]
async fn whoever_cannot_be_trusted_gets_no_client_secret() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (endpoint, receiver) = (granting(&stranger, 60).await, accepting(&authority).await);
    let mut plan = oauth2(&authority, &receiver, &https(&endpoint, "/"));
    plan.insecure_skip_verify = true;
    let context = SinkContext { allow_insecure_tls: true, ..context() };
    let failure = failed(send(&mut HttpSink::new(&plan, PATIENT, &context).expect("a good plan"), 1).await);
    assert_eq!(failure.class, Class::TokenUnavailable);
    assert!(failure.message.contains("TLS"), "{}", failure.message);
    assert!(endpoint.requests().is_empty());
}

#[tokio::test]
async fn neither_token_nor_client_secret_is_printed() {
    let authority = Authority::new();
    let endpoint = serving(&authority, |_, _| answer("200 OK", r#"{"access_token":"canary","token_type":"bearer"}"#)).await;
    let receiver = accepting(&authority).await;
    let plan = oauth2(&authority, &receiver, &https(&endpoint, "/"));
    let mut sink = sink(&plan);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    for printed in [format!("{sink:?}"), format!("{plan:?}")] {
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[test]
fn a_token_endpoint_is_an_https_url() {
    let authority = Authority::new();
    for uri in ["http://id.example/token", "id.example", "https://user:canary@id.example/"] {
        let mut plan = plan("https://a.example/");
        plan.ca_bundle = Some(authority.pem());
        plan.auth = Some(Auth::OAuth2(OAuth2 {
            token_uri: uri.into(),
            client_id: "a".into(),
            client_secret: Secret::new("b"),
            scopes: Vec::new(),
            audience: None,
        }));
        let error = HttpSink::new(&plan, PATIENT, &context()).expect_err("a bad plan");
        assert_eq!(error, super::super::ConfigError::TokenUri);
    }
}
