//! One folder for each kind of destination, with the same file names in each: `config`, `request`, `send`, `classify`.

pub mod http;

use self::http::{ConfigError, HttpSink, Resolver, Trust};
use crate::plan;
use crate::traces::{Destination, Span};
use crate::worker::attempt::{Attempt, Outcome};
use crate::worker::guard::Policy;
use std::sync::Arc;
use std::time::Duration;

/// What all sinks of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// Which addresses may be reached.
    pub policy: Arc<Policy>,
    /// How long a connection is kept between requests. Default 4 s, below the common 5 s of servers.
    pub idle_timeout: Duration,
    /// Resolves names.
    pub resolver: Resolver,
    /// Certificate authorities and TLS configurations.
    pub trust: Arc<Trust>,
    /// Whether a destination may accept any certificate (`tls.insecureSkipVerify`). Default false.
    pub allow_insecure_tls: bool,
}

impl SinkContext {
    /// The system's resolver and certificate authorities (which are read when first needed).
    pub fn new(policy: Policy) -> SinkContext {
        SinkContext {
            policy: Arc::new(policy),
            idle_timeout: Duration::from_secs(4),
            resolver: Resolver::system(),
            trust: Arc::new(Trust::default()),
            allow_insecure_tls: false,
        }
    }
}

/// Where a lane sends its events. Has one request in progress.
#[derive(Debug)]
pub struct Sink {
    kind: Kind,
    /// Whose it is, for traces.
    destination: Arc<Destination>,
}

#[derive(Debug)]
enum Kind {
    /// HTTP POST.
    Http(Box<HttpSink>),
}

impl Sink {
    /// Prepares everything that is the same for each event. Opens no connection.
    pub fn new(plan: &plan::Plan, context: &SinkContext) -> Result<Sink, ConfigError> {
        let kind = match &plan.sink {
            plan::Sink::Http(http) => Kind::Http(Box::new(HttpSink::new(http, plan.delivery.timeout, context)?)),
        };
        let (bus, namespace, name) = (plan.bus.clone(), plan.namespace.clone(), plan.name.clone());
        Ok(Sink { kind, destination: Arc::new(Destination { bus, namespace, name }) })
    }

    /// Another one for the same receiver, for one more request in progress.
    pub fn another(&self) -> Sink {
        let kind = match &self.kind {
            Kind::Http(http) => Kind::Http(Box::new(http.another())),
        };
        Sink { kind, destination: Arc::clone(&self.destination) }
    }

    /// Sends events in one request: exactly one, unless the format is a batch. All of them are delivered, or none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the request; the next send opens a new connection where that one is of no further use. The receiver may
    /// have got the event.
    pub async fn send(&mut self, attempts: &[Attempt<'_>]) -> Outcome {
        let number = attempts.iter().map(|attempt| attempt.number).max().unwrap_or(1);
        let span = Span::deliver(&self.destination, attempts.iter().map(|attempt| attempt.event), number);
        let outcome = match &mut self.kind {
            Kind::Http(http) => http.send(attempts, span.trace_parent()).await,
        };
        match &outcome {
            Outcome::Delivered { code } => span.end(Some(*code), None),
            Outcome::Failed(failure) => span.end(failure.code, Some(failure.class.as_str())),
        }
        outcome
    }

    /// Looks after the connection while there is nothing to send: closes it when the receiver does, or when it was idle too long.
    ///
    /// Never completes; to be dropped when there is something to send. Without it an idle connection is closed by the next send.
    pub async fn idle(&mut self) {
        match &mut self.kind {
            Kind::Http(http) => http.idle().await,
        }
    }
}
