//! One attempt, with its time limit and the free retry on a stale connection.

use super::classify;
use super::config::{ConfigError, Receiver};
use super::connect::{Connector, Opened};
use super::connection::{Connection, Lost};
use super::http2::Shared;
use super::request::Template;
use super::token::Tokens;
use crate::event::TraceParent;
use crate::event::trace::TRACEPARENT;
use crate::plan::{self, Auth};
use crate::worker::attempt::{Attempt, Class, Failure, Outcome};
use crate::worker::sink::SinkContext;
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Full;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{timeout, timeout_at};

/// What an attempt adds to what the template makes.
struct Extra {
    /// The place of the attempt in a trace.
    span: Option<TraceParent>,
    /// A token that was asked for.
    authorization: Option<HeaderValue>,
}

/// Sends events to one receiver.
pub struct HttpSink {
    template: Arc<Template>,
    connector: Arc<Connector>,
    /// Where the credentials are a token that is asked for.
    tokens: Option<Arc<Tokens>>,
    /// From connecting to the status line.
    pub(super) timeout: Duration,
    idle_timeout: Duration,
    /// The connection of the last request, if it is of HTTP/1.1 and may be used again.
    kept: Option<Connection>,
    /// The connection of all sinks of this destination, if it is of HTTP/2.
    shared: Arc<Shared>,
}

impl HttpSink {
    /// Prepares everything that is the same for each event. Opens no connection.
    pub fn new(plan: &plan::HttpSink, timeout: Duration, context: &SinkContext) -> Result<HttpSink, ConfigError> {
        let receiver = Receiver::parse(plan.uri.expose())?;
        Ok(HttpSink {
            template: Arc::new(Template::new(&receiver, plan)?),
            connector: Arc::new(Connector::to_receiver(&receiver, plan, context)?),
            tokens: match &plan.auth {
                Some(Auth::OAuth2(oauth2)) => Some(Arc::new(Tokens::new(oauth2, plan, timeout, context)?)),
                Some(Auth::Basic { .. } | Auth::Bearer(_)) | None => None,
            },
            timeout,
            idle_timeout: context.idle_timeout,
            kept: None,
            shared: Arc::default(),
        })
    }

    /// Another one for the same receiver, with a connection of its own unless it speaks HTTP/2.
    pub fn another(&self) -> HttpSink {
        HttpSink {
            template: Arc::clone(&self.template),
            connector: Arc::clone(&self.connector),
            tokens: self.tokens.clone(),
            kept: None,
            shared: Arc::clone(&self.shared),
            ..*self
        }
    }

    /// Sends events; see [`Sink::send`](crate::worker::sink::Sink::send). `span` is the place of this attempt in a trace, if there is one.
    pub async fn send(&mut self, attempts: &[Attempt<'_>], span: Option<TraceParent>) -> Outcome {
        let limit = self.timeout;
        match timeout(limit, self.attempt(attempts, span)).await {
            Ok(outcome) => outcome.unwrap_or_else(Outcome::Failed),
            Err(_) => Outcome::Failed(Failure::new(Class::Timeout, format_args!("no complete answer within {limit:?}"))),
        }
    }

    /// Looks after the connection; see [`Sink::idle`](crate::worker::sink::Sink::idle).
    pub async fn idle(&mut self) {
        if let Some(connection) = &mut self.kept {
            let until = connection.idle_until(self.idle_timeout);
            let _ended_or_too_long = timeout_at(until, connection.closed()).await;
            self.kept = None;
        }
        self.shared.idle(self.idle_timeout).await;
    }

    /// One attempt. A token that the receiver answers with 401 is replaced once, and the request repeated.
    async fn attempt(&mut self, attempts: &[Attempt<'_>], span: Option<TraceParent>) -> Result<Outcome, Failure> {
        let mut extra = Extra { span, authorization: None };
        let Some(tokens) = self.tokens.clone() else { return self.request(attempts, &extra).await };
        extra.authorization = Some(tokens.authorization(None).await?);
        match self.request(attempts, &extra).await? {
            Outcome::Failed(Failure { class: Class::AuthRejected, code: Some(401), .. }) => {
                extra.authorization = Some(tokens.authorization(extra.authorization.as_ref()).await?);
                self.request(attempts, &extra).await
            }
            outcome => Ok(outcome),
        }
    }

    /// A connection of HTTP/1.1 is taken out of `self` meanwhile, so it is closed if the future is dropped.
    async fn request(&mut self, attempts: &[Attempt<'_>], extra: &Extra) -> Result<Outcome, Failure> {
        let request = self.build(attempts, extra)?;
        // sent once more where nothing was answered, so nothing is counted: the receiver closed a kept connection while we wrote …
        let request = match self.reusable().await {
            None => request,
            Some(connection) => match self.exchange(connection, request).await {
                Err(lost) if lost.unanswered => return self.last(attempts, extra).await,
                outcome => return outcome.map_err(|lost| classify::lost(&lost)),
            },
        };
        let connection = self.connector.connect().await?;
        match self.exchange(connection, request).await {
            // … or says that it has not looked at it
            Err(lost) if lost.unprocessed => self.last(attempts, extra).await,
            outcome => outcome.map_err(|lost| classify::lost(&lost)),
        }
    }

    /// On a new connection, whatever comes of it.
    async fn last(&mut self, attempts: &[Attempt<'_>], extra: &Extra) -> Result<Outcome, Failure> {
        let request = self.build(attempts, extra)?;
        let connection = self.connector.connect().await?;
        self.exchange(connection, request).await.map_err(|lost| classify::lost(&lost))
    }

    fn build(&self, attempts: &[Attempt<'_>], extra: &Extra) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = self.template.request(attempts)?;
        let headers = request.headers_mut();
        if let Some(value) = &extra.authorization {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        if let Some(value) = extra.span.and_then(|span| HeaderValue::from_str(&span.to_string()).ok()) {
            headers.insert(TRACEPARENT, value);
        }
        Ok(request)
    }

    async fn reusable(&mut self) -> Option<Opened> {
        if let Some(connection) = self.shared.usable(self.idle_timeout) {
            return Some(Opened::Http2(connection));
        }
        let mut connection = self.kept.take()?;
        connection.reusable(self.idle_timeout).await.then_some(Opened::Http1(connection))
    }

    async fn exchange(&mut self, connection: Opened, request: Request<Full<Bytes>>) -> Result<Outcome, Lost> {
        match connection {
            Opened::Http1(mut connection) => {
                let answer = connection.exchange(request).await?;
                let outcome = classify::answer(answer.status(), answer.headers());
                if connection.keep(answer) {
                    self.kept = Some(connection);
                }
                Ok(outcome)
            }
            Opened::Http2(connection) => {
                self.shared.keep(&connection, self.idle_timeout);
                let answer = connection.exchange(request).await?;
                Ok(classify::answer(answer.status(), answer.headers()))
            }
        }
    }
}

impl fmt::Debug for HttpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink").field("connector", &self.connector).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
