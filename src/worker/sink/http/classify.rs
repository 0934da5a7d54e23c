//! From an answer or an error to an outcome.

use super::connection::Lost;
use crate::worker::attempt::{Class, Directive, Failure, Outcome, classify};
use http::{HeaderMap, StatusCode, header};
use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

/// By this a receiver steers, on an answer that is not 2xx.
const DIRECTIVE: &str = "posthorn-directive";

/// What an answer means: nothing but its status line, `Retry-After` and `posthorn-directive` is looked at.
pub(super) fn answer(status: StatusCode, headers: &HeaderMap) -> Outcome {
    let code = status.as_u16();
    if status.is_success() {
        return Outcome::Delivered { code };
    }
    let directive = directive(headers);
    let class = directive.map_or_else(|| classify(code), Directive::class);
    // our own words for the code, not the receiver's
    let reason = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
    let hint = match class {
        Class::RedirectRefused => "; redirects are never followed, so give the destination the final address",
        Class::InvalidResponse => ", which is no final status code",
        Class::BuriedByReceiver => " and posthorn-directive: bury",
        Class::HaltedByReceiver => " and posthorn-directive: halt",
        _ => "",
    };
    let failure = Failure::new(class, format_args!("answered {code}{reason}{hint}")).with_code(code);
    Outcome::Failed(Failure { retry_after: retry_after(headers, SystemTime::now()), ..failure })
}

fn directive(headers: &HeaderMap) -> Option<Directive> {
    headers.get_all(DIRECTIVE).iter().find_map(|value| Directive::parse(value.to_str().ok()?))
}

/// Why a request got no answer.
pub(super) fn lost(lost: &Lost) -> Failure {
    let error = &lost.error;
    if let Some(tls) = tls_error(error) {
        return Failure::new(Class::TlsFailed, format_args!("TLS: {tls}"));
    }
    if let Some(failure) = super::http2::error_of(error).and_then(lost_http2) {
        return failure;
    }
    if error.is_parse_too_large() {
        return Failure::new(Class::InvalidResponse, "the head of the answer is larger than 16 KiB or has more than 100 headers");
    }
    if error.is_parse() {
        return Failure::new(Class::InvalidResponse, format_args!("the answer is not HTTP/1.1: {error}"));
    }
    if error.is_user() {
        return Failure::new(Class::Internal, format_args!("the request could not be sent: {error}"));
    }
    let when = if lost.unanswered { "before any answer" } else { "in the middle of its answer" };
    Failure::new(Class::ConnectionReset, format_args!("the receiver closed the connection {when}"))
}

/// What HTTP/2 says more than that the connection ended.
fn lost_http2(error: &h2::Error) -> Option<Failure> {
    if error.is_io() || error.is_go_away() && error.is_remote() {
        return None;
    }
    match error.reason() {
        Some(reason) if error.is_remote() => {
            Some(Failure::new(Class::ConnectionReset, format_args!("the receiver reset the request before any answer: {reason}")))
        }
        _ => Some(Failure::new(Class::InvalidResponse, format_args!("the answer is not HTTP/2 as it should be: {error}"))),
    }
}

/// TLS may fail after the handshake, for example when a receiver misses a client certificate. Of a connection nothing else is invalid data.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>().filter(|found| found.kind() == io::ErrorKind::InvalidData) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3); `None` if there is none, it is unreadable or past.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    httpdate::parse_http_date(value).ok()?.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asked(value: &str) -> Option<Duration> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(value).expect("a value"))]), now)
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let table = [
            ("120", seconds(120)),
            (" 0 ", seconds(0)),
            ("99999999999999999999999", seconds(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(60)),
            ("Sun Nov  6 08:49:37 1994", seconds(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ];
        for (value, expected) in table {
            assert_eq!(asked(value), expected, "{value}");
        }
    }

    #[test]
    fn every_2xx_is_a_delivery_and_nothing_else_is() {
        for code in 100..1000 {
            let status = StatusCode::from_u16(code).expect("a code");
            let delivered = matches!(answer(status, &HeaderMap::new()), Outcome::Delivered { .. });
            assert_eq!(delivered, (200..300).contains(&code), "{code}");
        }
    }
}
