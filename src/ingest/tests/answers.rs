//! The table of answers.

use super::*;
use crate::admin::IngestResult;
use crate::event::Sequence;

fn small() -> Settings {
    Settings::parse("buses: {default: {maxEventBytes: 64}, orders: {}}", Path::new("")).unwrap()
}

#[tokio::test]
async fn an_accepted_event_gets_its_place_and_a_repeat_the_same() {
    let (_redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    let first = ingest.post("1", "", b"data").await;
    assert_eq!(status(&first), 202, "{first}");
    let (first, again, next) = (json(&first), json(&ingest.post("1", "", b"data").await), json(&ingest.post("2", "", b"").await));
    assert_eq!(first["id"], "1");
    assert!(first.get("duplicate").is_none());
    assert_eq!((&again["sequence"], &again["duplicate"]), (&first["sequence"], &true.into()));
    let place = |answer: &serde_json::Value| answer["sequence"].as_str().unwrap().parse::<Sequence>().unwrap();
    assert_eq!(first["sequence"], place(&first).padded());
    assert!(place(&next) > place(&first));
    let counted = |result| ingest.metrics.ingest.counted(result);
    assert_eq!((counted(IngestResult::Accepted), counted(IngestResult::Duplicate)), (2, 1));
}

#[tokio::test]
async fn the_same_event_a_hundred_times_at_once_is_stored_once() {
    let (_redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    let answers = futures::future::join_all((0..100).map(|_| ingest.post("1", "", b"data"))).await;
    let answers: Vec<_> = answers.iter().map(|answer| json(answer)).collect();
    assert!(answers.iter().all(|answer| answer["sequence"] == answers[0]["sequence"]), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.get("duplicate").is_none()).count(), 1);
}

#[tokio::test]
async fn a_batch_is_answered_by_a_list_and_stored_whole_or_not_at_all() {
    let (_redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    let item = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#);
    let post = |body: String| {
        let head = "POST /v1/buses/default/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/cloudevents-batch+json\r\n";
        ingest.exchange(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    let bad = post(format!("[{},{}]", item("a"), item(""))).await;
    assert_eq!((status(&bad), &json(&bad)["attribute"], &json(&bad)["index"]), (400, &"id".into(), &1.into()), "{bad}");
    is(problem(&post("[]".to_owned()).await), 400, "invalid-event");
    let good = post(format!("[{},{}]", item("a"), item("b"))).await;
    assert_eq!(status(&good), 202, "{good}");
    let list = json(&good);
    assert_eq!((list[0]["id"].as_str(), list[1]["id"].as_str()), (Some("a"), Some("b")));
    assert!(list[0].get("duplicate").is_none(), "the refused batch stored nothing");
    assert!(list[0]["sequence"].as_str() < list[1]["sequence"].as_str());
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_a_larger_one_is_not_even_read() {
    let (_redis, ingest) = start_with_redis(patient(), small()).await;
    assert_eq!(status(&ingest.post("1", "", &[b'x'; 64]).await), 202);
    is(problem(&ingest.post("2", "", &[b'x'; 65]).await), 413, "too-large");
    let huge = "POST / HTTP/1.1\r\nHost: x\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nContent-Length: 10000000000\r\n\r\n";
    let answer = ingest.exchange(huge).await;
    is(problem(&answer), 413, "too-large");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused_while_it_is_sent() {
    let ingest = start_without_redis(patient(), small()).await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let head = "POST / HTTP/1.1\r\nHost: x\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = ingest.exchange(format!("{head}{}", chunk.repeat(50))).await;
    is(problem(&answer), 413, "too-large");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_not_post_is_405() {
    let ingest = start_without_redis(patient(), small()).await;
    for path in ["/events", "/v1/buses//events", "/v1/buses/a/b/events", "/v1/buses/default", "/v1/buses/default/events/"] {
        is(problem(&ingest.exchange(binary(path, "1", "", b"")).await), 404, "not-found");
    }
    is(problem(&ingest.exchange(binary("/v1/buses/other/events", "1", "", b"")).await), 404, "no-such-bus");
    let answer = ingest.exchange("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    is(problem(&answer), 405, "method-not-allowed");
    assert!(answer.contains("allow: POST"), "{answer}");
}

#[tokio::test]
async fn what_is_no_cloudevent_is_400_or_415() {
    let ingest = start_without_redis(patient(), Settings::default()).await;
    let post = |headers: &str| {
        ingest.exchange(format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: 2\r\n\r\n{{}}"))
    };
    is(problem(&post("Content-Type: application/json\r\n").await), 400, "invalid-event");
    let no_id = post("Content-Type: application/cloudevents+json\r\n").await;
    is(problem(&no_id), 400, "invalid-event");
    is(problem(&post("Content-Type: application/cloudevents+avro\r\n").await), 415, "unsupported-media-type");
    is(problem(&ingest.post("1", "ce-x: %FF\r\n", b"").await), 400, "invalid-event");
    assert_eq!(status(&ingest.post("1", "ce-x: a\0b\r\n", b"").await), 400);
    assert_eq!(status(&ingest.post("1", &format!("ce-x: {}\r\n", "x".repeat(1 << 20)), b"").await), 431);
    is(problem(&ingest.post("1", &format!("ce-x: {}\r\n", "x".repeat(100 << 10)), b"").await), 413, "too-large");
}

#[tokio::test]
async fn what_two_servers_could_read_differently_is_refused() {
    let ingest = start_without_redis(patient(), Settings::default()).await;
    let answer = ingest.post("1", "Host: y\r\n", b"").await;
    is(problem(&answer), 400, "invalid-request");
    let none = ingest.exchange("POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    is(problem(&none), 400, "invalid-request");
    let both = ingest
        .exchange("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&both), 400, "{both}");
}

#[tokio::test]
async fn a_bus_with_producers_is_theirs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "token-a").unwrap();
    std::fs::write(dir.path().join("b"), "token-b").unwrap();
    let yaml = "buses: {default: {producers: [{name: a, bearerTokenFile: a, rate: {requests: 1, per: 1h}}]}, other: {producers: [{name: b, bearerTokenFile: b}]}}";
    let (_redis, ingest) = start_with_redis(patient(), Settings::parse(yaml, dir.path()).unwrap()).await;
    let answer = ingest.post("1", "", b"").await;
    is(problem(&answer), 401, "unauthorized");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    is(problem(&ingest.post("1", "Authorization: Bearer token-b\r\n", b"").await), 403, "forbidden");
    assert_eq!(status(&ingest.post("1", "Authorization: Bearer token-a\r\n", b"").await), 202);
    let answer = ingest.post("2", "Authorization: Bearer token-a\r\n", b"").await;
    is(problem(&answer), 429, "rate-limited");
    assert!(answer.contains("retry-after: "), "{answer}");
    let counted = |result| ingest.metrics.ingest.counted(result);
    assert_eq!((counted(IngestResult::Unauthorized), counted(IngestResult::Forbidden), counted(IngestResult::RateLimited)), (1, 1, 1));
}
