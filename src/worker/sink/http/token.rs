//! Access tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4), one for all sinks of a destination.

use super::config::{ConfigError, Receiver};
use super::connect::Connector;
use super::connection::MAX_ANSWER;
use super::request::sensitive;
use crate::plan::{self, OAuth2};
use crate::worker::attempt::{Class, Failure};
use crate::worker::sink::SinkContext;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use url::form_urlencoded;

/// Longest time for a token; the half of an attempt's limit, if that is less.
const LONGEST: Duration = Duration::from_secs(10);

/// How long a token lasts where the endpoint says nothing.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);

/// Longest time that a token is used, whatever the endpoint says.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token is asked for anew so long before it ends, or in the last fifth of its life if that is shorter.
const AHEAD: Duration = Duration::from_secs(60);

/// Pause after an early refresh that failed, while the old token lasts.
const PAUSE: Duration = Duration::from_secs(10);

/// The tokens of one destination. Whoever needs one while it is asked for waits for it.
pub(super) struct Tokens {
    connector: Connector,
    /// Host and port, for messages.
    shown: String,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
    limit: Duration,
    held: Mutex<Option<Token>>,
}

struct Token {
    /// The value of `Authorization`.
    header: HeaderValue,
    /// From then on a new one is asked for.
    refresh: Instant,
    ends: Instant,
}

/// A successful answer (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: Option<String>,
    /// Seconds; some servers write a string.
    expires_in: Option<serde_json::Value>,
}

/// An error (RFC 6749, section 5.2). Its description is not read: it may repeat what was sent.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Tokens {
    /// `limit` is that of a whole attempt.
    pub(super) fn new(oauth2: &OAuth2, plan: &plan::HttpSink, limit: Duration, context: &SinkContext) -> Result<Tokens, ConfigError> {
        let OAuth2 { token_uri, client_id, client_secret, scopes, audience } = oauth2;
        let endpoint = Receiver::parse(token_uri).map_err(|_| ConfigError::TokenUri)?;
        if !endpoint.https {
            return Err(ConfigError::TokenUri);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, endpoint.authority.clone());
        headers.insert(header::AUTHORIZATION, basic(client_id, client_secret.expose()).ok_or(ConfigError::Auth)?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, super::request::USER_AGENT);
        Ok(Tokens {
            connector: Connector::to_token_endpoint(&endpoint, plan, context)?,
            shown: format!("{}, port {}", endpoint.host, endpoint.port),
            target: endpoint.target,
            headers,
            body: form(scopes, audience.as_deref()).into(),
            limit: LONGEST.min(limit / 2),
            held: Mutex::new(None),
        })
    }

    /// The value of `Authorization`: another one than `refused`, which the receiver answered with 401.
    pub(super) async fn authorization(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, Failure> {
        let mut held = self.held.lock().await;
        let usable = held.as_ref().filter(|token| Some(&token.header) != refused && Instant::now() < token.ends);
        if let Some(token) = usable.filter(|token| Instant::now() < token.refresh) {
            return Ok(token.header.clone());
        }
        let usable = usable.is_some();
        match self.ask().await {
            Ok(token) => Ok(held.insert(token).header.clone()),
            Err(failure) => match held.as_mut().filter(|_| usable) {
                Some(token) => {
                    token.refresh = Instant::now() + PAUSE;
                    Ok(token.header.clone())
                }
                None => Err(failure),
            },
        }
    }

    async fn ask(&self) -> Result<Token, Failure> {
        let asked = Instant::now();
        let (status, body) = match timeout(self.limit, self.exchange()).await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.unavailable(format_args!("no answer within {:?}", self.limit))),
        };
        if status != StatusCode::OK {
            return Err(self.refused(status, &body));
        }
        self.granted(&body, asked).map_err(|what| self.failure(Class::TokenRefused, what))
    }

    async fn exchange(&self) -> Result<(StatusCode, Bytes), Failure> {
        let mut connection = self.connector.connect_http1().await.map_err(|failure| match failure.class {
            Class::AddressDenied => self.failure(Class::AddressDenied, failure.message),
            _ => self.unavailable(failure.message),
        })?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        let answer = connection.exchange(request).await.map_err(|lost| self.unavailable(super::classify::lost(&lost).message))?;
        let status = answer.status();
        match connection.read(answer).await {
            Some(body) => Ok((status, body)),
            None => Err(self.unavailable(format_args!("its answer {status} ended early or has more than {MAX_ANSWER} bytes"))),
        }
    }

    /// What an answer other than 200 means.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let code = status.as_u16();
        if !status.is_client_error() || matches!(code, 408 | 425 | 429) {
            return self.unavailable(format_args!("answered {code}"));
        }
        match serde_json::from_slice::<Refused>(body).ok().filter(|refused| is_code(&refused.error)) {
            Some(Refused { error }) => self.failure(Class::TokenRefused, format_args!("answered {code} {error}")),
            None => self.failure(Class::TokenRefused, format_args!("answered {code}")),
        }
    }

    fn granted(&self, body: &[u8], asked: Instant) -> Result<Token, &'static str> {
        let granted: Granted = serde_json::from_slice(body).map_err(|_| "its answer is no JSON object with an access_token")?;
        if granted.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err("its token is of another type than Bearer");
        }
        let usable = !granted.access_token.is_empty() && granted.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        let header = sensitive(&format!("Bearer {}", granted.access_token)).filter(|_| usable);
        let header = header.ok_or("its token has characters that cannot be sent")?;
        let life = granted.expires_in.as_ref().and_then(seconds).unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
        Ok(Token { header, refresh: asked + life - AHEAD.min(life / 5), ends: asked + life })
    }

    fn unavailable(&self, why: impl fmt::Display) -> Failure {
        self.failure(Class::TokenUnavailable, why)
    }

    fn failure(&self, class: Class, why: impl fmt::Display) -> Failure {
        Failure::new(class, format_args!("no token from the token endpoint {}: {why}", self.shown))
    }
}

/// Client identifier and secret, each form-encoded, by HTTP Basic (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    sensitive(&format!("Basic {pair}"))
}

fn form(scopes: &[String], audience: Option<&str>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !scopes.is_empty() {
        form.append_pair("scope", &scopes.join(" "));
    }
    if let Some(audience) = audience {
        form.append_pair("audience", audience);
    }
    form.finish()
}

/// Whether a text looks like an error code, so that it may be shown: nothing that was sent does.
fn is_code(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    // some write a number with a fraction
    let seconds = seconds.or_else(|| value.as_f64().filter(|seconds| *seconds >= 0.0).map(|seconds| seconds as u64));
    seconds.map(Duration::from_secs)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.shown)
    }
}
