//! A trace from the producer to the receiver, and what is exported of it.

use super::Place;
use crate::delivery::scene::destination;
use crate::support::eventually;
use crate::support::eventually::holds;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use prost::Message;
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// An event in binary mode with these headers besides.
fn event(id: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("ce-specversion", "1.0").header("ce-id", id).header("ce-source", "/s").header("ce-type", "t");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::new(Bytes::from_static(b"x"))).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let value = attributes.iter().find(|one| one.key == name).and_then(|one| one.value.as_ref()?.value.as_ref());
    match value {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Everything that a collector got.
fn exported(collector: &Receiver) -> Vec<ExportTraceServiceRequest> {
    collector.log().iter().map(|seen| ExportTraceServiceRequest::decode(seen.body.clone()).unwrap()).collect()
}

fn spans(collector: &Receiver) -> Vec<Span> {
    let resources = exported(collector).into_iter().flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_producer_to_the_receiver() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let place = Place::start(&[destination("a", &receiver.url(), json!({}))]).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let mut client = place.client();
    for request in [
        event("of-request", &[("traceparent", &parent), ("tracestate", "a=1")]),
        event("of-event", &[("traceparent", &parent.replace("4bf9", "1111")), ("ce-traceparent", &parent)]),
        event("wrong", &[("traceparent", "nonsense")]),
    ] {
        assert_eq!(client.send(request).await.unwrap().status, 202);
    }
    place.settled("a").await;
    let log = receiver.log();
    let told: Vec<_> =
        log.iter().map(|seen| (seen.header("traceparent"), seen.header("ce-traceparent"), seen.header("tracestate"))).collect();
    let parent = Some(parent.as_str());
    assert_eq!(told, [(parent, parent, Some("a=1")), (parent, parent, None), (None, None, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_exported_where_the_standard_variables_ask_for_it() {
    let collector = Receiver::start(Behaviour::always(Answer::Status(200))).await.unwrap();
    let receiver = Receiver::start(Behaviour::script(vec![Answer::Status(503), Answer::Status(204)])).await.unwrap();
    let endpoint = collector.url();
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.trim_end_matches('/')),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=shop"),
        ("OTEL_SERVICE_NAME", "horn"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let place = Place::start_with(&[destination("a", &receiver.url(), json!({}))], &env).await;
    let mut client = place.client();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    assert_eq!(client.send(event("traced", &[("traceparent", &parent)])).await.unwrap().status, 202);
    assert_eq!(client.send(event("alone", &[])).await.unwrap().status, 202);
    place.settled("a").await;
    eventually("five spans", async || holds(spans(&collector).len() == 5, || format!("{:?}", spans(&collector)))).await;

    let seen = &collector.log()[0];
    assert_eq!((seen.path.as_str(), seen.header("x-team")), ("/v1/traces", Some("shop")));
    assert_eq!(seen.header("content-type"), Some("application/x-protobuf"));
    let resource = exported(&collector)[0].resource_spans[0].resource.clone().unwrap().attributes;
    assert_eq!((text(&resource, "service.name"), text(&resource, "deployment.environment")), ("horn".into(), "test".into()));

    let spans = spans(&collector);
    let of = |id: &str, name: &str| -> Vec<&Span> {
        spans.iter().filter(|span| text(&span.attributes, "cloudevents.event_id") == id && span.name == name).collect()
    };
    let (published, delivered) = (of("traced", "publish default"), of("traced", "deliver a"));
    assert_eq!((published.len(), delivered.len()), (1, 2));
    for span in published.iter().chain(&delivered) {
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), "00f067aa0ba902b7".to_owned()));
    }
    let codes: Vec<_> = delivered.iter().map(|span| text(&span.attributes, "http.response.status_code")).collect();
    assert_eq!(codes, ["503", "204"]);
    // the receiver continues the delivery's span, the event keeps its own context
    for (seen, span) in receiver.log().iter().zip(&delivered) {
        assert_eq!(seen.header("traceparent"), Some(format!("00-{TRACE}-{}-01", hex(&span.span_id)).as_str()));
        assert_eq!(seen.header("ce-traceparent"), Some(parent.as_str()));
    }
    // an event without a trace begins one when it is published
    let (published, delivered) = (of("alone", "publish default")[0], of("alone", "deliver a")[0]);
    assert_eq!((&delivered.trace_id, &delivered.parent_span_id), (&published.trace_id, &published.span_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_where_it_is_switched_off() {
    let collector = Receiver::start(Behaviour::always(Answer::Status(200))).await.unwrap();
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let endpoint = collector.url();
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "true"), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let mut place = Place::start_with(&[destination("a", &receiver.url(), json!({}))], &env).await;
    assert_eq!(place.client().send(event("1", &[])).await.unwrap().status, 202);
    place.settled("a").await;
    assert!(place.standalone.terminate().await.success());
    assert_eq!((collector.count(), receiver.log()[0].header("traceparent")), (0, None));
}
