//! Connections that are silent, slow or too many. Deadlines are short here; what is tested is that each one ends the connection it is for.

use super::*;

const SHORT: Duration = Duration::from_millis(50);

const HEAD: &str = "POST / HTTP/1.1\r\nHost: x\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n";

#[tokio::test]
async fn a_connection_without_a_byte_is_closed() {
    let ingest = start_without_redis(IngestConfig { first_byte_timeout: SHORT, ..patient() }, Settings::default()).await;
    assert_eq!(ingest.exchange("").await, "");
}

#[tokio::test]
async fn half_a_head_is_closed_also_when_it_drips() {
    let ingest = start_without_redis(IngestConfig { header_timeout: SHORT, ..patient() }, Settings::default()).await;
    assert_eq!(ingest.exchange("POST / HT").await, "");
    let mut stream = ingest.connect().await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while stream.write_all(b"x").await.is_ok() {
        assert!(tokio::time::Instant::now() < end, "a dripping head was never closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn half_a_preface_of_http2_is_closed() {
    let config = IngestConfig { header_timeout: SHORT, ..patient() };
    let ingest = start_without_redis(config, Settings::default()).await;
    assert_eq!(ingest.exchange("PRI * HTTP/2.0\r\n").await, "");
}

#[tokio::test]
async fn half_a_body_is_answered_with_408_and_closed() {
    let ingest = start_without_redis(IngestConfig { body_grace: SHORT, ..patient() }, Settings::default()).await;
    let answer = ingest.exchange(format!("{HEAD}Content-Length: 10\r\n\r\nhalf")).await;
    is(problem(&answer), 408, "request-timeout");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let ingest = start_without_redis(IngestConfig { idle_timeout: SHORT, ..patient() }, Settings::default()).await;
    let answer = ingest.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    is(problem(&answer), 405, "method-not-allowed");
}

#[tokio::test]
async fn a_kept_connection_serves_the_next_request_and_has_its_head_deadline_again() {
    let config = IngestConfig { header_timeout: SHORT, ..patient() };
    let ingest = start_without_redis(config, Settings::default()).await;
    let mut stream = ingest.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut stream, "}").await;
    }
    stream.write_all(b"GET / HT").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out() {
    let config = IngestConfig { max_connections: 8, max_connections_per_address: 8, first_byte_timeout: SHORT, ..patient() };
    let ingest = start_without_redis(config, Settings::default()).await;
    let mut idle = Vec::new();
    for _ in 0..32 {
        idle.push(ingest.connect().await);
    }
    let answer = ingest.exchange("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 405);
}

#[tokio::test]
async fn an_address_with_too_many_connections_gets_no_more() {
    let ingest = start_without_redis(IngestConfig { max_connections_per_address: 2, ..patient() }, Settings::default()).await;
    let (_one, other) = (ingest.connect().await, ingest.connect().await);
    let mut third = ingest.connect().await;
    assert_eq!(read_to_end(&mut third).await, "");
    assert_eq!(ingest.metrics.ingest.connections_refused.get(), 1);
    drop(other);
    until("the place is given back", || ingest.metrics.ingest.connections.get() == 1).await;
    assert_eq!(status(&ingest.exchange("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await), 405);
}

#[tokio::test]
async fn bodies_under_way_are_bounded() {
    let config = IngestConfig { max_body_memory: 4096, ..patient() };
    let (_redis, ingest) = start_with_redis(config, Settings::default()).await;
    let mut slow = ingest.connect().await;
    slow.write_all(format!("{HEAD}Connection: close\r\nContent-Length: 4000\r\n\r\n{}", "x".repeat(3900)).as_bytes()).await.unwrap();
    let mut last = 0;
    let end = tokio::time::Instant::now() + PATIENCE;
    while last != 503 {
        assert!(tokio::time::Instant::now() < end, "never overloaded");
        let answer = ingest.post(&format!("a{last}"), "", &[b'x'; 1000]).await;
        last = status(&answer);
        if last == 503 {
            is(problem(&answer), 503, "overloaded");
        }
    }
    slow.write_all(&[b'x'; 100]).await.unwrap();
    assert_eq!(status(&read_to_end(&mut slow).await), 202);
    assert_eq!(status(&ingest.post("b", "", &[b'x'; 1000]).await), 202, "the memory was given back");
}
