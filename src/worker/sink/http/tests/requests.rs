//! What is sent.

use super::super::config::Receiver;
use super::super::request::Template;
use super::super::{ConfigError, KeyError, Keys};
use super::server::{OK, Request, Server};
use super::*;
use crate::plan::Auth;

async fn sent(change: impl FnOnce(&mut plan::HttpSink), attempt: Attempt<'_>) -> Request {
    let server = Server::answering(OK).await;
    let mut plan = plan(&server.url("/hooks?tenant=shop"));
    change(&mut plan);
    let mut sink = HttpSink::new(&plan, PATIENT, &context()).expect("a good plan");
    assert_eq!(sink.send(&[attempt]).await, DELIVERED);
    server.requests().remove(0)
}

fn attempt(event: &Event) -> Attempt<'_> {
    Attempt { event, sequence: Sequence { ms: 1_764_000_000_000, seq: 7 }, number: 3, redriven: false }
}

fn refused(change: impl FnOnce(&mut plan::HttpSink)) -> ConfigError {
    let mut plan = plan("https://a.example/");
    change(&mut plan);
    HttpSink::new(&plan, PATIENT, &context()).expect_err("a bad plan")
}

#[tokio::test]
async fn a_request_says_what_it_is() {
    let event = event();
    let request = sent(|_| (), attempt(&event)).await;
    assert_eq!(request.line, "POST /hooks?tenant=shop HTTP/1.1");
    assert_eq!(request.body, b"hello");
    let table = [
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/orders"),
        ("ce-type", "order.placed"),
        ("ce-sequence", "0001764000000000-0000000007"),
        ("webhook-id", &event.attributes.identity().webhook_id()),
        ("webhook-signature", ""),
        ("posthorn-attempt", "3"),
        ("posthorn-redriven", ""),
        ("authorization", ""),
        ("user-agent", concat!("posthorn/", env!("CARGO_PKG_VERSION"))),
    ];
    for (name, value) in table {
        assert_eq!(request.header(name), value, "{name}");
    }
    assert!(request.header("host").starts_with("127.0.0.1:"));
    assert!(request.header("webhook-timestamp").parse::<u64>().expect("seconds") > 1_764_000_000);
}

#[tokio::test]
async fn an_event_without_data_has_an_explicit_length() {
    let event = Event { data: Bytes::new(), ..event() };
    assert_eq!(sent(|_| (), attempt(&event)).await.header("content-length"), "0");
}

#[tokio::test]
async fn redriven_events_are_marked() {
    let event = event();
    let request = sent(|_| (), Attempt { redriven: true, ..attempt(&event) }).await;
    assert_eq!(request.header("posthorn-redriven"), "true");
}

#[tokio::test]
async fn headers_and_credentials_of_the_destination_are_sent() {
    let event = event();
    let request = sent(
        |plan| {
            plan.headers = vec![("X-Team".into(), Secret::new("payments")), ("X-Api-Key".into(), Secret::new("k\n"))];
            plan.auth = Some(Auth::Bearer(Secret::new("t0ken\n")));
        },
        attempt(&event),
    )
    .await;
    assert_eq!((request.header("x-team"), request.header("x-api-key")), ("payments".into(), "k".into()));
    assert_eq!(request.header("authorization"), "Bearer t0ken");

    let basic = Auth::Basic { username: Secret::new("Aladdin"), password: Secret::new("open sesame") };
    let request = sent(|plan| plan.auth = Some(basic), attempt(&event)).await;
    assert_eq!(request.header("authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[tokio::test]
async fn structured_mode_sends_one_json_object() {
    let event = event();
    let request = sent(|plan| plan.format = Format::Structured, attempt(&event)).await;
    assert_eq!(request.header("content-type"), "application/cloudevents+json");
    let json: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&json["id"], &json["sequence"]), (&"1".into(), &"0001764000000000-0000000007".into()));
}

#[tokio::test]
async fn each_attempt_is_signed_over_the_bytes_that_are_sent() {
    let event = Event { data: Bytes::from_static(b"\0\xff."), ..event() };
    let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"].map(Secret::new);
    let request = sent(|plan| plan.signing = secrets.to_vec(), attempt(&event)).await;
    let timestamp = request.header("webhook-timestamp").parse().expect("seconds");
    let expected = Keys::parse(&secrets).expect("keys").sign(&request.header("webhook-id"), timestamp, &request.body);
    assert_eq!(request.header("webhook-signature"), expected);
    assert_eq!(expected.split(' ').count(), 2);
}

#[tokio::test]
async fn an_event_that_is_no_request_is_undecodable_and_opens_no_connection() {
    let server = Server::answering(OK).await;
    let event = Event { content_type: Some("text/plain\r\nx: y".to_owned()), ..event() };
    let outcome = sink(&server.url("/"), PATIENT).send(&[attempt(&event)]).await;
    assert_eq!(class(outcome), Class::Undecodable);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_plan_that_cannot_be_sent_is_refused() {
    let header = |name: &str, value: &str| {
        let header = (name.to_owned(), Secret::new(value));
        refused(|plan| plan.headers = vec![header])
    };
    for name in
        ["Host", "content-length", "Content-Type", "connection", "TE", "ce-id", "Webhook-Id", "posthorn-attempt", "transfer-encoding"]
    {
        assert_eq!(header(name, "x"), ConfigError::ReservedHeader(name.into()));
    }
    assert_eq!(header("X Team", "x"), ConfigError::Header("X Team".into()));
    assert_eq!(header("X-Team", "a\r\nb: c"), ConfigError::Header("X-Team".into()));
    assert_eq!(header("X-Team", "a\0"), ConfigError::Header("X-Team".into()));
    assert_eq!(refused(|plan| plan.auth = Some(Auth::Bearer(Secret::new("a\nb")))), ConfigError::Auth);
    let basic = Auth::Basic { username: Secret::new("a:b"), password: Secret::new("c") };
    assert_eq!(refused(|plan| plan.auth = Some(basic)), ConfigError::Auth);
    assert_eq!(refused(|plan| plan.signing = vec![Secret::new("x")]), ConfigError::Signing { number: 1, error: KeyError::Prefix });
    assert_eq!(refused(|plan| plan.ca_bundle = Some("no certificate".into())), ConfigError::CaBundle);
    assert_eq!(refused(|plan| plan.uri = Secret::new("a.example")), ConfigError::Uri);
}

#[tokio::test]
async fn no_secret_is_ever_printed() {
    let (_socket, address) = super::server::refusing();
    let mut plan = plan(&format!("http://{address}/canary?token=canary"));
    plan.auth = Some(Auth::Bearer(Secret::new("canary")));
    plan.headers = vec![("X-Api-Key".into(), Secret::new("canary"))];
    plan.signing = vec![Secret::new("whsec_canarycanarycanarycanarycanaryca")];
    let mut sink = HttpSink::new(&plan, PATIENT, &context()).expect("a good plan");
    let outcome = send(&mut sink, 1).await;
    assert_eq!(class(outcome.clone()), Class::ConnectionRefused);
    let receiver = Receiver::parse(plan.uri.expose()).expect("a good URL");
    let template = Template::new(&receiver, &plan).expect("a good plan");
    let headers = template.request(&[attempt(&event())]).expect("a request").headers().clone();
    for printed in [format!("{sink:?}"), format!("{plan:?}"), format!("{outcome:?}"), format!("{headers:?}")] {
        assert!(!printed.contains("canary"), "{printed}");
    }
}
