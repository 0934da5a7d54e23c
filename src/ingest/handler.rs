//! A request, from its head to its answer.

use super::Ingest;
use super::access::Caller;
use super::body::{self, Held};
use super::pace::Pace;
use super::problem::Problem;
use crate::admin::IngestResult;
use crate::bus::append::Receipt;
use crate::event::http::{Format, Received, decode, format};
use crate::event::{self, Event, Limits};
use crate::settings::{BusSettings, DEFAULT_BUS};
use crate::telemetry::Throttle;
use crate::traces::Span;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Most bytes of a batch, unless a single event may be larger: what one append to Redis may carry.
const BATCH_BYTES: u64 = 4 << 20;

/// Events that were stored, and how the request carried them.
struct Stored {
    events: Arc<[Event]>,
    receipts: Vec<Receipt>,
    batch: bool,
}

#[derive(Serialize)]
struct Accepted<'a> {
    id: &'a str,
    sequence: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// Answers a request, whatever happens.
pub(super) async fn handle(ingest: Arc<Ingest>, pace: Arc<Pace>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let started = Instant::now();
    let http2 = request.version() == Version::HTTP_2;
    let _busy = pace.begin(http2);
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let response = match publish(&ingest, &parts, &mut body).await {
        Ok(stored) => {
            count(&ingest, &stored);
            accepted(&stored)
        }
        Err(problem) => {
            tracing::debug!(result = ?problem.result(), "refused");
            ingest.metrics.ingest.count(problem.result(), 1);
            // what is left of the body cannot be told from the next request
            let unread = body.is_some_and(|body| !body.is_end_stream()) || problem.leaves_body();
            if unread && !http2 {
                pace.linger();
            }
            problem.response(unread && !http2)
        }
    };
    ingest.metrics.ingest.duration.observe(started.elapsed().as_secs_f64());
    response
}

async fn publish(ingest: &Arc<Ingest>, parts: &Parts, body: &mut Option<Incoming>) -> Result<Stored, Problem> {
    let started = SystemTime::now();
    check_framing(parts)?;
    let name = route(parts)?;
    let (name, bus) = ingest.settings.buses.get_key_value(name).ok_or(Problem::NoSuchBus)?;
    let caller = ingest.access.admit(name, &parts.headers, SystemTime::now())?;
    let limit = body_limit(format(&parts.headers)?, bus);
    check_length(body.as_ref(), limit)?;
    check_room(ingest, name, bus)?;
    let mut held = Held::default();
    ingest.memory.take(&mut held, head_bytes(parts))?;
    let body = body.take().expect("nobody has taken the body before");
    let body = body::read(body, limit, body_pace(ingest), &ingest.memory, &mut held).await?;
    let (mut events, batch) = read_events(ingest, name, bus, caller, parts, body)?;
    let span = trace(name, parts, &mut events, started);
    let stored = store(ingest, name, bus, (events.into(), batch), held).await;
    match &stored {
        Ok(_) => span.end(Some(StatusCode::ACCEPTED.as_u16()), None),
        Err(problem) => {
            let (status, kind, _) = problem.kind();
            span.end(Some(status.as_u16()), Some(kind));
        }
    }
    stored
}

/// Events without a context of their own were made in that of their request; if that has none either, and traces are exported, in ours.
fn trace(bus: &str, parts: &Parts, events: &mut [Event], started: SystemTime) -> Span {
    let request = event::trace::of_request(&parts.headers);
    let span = Span::publish(bus, events, request.as_ref(), started);
    let ours = || Some((span.trace_parent()?, None));
    if let Some((parent, state)) = request.or_else(ours) {
        events.iter_mut().for_each(|event| event.adopt_trace(parent, state.as_deref()));
    }
    span
}

fn read_events(
    ingest: &Ingest,
    name: &str,
    bus: &BusSettings,
    caller: Caller,
    parts: &Parts,
    body: Bytes,
) -> Result<(Vec<Event>, bool), Problem> {
    let producer = ingest.access.identify(name, caller, &body)?;
    let limits = Limits { max_event_bytes: bus.max_event_bytes, ..Limits::default() };
    let (events, batch) = match decode(&parts.headers, body, &limits)? {
        Received::One(event) => (vec![event], false),
        Received::Batch(events) => (events, true),
    };
    if let Some(producer) = producer {
        producer.check(&events, batch, Instant::now())?;
    }
    Ok((events, batch))
}

/// RFC 9112 sections 3.2 and 6.3: what two servers in a row could read differently.
fn check_framing(parts: &Parts) -> Result<(), Problem> {
    if parts.version == Version::HTTP_11 && parts.headers.get_all(header::HOST).iter().count() != 1 {
        return Err(Problem::Request("a request of HTTP/1.1 has exactly one Host"));
    }
    if parts.headers.contains_key(header::TRANSFER_ENCODING) && parts.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Problem::Request("a request has either Content-Length or Transfer-Encoding"));
    }
    Ok(())
}

/// The bus that a request names.
fn route(parts: &Parts) -> Result<&str, Problem> {
    let bus = match parts.uri.path() {
        "/" => DEFAULT_BUS,
        path => path
            .strip_prefix("/v1/buses/")
            .and_then(|rest| rest.strip_suffix("/events"))
            .filter(|bus| !bus.is_empty() && !bus.contains('/'))
            .ok_or(Problem::NoSuchPath)?,
    };
    if parts.method == Method::POST { Ok(bus) } else { Err(Problem::Method) }
}

fn body_limit(format: Format, bus: &BusSettings) -> u64 {
    match format {
        Format::Batch => bus.max_event_bytes.max(BATCH_BYTES),
        Format::Binary | Format::Structured => bus.max_event_bytes,
    }
}

fn check_length(body: Option<&Incoming>, limit: u64) -> Result<(), Problem> {
    match body.map_or(0, |body| body.size_hint().lower()) > limit {
        true => Err(Problem::BodyTooLarge(limit)),
        false => Ok(()),
    }
}

/// Above the watermark nothing is accepted, so that there is always room to route what was.
fn check_room(ingest: &Ingest, name: &str, bus: &BusSettings) -> Result<(), Problem> {
    static FULL: Throttle = Throttle::new(Duration::from_secs(10));
    let Some(memory) = ingest.appenders.of(name).memory().filter(|memory| memory.is_above(bus.watermark)) else {
        return Ok(());
    };
    if let Some(suppressed) = FULL.pass() {
        let (used_bytes, max_bytes, watermark) = (memory.used, memory.max, bus.watermark);
        tracing::warn!(used_bytes, max_bytes, watermark, suppressed, "redis is above the watermark: events are refused");
    }
    Err(Problem::StorageFull)
}

fn head_bytes(parts: &Parts) -> usize {
    parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn body_pace(ingest: &Ingest) -> body::Pace {
    let config = &ingest.config;
    body::Pace { total: config.body_timeout, grace: config.body_grace, min_rate: config.min_body_rate }
}

/// Appends in a task of its own: a client that goes away changes nothing, and neither does the deadline.
async fn store(ingest: &Arc<Ingest>, name: &str, bus: &BusSettings, read: (Arc<[Event]>, bool), held: Held) -> Result<Stored, Problem> {
    let (events, batch) = read;
    let append = {
        let (appender, events, name) = (ingest.appenders.of(name).clone(), Arc::clone(&events), name.to_owned());
        let (window, replicas) = (bus.dedupe_window, bus.durability.replicas);
        async move {
            let stored = appender.append(&name, &events, window, replicas).await;
            drop(held);
            stored
        }
    };
    let appended = tokio::time::timeout(ingest.config.request_timeout, ingest.tasks.spawn(append)).await;
    match appended {
        Ok(Ok(Ok(receipts))) => Ok(Stored { events, receipts, batch }),
        Ok(Ok(Err(error))) => {
            warn(&error);
            Err(Problem::from(&error))
        }
        Ok(Err(panicked)) => {
            warn(&panicked);
            Err(Problem::OutcomeUnknown)
        }
        Err(elapsed) => {
            warn(&elapsed);
            Err(Problem::OutcomeUnknown)
        }
    }
}

fn warn(error: &(dyn std::error::Error + 'static)) {
    static FAILING: Throttle = Throttle::new(Duration::from_secs(5));
    if let Some(suppressed) = FAILING.pass() {
        tracing::warn!(error, suppressed, "events could not be stored");
    }
}

fn count(ingest: &Ingest, stored: &Stored) {
    let duplicates = stored.receipts.iter().filter(|receipt| receipt.duplicate).count() as u64;
    ingest.metrics.ingest.count(IngestResult::Duplicate, duplicates);
    ingest.metrics.ingest.count(IngestResult::Accepted, stored.receipts.len() as u64 - duplicates);
}

/// 202 with `{id, sequence}`, or a list of them for a batch.
fn accepted(stored: &Stored) -> Response<Full<Bytes>> {
    let each = stored.events.iter().zip(&stored.receipts).map(|(event, receipt)| Accepted {
        id: event.attributes.id(),
        sequence: receipt.sequence.padded(),
        duplicate: receipt.duplicate,
    });
    let each: Vec<_> = each.collect();
    let body = if stored.batch { serde_json::to_vec(&each) } else { serde_json::to_vec(&each[0]) };
    let mut response = Response::new(Full::new(Bytes::from(body.expect("strings are always JSON"))));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
