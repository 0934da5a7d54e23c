//! Events through ingest, as any producer sends them.

use super::sender::Failure;
use crate::authorities;
use crate::bus::append::Receipt;
use crate::event::http::binary;
use crate::event::{Event, Mode, Sequence};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer: ingest gives a body 30 s and the storing 5 s, and then says so itself.
const TIMEOUT: Duration = Duration::from_secs(45);
/// Most of an answer that is read, bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Ingest, and what it is told with each event.
pub(super) struct Ingest {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

/// What ingest answers with 202.
#[derive(Deserialize)]
struct Accepted {
    sequence: String,
    #[serde(default)]
    duplicate: bool,
}

/// What it answers otherwise.
#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
}

impl Ingest {
    /// At an address like `http://host:8080`, for events of one bus; the file holds a bearer token.
    pub(super) fn new(address: &str, bus: &str, token: Option<&Path>) -> anyhow::Result<Ingest> {
        let base = address.trim_end_matches('/');
        let uri: Uri = format!("{base}/v1/buses/{bus}/events").parse().with_context(|| format!("--ingest {address}"))?;
        let whole = uri.query().is_none() && uri.path().ends_with(&format!("/v1/buses/{bus}/events"));
        let anonymous = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !(matches!(uri.scheme_str(), Some("http" | "https")) && whole && anonymous) {
            bail!("--ingest {address}: write it like http://127.0.0.1:8080");
        }
        let authorization = token.map(read_token).transpose()?;
        let tls = match authorities::of_system() {
            Ok(roots) => authorities::client(roots),
            Err(error) if uri.scheme_str() == Some("https") => return Err(error.into()),
            Err(_) => authorities::client(RootCertStore::empty()),
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Ingest { client: Client::builder(TokioExecutor::new()).build(connector), uri, authorization })
    }

    /// Sends one event, and waits until it is stored.
    pub(super) async fn post(&self, event: &Event) -> Result<Receipt, Failure> {
        let (mut headers, body) = request(event)?;
        headers.extend(self.authorization.iter().map(|value| (header::AUTHORIZATION, value.clone())));
        let mut post = Request::post(self.uri.clone()).body(Full::new(body)).expect("the URI was parsed");
        post.headers_mut().extend(headers);
        let exchange = async {
            let (head, body) = self.client.request(post).await.map_err(lost)?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| Failure::Unknown(error.to_string()))?;
            understand(head.status, &body.to_bytes())
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Unknown(format!("no answer within {TIMEOUT:?}"))),
        }
    }
}

/// The event as it was given: an envelope stays one.
fn request(event: &Event) -> Result<(HeaderMap, Bytes), Failure> {
    if event.mode != Mode::Binary {
        let json = HeaderValue::from_static("application/cloudevents+json");
        return Ok((HeaderMap::from_iter([(header::CONTENT_TYPE, json)]), event.data.clone()));
    }
    let never = |error: &dyn std::fmt::Display| Failure::Never(error.to_string());
    let (mut headers, body) = binary(event, Sequence::ZERO).map_err(|error| never(&error))?;
    // what is ours on the way to a destination is the producer's here
    for (header, own) in [("ce-sequence", "sequence"), ("ce-producersequence", "producersequence")] {
        headers.remove(header);
        if let Some(value) = event.attributes.get(own) {
            headers.insert(header, HeaderValue::try_from(value).map_err(|error| never(&error))?);
        }
    }
    Ok((headers, body))
}

fn read_token(file: &Path) -> anyhow::Result<HeaderValue> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the token in {}", file.display()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        bail!("{} holds no token", file.display());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).with_context(|| format!("{} holds no token", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Without a connection nothing was sent.
fn lost(error: hyper_util::client::legacy::Error) -> Failure {
    let connecting = error.is_connect();
    let text = format!("{:#}", anyhow::Error::from(error));
    if connecting { Failure::Again(text) } else { Failure::Unknown(text) }
}

fn understand(status: StatusCode, body: &[u8]) -> Result<Receipt, Failure> {
    let strange = || Failure::Never(format!("ingest answered {status}, and nothing that this version understands"));
    if status == StatusCode::ACCEPTED {
        let Accepted { sequence, duplicate } = serde_json::from_slice(body).map_err(|_| strange())?;
        return Ok(Receipt { sequence: sequence.parse().map_err(|_| strange())?, duplicate });
    }
    let Problem { kind, detail } = serde_json::from_slice(body).map_err(|_| match status.is_server_error() {
        true => Failure::Unknown(format!("something before ingest answered {status}")),
        false => strange(),
    })?;
    let said = format!("ingest answered {status}: {detail}");
    Err(match status {
        _ if kind.ends_with("/outcome-unknown") => Failure::Unknown(said),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Failure::Again(said),
        _ if status.is_server_error() => Failure::Unknown(said),
        _ => Failure::Never(said),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Limits, json};

    fn problem(status: u16, word: &str) -> Failure {
        let body = format!("{{\"type\": \"https://posthorn.dev/problems/{word}\", \"detail\": \"why\"}}");
        understand(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let stored = understand(StatusCode::ACCEPTED, br#"{"id":"1","sequence":"0001795519068323-0000000001","duplicate":true}"#).unwrap();
        assert_eq!((stored.sequence.to_string().as_str(), stored.duplicate), ("1795519068323-1", true));
        assert!(matches!(problem(503, "storage-full"), Failure::Again(_)));
        assert!(matches!(problem(429, "rate-limited"), Failure::Again(_)));
        assert!(matches!(problem(503, "outcome-unknown"), Failure::Unknown(_)));
        assert!(matches!(problem(401, "unauthorized"), Failure::Never(said) if said.ends_with("why")));
        assert!(matches!(understand(StatusCode::BAD_GATEWAY, b"<html>"), Err(Failure::Unknown(_))));
        assert!(matches!(understand(StatusCode::OK, b"<html>"), Err(Failure::Never(_))));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for wrong in ["localhost:8080", "ftp://a", "http://a b", "http://a/?b", "http://a/#b", "http://user:word@a"] {
            assert!(Ingest::new(wrong, "default", None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_event_is_sent_as_it_was_given() {
        let envelope = br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","sequence":"7"}"#;
        let event = json::event(&Bytes::from_static(envelope), &Limits::default()).unwrap();
        let (headers, body) = request(&event).unwrap();
        assert_eq!((&headers["content-type"], &body[..]), (&HeaderValue::from_static("application/cloudevents+json"), &envelope[..]));
        let (headers, _) = request(&Event { mode: Mode::Binary, data: Bytes::new(), ..event }).unwrap();
        assert_eq!((&headers["ce-sequence"], headers.get("ce-producersequence")), (&HeaderValue::from_static("7"), None));
    }
}
