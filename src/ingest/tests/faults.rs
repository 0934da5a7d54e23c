//! Redis full, stopped, away; shutdown under way.

use super::*;
use rustix::process::Signal;

#[tokio::test]
async fn a_full_redis_refuses_events_and_readiness_stays() {
    let (redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    redis.set("maxmemory", "1mb");
    let answer = ingest.post("1", "", b"").await;
    is(problem(&answer), 503, "storage-full");
    assert!(answer.contains("retry-after: "), "{answer}");
    assert!(ingest.readiness.is_ready());
    redis.set("maxmemory", "0");
    let end = tokio::time::Instant::now() + PATIENCE;
    while status(&ingest.post("1", "", b"").await) != 202 {
        assert!(tokio::time::Instant::now() < end, "never accepted again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn above_the_watermark_events_are_refused_before_redis_is_full() {
    let settings = Settings::parse("buses: {default: {watermark: 1%}}", Path::new("")).unwrap();
    let (redis, ingest) = start_with_redis(patient(), settings).await;
    redis.set("maxmemory", "50mb");
    let mut number = 0;
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        number += 1;
        let answer = ingest.post(&number.to_string(), "", b"").await;
        if status(&answer) == 503 {
            is(problem(&answer), 503, "storage-full");
            break;
        }
        assert!(tokio::time::Instant::now() < end, "never above the watermark");
    }
}

#[tokio::test]
async fn without_redis_events_are_surely_not_stored_and_readiness_says_why() {
    let ingest = start_without_redis(patient(), Settings::default()).await;
    let answer = ingest.post("1", "", b"").await;
    is(problem(&answer), 503, "storage-unavailable");
    assert!(answer.contains("retry-after: "), "{answer}");
    until("readiness names redis", || ingest.readiness.report().starts_with("[-]redis: ")).await;
    assert!(!ingest.readiness.is_ready());
}

#[tokio::test]
async fn a_redis_that_hangs_leaves_the_outcome_unknown_and_a_repeat_is_safe() {
    let config = IngestConfig { request_timeout: Duration::from_millis(100), ..patient() };
    let (redis, ingest) = start_with_redis(config, Settings::default()).await;
    redis.signal(Signal::STOP);
    let answer = ingest.post("1", "", b"").await;
    redis.signal(Signal::CONT);
    is(problem(&answer), 503, "outcome-unknown");
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = ingest.post("1", "", b"").await;
        if status(&answer) == 202 {
            assert_eq!(json(&answer)["duplicate"], true, "the first append went on past its deadline");
            return;
        }
        assert!(tokio::time::Instant::now() < end, "never accepted again");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_no_append() {
    let (redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    assert_eq!(status(&ingest.post("0", "", b"").await), 202);
    redis.signal(Signal::STOP);
    let mut stream = ingest.connect().await;
    stream.write_all(&binary("/", "1", "", b"")).await.unwrap();
    // the socket of Redis takes the command although nobody reads it
    until("the request is being handled", || ingest.metrics.ingest.connections.get() == 1).await;
    tokio::time::timeout(Duration::from_millis(100), read_to_end(&mut stream)).await.unwrap_err();
    drop(stream);
    until("the connection is gone", || ingest.metrics.ingest.connections.get() == 0).await;
    redis.signal(Signal::CONT);
    let again = json(&ingest.post("1", "", b"").await);
    assert_eq!(again["duplicate"], true, "{again}");
}

#[tokio::test]
async fn shutdown_answers_what_is_under_way_and_takes_nothing_new() {
    let (_redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    let request = binary("/", "1", "", b"the whole body");
    let (half, rest) = request.split_at(request.len() - 5);
    let mut stream = ingest.connect().await;
    stream.write_all(half).await.unwrap();
    let mut idle = ingest.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut idle, "}").await;

    ingest.shutdown.begin();
    until("readiness is off", || !ingest.readiness.is_ready()).await;
    read_to_end(&mut idle).await;
    until("nothing is accepted", || std::net::TcpStream::connect(ingest.address).is_err()).await;
    assert!(!ingest.server.is_finished());
    stream.write_all(rest).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(status(&answer), 202, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    tokio::time::timeout(PATIENCE, ingest.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_is_bounded_by_the_grace_period() {
    let config = IngestConfig { grace_period: Duration::from_millis(50), ..patient() };
    let ingest = start_without_redis(config, Settings::default()).await;
    let mut stream = ingest.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    until("the connection is there", || ingest.metrics.ingest.connections.get() == 1).await;
    ingest.shutdown.begin();
    tokio::time::timeout(PATIENCE, ingest.server).await.unwrap().unwrap();
}
