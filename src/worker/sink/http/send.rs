//! One attempt, with its time limit and the free retry on a stale connection.

use super::classify;
use super::config::{ConfigError, Receiver};
use super::connect::Connector;
use super::connection::Connection;
use super::request::Template;
use super::token::Tokens;
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

/// Sends events to one receiver.
pub struct HttpSink {
    template: Arc<Template>,
    connector: Arc<Connector>,
    /// Where the credentials are a token that is asked for.
    tokens: Option<Arc<Tokens>>,
    /// From connecting to the status line.
    timeout: Duration,
    idle_timeout: Duration,
    /// The connection of the last request, if it may be used again.
    kept: Option<Connection>,
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
        })
    }

    /// Another one for the same receiver, with a connection of its own.
    pub fn another(&self) -> HttpSink {
        HttpSink {
            template: Arc::clone(&self.template),
            connector: Arc::clone(&self.connector),
            tokens: self.tokens.clone(),
            kept: None,
            ..*self
        }
    }

    /// Sends events; see [`Sink::send`](crate::worker::sink::Sink::send).
    pub async fn send(&mut self, attempts: &[Attempt<'_>]) -> Outcome {
        let limit = self.timeout;
        match timeout(limit, self.attempt(attempts)).await {
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
        std::future::pending().await
    }

    /// One attempt. A token that the receiver answers with 401 is replaced once, and the request repeated.
    async fn attempt(&mut self, attempts: &[Attempt<'_>]) -> Result<Outcome, Failure> {
        let Some(tokens) = self.tokens.clone() else { return self.request(attempts, None).await };
        let token = tokens.authorization(None).await?;
        match self.request(attempts, Some(&token)).await? {
            Outcome::Failed(Failure { class: Class::AuthRejected, code: Some(401), .. }) => {
                let token = tokens.authorization(Some(&token)).await?;
                self.request(attempts, Some(&token)).await
            }
            outcome => Ok(outcome),
        }
    }

    /// The connection is taken out of `self` meanwhile, so it is closed if the future is dropped.
    async fn request(&mut self, attempts: &[Attempt<'_>], authorization: Option<&HeaderValue>) -> Result<Outcome, Failure> {
        let request = self.build(attempts, authorization)?;
        let request = match self.reusable().await {
            None => request,
            Some(connection) => match self.exchange(connection, request).await {
                // the receiver closed it while we wrote: nothing was answered, so nothing is counted
                Err(lost) if lost.unanswered => self.build(attempts, authorization)?,
                outcome => return outcome.map_err(|lost| classify::lost(&lost)),
            },
        };
        let connection = self.connector.connect().await?;
        self.exchange(connection, request).await.map_err(|lost| classify::lost(&lost))
    }

    fn build(&self, attempts: &[Attempt<'_>], authorization: Option<&HeaderValue>) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = self.template.request(attempts)?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    async fn reusable(&mut self) -> Option<Connection> {
        let mut connection = self.kept.take()?;
        connection.reusable(self.idle_timeout).await.then_some(connection)
    }

    async fn exchange(&mut self, mut connection: Connection, request: Request<Full<Bytes>>) -> Result<Outcome, super::connection::Lost> {
        let answer = connection.exchange(request).await?;
        let outcome = classify::answer(answer.status(), answer.headers());
        if connection.keep(answer) {
            self.kept = Some(connection);
        }
        Ok(outcome)
    }
}

impl fmt::Debug for HttpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink").field("connector", &self.connector).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
