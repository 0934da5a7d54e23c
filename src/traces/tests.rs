use super::*;
use crate::event::{Attributes, Mode};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn event(id: &str, trace: &str) -> Event {
    let json = format!(r#"{{"id":"{id}","source":"/s","type":"t","subject":"x"{trace}}}"#);
    let attributes = Attributes::from_json(json.as_bytes()).unwrap();
    Event { mode: Mode::Binary, attributes, content_type: None, data: Default::default() }
}

fn traced(id: &str) -> Event {
    event(id, &format!(r#","traceparent":"{PARENT}","tracestate":"a=1""#))
}

/// The spans that were exported.
fn spans(work: impl FnOnce(&SdkTracer)) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    work(&provider.tracer("test"));
    exporter.get_finished_spans().unwrap()
}

fn attribute(span: &SpanData, name: &str) -> String {
    span.attributes.iter().find(|one| one.key.as_str() == name).map_or_else(String::new, |one| one.value.to_string())
}

fn billing() -> Destination {
    Destination { bus: "orders".into(), namespace: "shop".into(), name: "billing".into() }
}

#[test]
fn a_delivery_belongs_to_the_trace_of_its_event() {
    let event = traced("1");
    let mut told = None;
    let spans = spans(|tracer| {
        let span = Span::deliver_by(tracer, &billing(), &[&event], 3);
        told = span.trace_parent();
        span.end(Some(503), Some("ServerError"));
    });
    let ([span], parent, told) = (&spans[..], TraceParent::parse(PARENT).unwrap(), told.unwrap()) else { panic!("{spans:?}") };
    assert_eq!(span.name, "deliver billing");
    assert_eq!((told.trace_id, told.flags), (parent.trace_id, 1));
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(format!("{:016x}", told.parent_id), span.span_context.span_id().to_string());
    assert_eq!(span.span_context.trace_state().header(), "a=1");
    for (name, value) in [
        ("messaging.destination.name", "orders"),
        ("messaging.consumer.group.name", "shop/billing"),
        ("messaging.message.id", "1"),
        ("cloudevents.event_type", "t"),
        ("cloudevents.event_subject", "x"),
        ("posthorn.attempt", "3"),
        ("http.response.status_code", "503"),
        ("error.type", "ServerError"),
    ] {
        assert_eq!(attribute(span, name), value, "{name}");
    }
}

#[test]
fn a_batch_names_the_traces_of_its_events() {
    let (one, two) = (traced("1"), event("2", ""));
    let spans = spans(|tracer| Span::deliver_by(tracer, &billing(), &[&one, &two], 1).end(Some(200), None));
    assert_eq!(spans[0].links.len(), 1);
    assert_eq!(attribute(&spans[0], "messaging.batch.message_count"), "2");
    assert_ne!(spans[0].span_context.trace_id().to_string(), PARENT[3..35]);
}

#[test]
fn a_publication_belongs_to_the_trace_of_its_request_or_of_its_event() {
    let request = (TraceParent::parse(&PARENT.replace("4bf9", "1111")).unwrap(), None);
    let now = SystemTime::now();
    let spans = spans(|tracer| {
        Span::publish_by(tracer, "orders", &[traced("1")], Some(&request), now).end(Some(202), None);
        Span::publish_by(tracer, "orders", &[traced("1")], None, now).end(Some(202), None);
        Span::publish_by(tracer, "orders", &[event("1", "")], None, now).end(Some(503), Some("storage-full"));
    });
    let traces: Vec<_> = spans.iter().map(|span| span.span_context.trace_id().to_string()[..8].to_owned()).collect();
    assert_eq!(traces[..2], ["11112f35", "4bf92f35"]);
    assert!(spans.iter().all(|span| span.name == "publish orders" && span.start_time == now));
    assert_eq!(spans[2].parent_span_id, SpanId::INVALID);
}

#[test]
fn without_export_there_is_no_span() {
    assert!(!enabled());
    let span = Span::deliver(&billing(), std::iter::once(&traced("1")), 1);
    assert_eq!(span.trace_parent(), None);
    span.end(Some(200), None);
}
