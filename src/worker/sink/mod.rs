//! One folder for each kind of destination, with the same file names in each: `config`, `request`, `send`, `classify`.

pub mod http;

use self::http::{ConfigError, HttpSink, Resolver, Trust};
use crate::plan;
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

/// Where a lane sends its events. Owns its connection, so it has one request in progress.
#[derive(Debug)]
pub enum Sink {
    /// HTTP POST.
    Http(Box<HttpSink>),
}

impl Sink {
    /// Prepares everything that is the same for each event. Opens no connection.
    pub fn new(plan: &plan::Plan, context: &SinkContext) -> Result<Sink, ConfigError> {
        match &plan.sink {
            plan::Sink::Http(http) => Ok(Sink::Http(Box::new(HttpSink::new(http, plan.delivery.timeout, context)?))),
        }
    }

    /// Another one for the same receiver, for one more request in progress.
    pub fn another(&self) -> Sink {
        match self {
            Sink::Http(http) => Sink::Http(Box::new(http.another())),
        }
    }

    /// Sends events in one request: exactly one, unless the format is a batch. All of them are delivered, or none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the request and closes its connection; the next send opens a new one. The receiver may have got
    /// the event.
    pub async fn send(&mut self, attempts: &[Attempt<'_>]) -> Outcome {
        match self {
            Sink::Http(http) => http.send(attempts).await,
        }
    }

    /// Looks after the connection while there is nothing to send: closes it when the receiver does, or when it was idle too long.
    ///
    /// Never completes; to be dropped when there is something to send. Without it an idle connection is closed by the next send.
    pub async fn idle(&mut self) {
        match self {
            Sink::Http(http) => http.idle().await,
        }
    }
}
