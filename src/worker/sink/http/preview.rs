//! The request that would be sent, with its secrets masked.

use super::config::{ConfigError, Receiver};
use super::request::Template;
use crate::plan::{self, Auth};
use crate::worker::attempt::{Attempt, Failure};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Collected, Full};

/// What stands for a secret.
const MASK: &str = "…";

/// A request as it would be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its method.
    pub method: Method,
    /// Where it goes.
    pub url: String,
    /// Names and values, in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// Its body, as it is.
    pub body: Bytes,
}

/// What of a sink is no secret.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Path and query of the URL.
    pub url: bool,
    /// Names of headers, in lower case.
    pub headers: Vec<String>,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum NoRequest {
    /// The plan cannot be run.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The event cannot be made into a request.
    #[error("{}", .0.message)]
    Event(Failure),
}

/// The request for an attempt that is made now; every secret but those of `shown` is masked, a signature but for its version. Opens no
/// connection.
///
/// # Errors
/// If the plan cannot be run, or the event not be sent.
pub fn preview(sink: &plan::HttpSink, attempt: Attempt<'_>, shown: &Shown) -> Result<Preview, NoRequest> {
    let receiver = Receiver::parse(sink.uri.expose())?;
    let request = Template::new(&receiver, sink)?.request(&[attempt]).map_err(NoRequest::Event)?;
    let (parts, body) = request.into_parts();
    let mut headers: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), show(name, value, &shown.headers))).collect();
    if let Some(Auth::OAuth2(_)) = sink.auth {
        headers.push((header::AUTHORIZATION.as_str().to_owned(), format!("Bearer {MASK}")));
    }
    let scheme = if receiver.https { "https" } else { "http" };
    let target = if shown.url { parts.uri.to_string() } else { format!("/{MASK}") };
    let url = format!("{scheme}://{}{target}", text(&receiver.authority));
    Ok(Preview { method: parts.method, url, headers, body: whole(body) })
}

fn show(name: &HeaderName, value: &HeaderValue, shown: &[String]) -> String {
    match name.as_str() {
        "webhook-signature" => text(value).split(' ').map(version).collect::<Vec<_>>().join(" "),
        "authorization" => text(value).split_once(' ').map_or_else(|| MASK.to_owned(), |(scheme, _)| format!("{scheme} {MASK}")),
        name if value.is_sensitive() && !shown.iter().any(|shown| shown == name) => MASK.to_owned(),
        _ => text(value),
    }
}

/// A signature without its value: `v1,…`.
fn version(signature: &str) -> String {
    format!("{},{MASK}", signature.split(',').next().unwrap_or_default())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// A body that is whole needs no waiting.
fn whole(body: Full<Bytes>) -> Bytes {
    body.collect().now_or_never().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default()
}
