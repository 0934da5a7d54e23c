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
    assert_eq!(sink.send(&[attempt], None).await, DELIVERED);
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
async fn the_trace_of_an_event_goes_on_in_its_request() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = |json: &str| Event { attributes: Attributes::from_json(json.as_bytes()).expect("attributes"), ..event() };
    let event = traced(&format!(r#"{{"id":"1","source":"/s","type":"t","traceparent":"{PARENT}","tracestate":"a=1"}}"#));
    for format in [Format::Binary, Format::Structured, Format::Batch] {
        let request = sent(|plan| plan.format = format, attempt(&event)).await;
        assert_eq!((request.header("traceparent"), request.header("tracestate")), (PARENT.into(), "a=1".into()));
    }
    assert_eq!(sent(|_| (), attempt(&event)).await.header("ce-traceparent"), PARENT);
    let event = traced(r#"{"id":"1","source":"/s","type":"t","traceparent":"nonsense","tracestate":"a=1"}"#);
    let request = sent(|_| (), attempt(&event)).await;
    assert_eq!((request.header("traceparent"), request.header("tracestate")), (String::new(), String::new()));
    assert_eq!(request.header("ce-traceparent"), "nonsense");
}

#[tokio::test]
async fn a_batch_is_one_request_with_an_id_of_its_members() {
    let of = |id: &str| Event {
        attributes: Attributes::from_json(format!(r#"{{"id":"{id}","source":"/s","type":"t"}}"#).as_bytes()).expect("attributes"),
        ..event()
    };
    let events = [of("1"), of("2")];
    let server = Server::answering(OK).await;
    let mut plan = plan(&server.url("/"));
    let secrets = [Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    (plan.format, plan.signing) = (Format::Batch, secrets.to_vec());
    let mut sink = HttpSink::new(&plan, PATIENT, &context()).expect("a good plan");
    let attempts = |number: u32, redriven: bool| {
        let sequence = |seq| Sequence { ms: 5, seq };
        [
            Attempt { event: &events[0], sequence: sequence(1), number, redriven: false },
            Attempt { event: &events[1], sequence: sequence(2), number: 1, redriven },
        ]
    };
    assert_eq!(sink.send(&attempts(1, false), None).await, DELIVERED);
    assert_eq!(sink.send(&attempts(3, true), None).await, DELIVERED);
    assert_eq!(sink.send(&attempts(1, false)[..1], None).await, DELIVERED);

    let requests = server.requests();
    let first = &requests[0];
    assert_eq!(first.header("content-type"), "application/cloudevents-batch+json");
    assert_eq!(first.header("ce-id"), "");
    let items: Vec<serde_json::Value> = serde_json::from_slice(&first.body).expect("JSON");
    let told: Vec<_> = items.iter().map(|item| (item["id"].as_str(), item["sequence"].as_str())).collect();
    let expected = [(Some("1"), Some("0000000000000005-0000000001")), (Some("2"), Some("0000000000000005-0000000002"))];
    assert_eq!(told, expected);
    let timestamp = first.header("webhook-timestamp").parse().expect("seconds");
    let signature = Keys::parse(&secrets).expect("keys").sign(&first.header("webhook-id"), timestamp, &first.body);
    assert_eq!(first.header("webhook-signature"), signature);

    // the id is that of the members, whatever the attempt; the attempt is the highest among them
    let ids: Vec<_> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids[0].starts_with("bat_") && ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
    let attempts: Vec<_> = requests.iter().map(|request| request.header("posthorn-attempt")).collect();
    assert_eq!(attempts, ["1", "3", "1"]);
    let redriven: Vec<_> = requests.iter().map(|request| request.header("posthorn-redriven")).collect();
    assert_eq!(redriven, ["", "true", ""]);
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
    let outcome = sink(&server.url("/"), PATIENT).send(&[attempt(&event)], None).await;
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
