//! From an attempt to a request.

use super::config::{ConfigError, Receiver};
use super::sign::Keys;
use crate::event::{self, Identity};
use crate::plan::{self, Auth, Format, Secret};
use crate::worker::attempt::{Attempt, Class, Failure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use std::time::SystemTime;

/// What we are called in each request.
pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("posthorn/", env!("CARGO_PKG_VERSION")));
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const ATTEMPT: HeaderName = HeaderName::from_static("posthorn-attempt");
const REDRIVEN: HeaderName = HeaderName::from_static("posthorn-redriven");

/// Everything about a request that is the same for each event.
#[derive(Debug)]
pub(super) struct Template {
    target: Uri,
    format: Format,
    headers: Vec<(HeaderName, HeaderValue)>,
    keys: Keys,
}

impl Template {
    pub(super) fn new(receiver: &Receiver, plan: &plan::HttpSink) -> Result<Template, ConfigError> {
        let mut headers = vec![(header::HOST, receiver.authority.clone())];
        for (name, value) in &plan.headers {
            headers.push(custom_header(name, value)?);
        }
        if let Some(auth) = &plan.auth {
            headers.extend(authorization(auth)?.map(|value| (header::AUTHORIZATION, value)));
        }
        if !headers.iter().any(|(name, _)| name == header::USER_AGENT) {
            headers.push((header::USER_AGENT, USER_AGENT));
        }
        let keys = Keys::parse(&plan.signing).map_err(|(number, error)| ConfigError::Signing { number, error })?;
        Ok(Template { target: receiver.target.clone(), format: plan.format, headers, keys })
    }

    /// The request for an attempt made now; signed anew each time. Of one event, unless the format is a batch.
    pub(super) fn request(&self, attempts: &[Attempt<'_>]) -> Result<Request<Full<Bytes>>, Failure> {
        let first = attempts.first().ok_or_else(|| Failure::new(Class::Internal, "an attempt without an event"))?;
        let (mut headers, body) = self.content(attempts, first)?;
        headers.reserve(self.headers.len() + 6);
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(ATTEMPT, HeaderValue::from(attempts.iter().map(|attempt| attempt.number).max().unwrap_or(1)));
        if attempts.iter().any(|attempt| attempt.redriven) {
            headers.insert(REDRIVEN, HeaderValue::from_static("true"));
        }
        if let [attempt] = attempts {
            trace(attempt, &mut headers);
        }
        let identities = attempts.iter().map(|attempt| attempt.event.attributes.identity());
        let id = if self.format == Format::Batch {
            Identity::webhook_id_of_all(identities)
        } else {
            first.event.attributes.identity().webhook_id()
        };
        self.identify(&id, &mut headers, &body)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn content(&self, attempts: &[Attempt<'_>], first: &Attempt<'_>) -> Result<(HeaderMap, Bytes), Failure> {
        let typed = |media_type, body| (HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))]), body);
        let content = match self.format {
            Format::Binary => event::http::binary(first.event, first.sequence),
            Format::Structured => {
                event::json::structured(first.event, first.sequence).map(|body| typed("application/cloudevents+json", body))
            }
            Format::Batch => event::json::batched(attempts.iter().map(|attempt| (attempt.event, attempt.sequence)))
                .map(|body| typed("application/cloudevents-batch+json", body)),
        };
        content.map_err(undecodable)
    }

    /// Standard Webhooks headers.
    fn identify(&self, id: &str, headers: &mut HeaderMap, body: &[u8]) -> Result<(), Failure> {
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        headers.insert(WEBHOOK_ID, HeaderValue::from_str(id).map_err(undecodable)?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(timestamp));
        if !self.keys.is_empty() {
            let signature = self.keys.sign(id, timestamp, body);
            headers.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&signature).map_err(undecodable)?);
        }
        Ok(())
    }
}

/// The trace that the event belongs to, for receivers that know nothing of CloudEvents.
fn trace(attempt: &Attempt<'_>, headers: &mut HeaderMap) {
    if let Some((parent, state)) = event::trace::headers(attempt.event) {
        headers.insert(event::trace::TRACEPARENT, parent);
        headers.remove(event::trace::TRACESTATE);
        headers.extend(state.map(|state| (HeaderName::from_static(event::trace::TRACESTATE), state)));
    }
}

fn undecodable(error: impl std::fmt::Display) -> Failure {
    Failure::new(Class::Undecodable, error)
}

fn custom_header(name: &str, value: &Secret) -> Result<(HeaderName, HeaderValue), ConfigError> {
    let wrong = || ConfigError::Header(name.to_owned());
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    if event::http::is_reserved(parsed.as_str()) {
        return Err(ConfigError::ReservedHeader(name.to_owned()));
    }
    Ok((parsed, sensitive(line(value)).ok_or_else(wrong)?))
}

/// The header, where it is the same for each request.
fn authorization(auth: &Auth) -> Result<Option<HeaderValue>, ConfigError> {
    let value = match auth {
        Auth::Bearer(token) => format!("Bearer {}", line(token)),
        Auth::Basic { username, .. } if line(username).contains(':') => return Err(ConfigError::Auth),
        Auth::Basic { username, password } => {
            format!("Basic {}", STANDARD.encode(format!("{}:{}", line(username), line(password))))
        }
        Auth::OAuth2(_) => return Ok(None),
    };
    sensitive(&value).map(Some).ok_or(ConfigError::Auth)
}

/// A secret without the line break that files tend to end with.
fn line(secret: &Secret) -> &str {
    secret.expose().trim_end_matches(['\r', '\n'])
}

/// A header value that is not printed.
pub(super) fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}
