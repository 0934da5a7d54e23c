//! What each answer means.

use super::server::{OK, Server};
use super::*;

/// What comes of an answer with this first line and these headers.
async fn answered(head: &str) -> Outcome {
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 6\r\n\r\ncanary").into_bytes().leak();
    let server = Server::answering(answer).await;
    send(&mut sink(&server.url("/hooks?token=canary"), PATIENT), 1).await
}

#[tokio::test]
async fn status_codes_become_classes() {
    let table = [
        ("400 Bad", Class::BadRequest),
        ("401 No", Class::AuthRejected),
        ("403 No", Class::AuthRejected),
        ("404 No", Class::NotFound),
        ("408 Late", Class::RequestTimeout),
        ("410 Gone", Class::Gone),
        ("413 Big", Class::PayloadTooLarge),
        ("418 Teapot", Class::ClientError),
        ("422 No", Class::Unprocessable),
        ("429 Slow", Class::TooManyRequests),
        ("500 Oh", Class::ServerError),
        ("599 Oh", Class::ServerError),
        ("700 What", Class::InvalidResponse),
    ];
    for (head, class) in table {
        let failure = failed(answered(head).await);
        assert_eq!((failure.class, failure.code), (class, head[..3].parse().ok()), "{head}");
        assert!(failure.message.starts_with(&format!("answered {}", &head[..3])), "{}", failure.message);
        assert!(!failure.message.contains("canary") && failure.retry_after.is_none(), "{failure:?}");
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let seconds = failed(answered("429 Slow\r\nretry-after: 17").await);
    assert_eq!(seconds.retry_after, Some(Duration::from_secs(17)));
    let date = failed(answered("503 Busy\r\nretry-after: Fri, 31 Dec 9999 23:59:59 GMT").await);
    assert!(date.retry_after.is_some_and(|wait| wait > Duration::from_secs(1_000_000)));
    assert_eq!(failed(answered("503 Busy\r\nretry-after: whenever").await).retry_after, None);
}

#[tokio::test]
async fn redirects_are_never_followed() {
    let elsewhere = Server::answering(OK).await;
    for code in [301, 302, 303, 307, 308] {
        for location in [elsewhere.url("/"), "http://169.254.169.254/".to_owned(), "/other".to_owned()] {
            let failure = failed(answered(&format!("{code} Moved\r\nlocation: {location}")).await);
            assert_eq!((failure.class, failure.code), (Class::RedirectRefused, Some(code)));
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn switching_protocols_is_no_success() {
    assert_eq!(class(answered("101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x").await), Class::InvalidResponse);
}

#[tokio::test]
async fn a_receiver_may_bury_an_event_or_halt() {
    let table = [
        ("503 Busy\r\nposthorn-directive: bury", Class::BuriedByReceiver),
        ("410 Gone\r\nPosthorn-Directive: Bury", Class::BuriedByReceiver),
        ("302 Moved\r\nposthorn-directive: halt", Class::HaltedByReceiver),
        ("400 Bad\r\nposthorn-directive: HALT", Class::HaltedByReceiver),
        ("400 Bad\r\nposthorn-directive: other\r\nposthorn-directive: halt", Class::HaltedByReceiver),
        ("400 Bad\r\nposthorn-directive: retry", Class::BadRequest),
        ("400 Bad\r\nposthorn-directive: \u{fe}", Class::BadRequest),
    ];
    for (head, class) in table {
        let failure = failed(answered(head).await);
        assert_eq!((failure.class, failure.code), (class, head[..3].parse().ok()), "{head}");
    }
    for directive in ["bury", "halt"] {
        assert_eq!(answered(&format!("200 OK\r\nposthorn-directive: {directive}")).await, DELIVERED);
    }
}
