//! The one place where an error becomes a response: `application/problem+json` (RFC 9457).
//!
//! The type of a problem is `https://posthorn.dev/problems/` and the word of the table below; it never changes, details may.
//!
//! | type | status | stored? |
//! | --- | --- | --- |
//! | `invalid-request` | 400 | no |
//! | `invalid-event` | 400 | no; `attribute` and `index` (of a batch) where it is one |
//! | `unauthorized` | 401 | no |
//! | `forbidden` | 403 | no |
//! | `not-found`, `no-such-bus` | 404 | no |
//! | `method-not-allowed` | 405 | no |
//! | `request-timeout` | 408 | no |
//! | `too-large` | 413 | no |
//! | `unsupported-media-type` | 415 | no |
//! | `rate-limited` | 429, `Retry-After` | no |
//! | `overloaded`, `storage-full`, `storage-unavailable` | 503, `Retry-After` | surely not |
//! | `outcome-unknown` | 503, `Retry-After` | unknown: the same event may be sent again, its id makes that safe |

use crate::admin::IngestResult;
use crate::bus::connection;
use crate::event;
use aws_lc_rs::rand;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Problem {
    /// Broken below CloudEvents.
    Request(&'static str),
    /// Not an acceptable event.
    Event(event::Error),
    /// The body is larger than this many bytes.
    BodyTooLarge(u64),
    /// No or wrong credentials.
    Unauthorized(&'static str),
    /// The credentials are right, but not for this.
    Forbidden { detail: String, attribute: Option<&'static str>, index: Option<usize> },
    /// No such path.
    NoSuchPath,
    /// No such bus.
    NoSuchBus,
    /// The path is known, but not by this method.
    Method,
    /// The body came too slowly.
    BodyTimeout,
    /// The producer's rate limit; there is room again after this time.
    RateLimited(Duration),
    /// Bodies under way fill the memory set aside for them.
    Overloaded,
    /// Redis is full, or above the watermark.
    StorageFull,
    /// Redis cannot be written to.
    StorageUnavailable,
    /// It may have been stored.
    OutcomeUnknown,
}

/// Seconds after which a client may come back; spread, so that many do not come back at once.
const RETRY_SECONDS: RangeInclusive<u64> = 1..=10;

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

impl Problem {
    /// Its response. `close`: say that the connection ends with it.
    pub(super) fn response(&self, close: bool) -> Response<Full<Bytes>> {
        let (status, word, title) = self.kind();
        let detail = self.detail();
        let (attribute, index) = self.place();
        let kind = format!("https://posthorn.dev/problems/{word}");
        let document = Document { kind, title, status: status.as_u16(), detail: &detail, attribute, index };
        let body = serde_json::to_vec(&document).expect("strings and numbers are always JSON");
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Problem::Unauthorized(_) => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Problem::Method => drop(headers.insert(header::ALLOW, HeaderValue::from_static("POST"))),
            _ => {}
        }
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What it counts as.
    pub(super) fn result(&self) -> IngestResult {
        match self {
            Problem::Request(_) => IngestResult::Invalid,
            Problem::Event(error) => match error.kind {
                event::Kind::BadRequest => IngestResult::Invalid,
                event::Kind::TooLarge => IngestResult::TooLarge,
                event::Kind::UnsupportedMediaType => IngestResult::UnsupportedMediaType,
            },
            Problem::BodyTooLarge(_) => IngestResult::TooLarge,
            Problem::Unauthorized(_) => IngestResult::Unauthorized,
            Problem::Forbidden { .. } => IngestResult::Forbidden,
            Problem::NoSuchPath | Problem::NoSuchBus | Problem::Method => IngestResult::NotFound,
            Problem::BodyTimeout => IngestResult::Timeout,
            Problem::RateLimited(_) => IngestResult::RateLimited,
            Problem::Overloaded => IngestResult::Overloaded,
            Problem::StorageFull => IngestResult::StorageFull,
            Problem::StorageUnavailable => IngestResult::StorageUnavailable,
            Problem::OutcomeUnknown => IngestResult::OutcomeUnknown,
        }
    }

    /// Whether it was met in the middle of the body.
    pub(super) fn leaves_body(&self) -> bool {
        matches!(self, Problem::BodyTooLarge(_) | Problem::BodyTimeout | Problem::Overloaded | Problem::Request(_))
    }

    /// Status, the last part of its type, and its title.
    pub(super) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Problem::Request(_) => (StatusCode::BAD_REQUEST, "invalid-request", "Invalid request"),
            Problem::Event(error) => match error.kind {
                event::Kind::BadRequest => (StatusCode::BAD_REQUEST, "invalid-event", "Not a valid CloudEvent"),
                event::Kind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
                event::Kind::UnsupportedMediaType => {
                    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
                }
            },
            Problem::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large"),
            Problem::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized", "No valid credentials"),
            Problem::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden", "Not allowed"),
            Problem::NoSuchPath => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Problem::NoSuchBus => (StatusCode::NOT_FOUND, "no-such-bus", "No such bus"),
            Problem::Method => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Problem::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request timed out"),
            Problem::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many events"),
            Problem::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
            Problem::StorageFull => (StatusCode::SERVICE_UNAVAILABLE, "storage-full", "Storage is full"),
            Problem::StorageUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable", "Storage is unavailable"),
            Problem::OutcomeUnknown => (StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", "Outcome unknown"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Problem::Request(detail) | Problem::Unauthorized(detail) => (*detail).to_owned(),
            Problem::Event(error) => error.message.clone(),
            Problem::BodyTooLarge(limit) => format!("the body may have at most {limit} bytes: send less, or a reference to the data"),
            Problem::Forbidden { detail, .. } => detail.clone(),
            Problem::NoSuchPath => "events are taken by POST /v1/buses/{bus}/events, and by POST / for the bus default".to_owned(),
            Problem::NoSuchBus => "this bus is not configured".to_owned(),
            Problem::Method => "events are sent by POST".to_owned(),
            Problem::BodyTimeout => "the body came too slowly".to_owned(),
            Problem::RateLimited(_) => "the producer's rate limit is reached; nothing was stored".to_owned(),
            Problem::Overloaded => "too many requests are under way; nothing was stored".to_owned(),
            Problem::StorageFull => "the storage is full for now; nothing was stored".to_owned(),
            Problem::StorageUnavailable => "the storage cannot be written to for now; nothing was stored".to_owned(),
            Problem::OutcomeUnknown => {
                "the storage did not confirm in time; send the same event again: its id and source keep it from being stored twice"
                    .to_owned()
            }
        }
    }

    fn place(&self) -> (Option<&str>, Option<usize>) {
        match self {
            Problem::Event(error) => (error.attribute.as_deref(), error.index),
            Problem::Forbidden { attribute, index, .. } => (*attribute, *index),
            _ => (None, None),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Problem::RateLimited(wait) => Some((wait.as_secs() + 1).max(among(1..=2))),
            Problem::Overloaded | Problem::StorageFull | Problem::StorageUnavailable | Problem::OutcomeUnknown => {
                Some(among(RETRY_SECONDS))
            }
            _ => None,
        }
    }
}

impl From<event::Error> for Problem {
    fn from(error: event::Error) -> Problem {
        Problem::Event(error)
    }
}

impl From<&connection::Error> for Problem {
    fn from(error: &connection::Error) -> Problem {
        match error {
            connection::Error::Full(_) => Problem::StorageFull,
            connection::Error::Unknown(_) => Problem::OutcomeUnknown,
            _ => Problem::StorageUnavailable,
        }
    }
}

/// A number among these, at random.
fn among(range: RangeInclusive<u64>) -> u64 {
    let mut byte = [0];
    rand::fill(&mut byte).expect("the system gives random bytes");
    range.start() + u64::from(byte[0]) % (range.end() - range.start() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::Value;

    async fn document(response: Response<Full<Bytes>>) -> Value {
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn an_invalid_event_names_attribute_and_index() {
        let error = event::Error {
            kind: event::Kind::BadRequest,
            attribute: Some("id".to_owned()),
            index: Some(2),
            message: "attribute `id` must not be empty".to_owned(),
        };
        let response = Problem::from(error).response(false);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert!(response.headers().get(header::CONNECTION).is_none());
        let expected = serde_json::json!({
            "type": "https://posthorn.dev/problems/invalid-event", "title": "Not a valid CloudEvent", "status": 400,
            "detail": "attribute `id` must not be empty", "attribute": "id", "index": 2,
        });
        assert_eq!(document(response).await, expected);
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        let problems = [Problem::Overloaded, Problem::StorageFull, Problem::StorageUnavailable, Problem::OutcomeUnknown];
        for problem in problems {
            let response = problem.response(false);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let seconds: u64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!(RETRY_SECONDS.contains(&seconds), "{problem:?} {seconds}");
        }
        let response = Problem::RateLimited(Duration::from_millis(2_500)).response(false);
        assert_eq!((response.status(), &response.headers()[header::RETRY_AFTER]), (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(3)));
        assert!(Problem::NoSuchBus.response(false).headers().get(header::RETRY_AFTER).is_none());
    }

    #[test]
    fn what_redis_says_decides_between_surely_not_and_unknown() {
        let why = || "why".to_owned();
        let result = |error: connection::Error| Problem::from(&error).result();
        assert_eq!(result(connection::Error::Full(why())), IngestResult::StorageFull);
        assert_eq!(result(connection::Error::Refused(why())), IngestResult::StorageUnavailable);
        assert_eq!(result(connection::Error::Unavailable(why())), IngestResult::StorageUnavailable);
        assert_eq!(result(connection::Error::Unknown(why())), IngestResult::OutcomeUnknown);
    }

    #[test]
    fn refusals_carry_the_headers_of_their_status() {
        let unauthorized = Problem::Unauthorized("no credentials").response(true);
        assert_eq!(unauthorized.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(unauthorized.headers()[header::CONNECTION], "close");
        assert_eq!(Problem::Method.response(false).headers()[header::ALLOW], "POST");
    }
}
