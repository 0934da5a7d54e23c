//! Against real TCP servers that misbehave.

mod addresses;
mod answers;
mod connections;
mod http2;
mod requests;
mod server;
mod tls;
mod tokens;

use crate::event::{Attributes, Event, Mode, Sequence};
use crate::plan::{self, Format, Secret};
use crate::worker::attempt::{Attempt, Class, Failure, Outcome};
use crate::worker::guard::Policy;
use crate::worker::sink::SinkContext;
use bytes::Bytes;
use std::time::Duration;

use super::HttpSink;

/// Long enough that only a defect reaches it.
const PATIENT: Duration = Duration::from_secs(30);

/// Short, for receivers that never answer.
const IMPATIENT: Duration = Duration::from_millis(300);

fn plan(uri: &str) -> plan::HttpSink {
    plan::HttpSink {
        uri: Secret::new(uri),
        in_cluster: false,
        format: Format::Binary,
        headers: Vec::new(),
        auth: None,
        batch: None,
        ca_bundle: None,
        client_certificate: None,
        insecure_skip_verify: false,
        server_name: None,
        signing: Vec::new(),
        halt_on_status_codes: vec![401, 403, 410],
        retry_after_max: Duration::from_secs(600),
    }
}

fn context() -> SinkContext {
    SinkContext::new(Policy::standalone())
}

fn sink(uri: &str, timeout: Duration) -> HttpSink {
    HttpSink::new(&plan(uri), timeout, &context()).expect("a good plan")
}

fn event() -> Event {
    let attributes = Attributes::from_json(br#"{"id":"1","source":"/orders","type":"order.placed"}"#).expect("attributes");
    Event { mode: Mode::Binary, attributes, content_type: Some("text/plain".to_owned()), data: Bytes::from_static(b"hello") }
}

/// Sends one event as attempt `number`.
async fn send(sink: &mut HttpSink, number: u32) -> Outcome {
    let sequence = Sequence { ms: 5, seq: 0 };
    sink.send(&[Attempt { event: &event(), sequence, number, redriven: false }], None).await
}

#[track_caller]
fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Delivered { code } => panic!("delivered with {code}"),
    }
}

#[track_caller]
fn class(outcome: Outcome) -> Class {
    failed(outcome).class
}

const DELIVERED: Outcome = Outcome::Delivered { code: 200 };
