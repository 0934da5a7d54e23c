//! Spans for OpenTelemetry, exported by OTLP over HTTP where the standard `OTEL_*` variables ask for it. Costs nothing where they do not.
//!
//! An event's trace is that of its attribute `traceparent`: the span of its publishing and those of its deliveries belong to it.

mod export;
#[cfg(test)]
mod tests;

pub use export::{Error, Exporting, init};

use crate::event::{Event, TraceParent};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, Tracer,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use std::sync::OnceLock;
use std::time::SystemTime;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// A span that is under way, or nothing. Dropping it ends it.
#[must_use = "it ends when it is dropped"]
#[derive(Debug, Default)]
pub struct Span(Option<Box<SdkSpan>>);

/// The context in which a request was made: `traceparent`, and `tracestate` with it.
pub type Remote = (TraceParent, Option<String>);

/// Whose delivery it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its bus.
    pub bus: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Whether spans are exported.
pub fn enabled() -> bool {
    TRACER.get().is_some()
}

impl Span {
    /// Events are stored on a bus, by a request that began at `started`.
    pub fn publish(bus: &str, events: &[Event], request: Option<&Remote>, started: SystemTime) -> Span {
        TRACER.get().map_or_else(Span::default, |tracer| Span::publish_by(tracer, bus, events, request, started))
    }

    /// Attempt number `attempt` to deliver events in one request.
    pub fn deliver<'a>(destination: &Destination, events: impl Iterator<Item = &'a Event>, attempt: u32) -> Span {
        TRACER.get().map_or_else(Span::default, |tracer| Span::deliver_by(tracer, destination, &events.collect::<Vec<_>>(), attempt))
    }

    fn publish_by(tracer: &SdkTracer, bus: &str, events: &[Event], request: Option<&Remote>, started: SystemTime) -> Span {
        let events: Vec<&Event> = events.iter().collect();
        let own = match events[..] {
            [event] => of_event(event),
            _ => None,
        };
        let parent = request.map(|(parent, state)| context(*parent, state.as_deref())).or(own);
        let mut attributes = about(bus, &events);
        attributes.extend([KeyValue::new("messaging.operation.name", "publish"), KeyValue::new("messaging.operation.type", "send")]);
        let builder = SpanBuilder::from_name(format!("publish {bus}"))
            .with_kind(SpanKind::Producer)
            .with_start_time(started)
            .with_attributes(attributes);
        Span::start(tracer, builder, parent)
    }

    fn deliver_by(tracer: &SdkTracer, destination: &Destination, events: &[&Event], attempt: u32) -> Span {
        let Destination { bus, namespace, name } = destination;
        let mut attributes = about(bus, events);
        attributes.extend([
            KeyValue::new("messaging.operation.name", "deliver"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.consumer.group.name", format!("{namespace}/{name}")),
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("posthorn.attempt", i64::from(attempt)),
        ]);
        let builder = SpanBuilder::from_name(format!("deliver {name}")).with_kind(SpanKind::Client).with_attributes(attributes);
        // one event continues its trace; several have a new one, which names theirs
        match events {
            [event] => Span::start(tracer, builder, of_event(event)),
            _ => {
                let links = events.iter().filter_map(|event| of_event(event)).map(Link::with_context);
                Span::start(tracer, builder.with_links(links.collect()), None)
            }
        }
    }

    fn start(tracer: &SdkTracer, builder: SpanBuilder, parent: Option<SpanContext>) -> Span {
        let context = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        Span(Some(Box::new(tracer.build_with_context(builder, &context))))
    }

    /// Its place in the trace, for whoever is called within it.
    pub fn trace_parent(&self) -> Option<TraceParent> {
        let context = self.0.as_ref()?.span_context();
        Some(TraceParent {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            parent_id: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        })
    }

    /// Ends it with the status code of the answer, if there was one, and the class of the failure, if it was one.
    pub fn end(self, code: Option<u16>, failure: Option<&'static str>) {
        let Some(mut span) = self.0 else { return };
        if let Some(code) = code {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(code)));
        }
        if let Some(class) = failure {
            span.set_attribute(KeyValue::new("error.type", class));
            span.set_status(Status::error(class));
        }
        span.end();
    }
}

/// Attributes of the conventions for messaging and for CloudEvents.
fn about(bus: &str, events: &[&Event]) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("messaging.system", "posthorn"), KeyValue::new("messaging.destination.name", bus.to_owned())];
    let [event] = events else {
        attributes.push(KeyValue::new("messaging.batch.message_count", i64::try_from(events.len()).unwrap_or(i64::MAX)));
        return attributes;
    };
    let text = |name: &'static str, value: &str| KeyValue::new(name, value.to_owned());
    let of = &event.attributes;
    attributes.extend([
        text("messaging.message.id", of.id()),
        text("cloudevents.event_id", of.id()),
        text("cloudevents.event_source", of.source()),
        text("cloudevents.event_type", of.event_type()),
        text("cloudevents.event_spec_version", of.get("specversion").unwrap_or_default()),
    ]);
    attributes.extend(of.subject().map(|subject| text("cloudevents.event_subject", subject)));
    attributes
}

fn of_event(event: &Event) -> Option<SpanContext> {
    Some(context(event.trace_parent()?, event.trace_state()))
}

fn context(TraceParent { trace_id, parent_id, flags }: TraceParent, state: Option<&str>) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(trace_id.to_be_bytes()), SpanId::from_bytes(parent_id.to_be_bytes()));
    let state = state.and_then(|state| state.parse().ok()).unwrap_or_default();
    SpanContext::new(trace, span, TraceFlags::new(flags), true, state)
}
