//! What ingest is told: stored, surely not stored, or unknown.

use super::fixture::{event, event_named, without_aof};
use crate::support::eventually::{eventually, holds};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::{Options, Redis, free_port};
use posthorn::bus::append::{Appender, Receipt};
use posthorn::bus::{Error, RedisUrl, Supervisor, cursor};
use posthorn::event::Event;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);

async fn append(appender: &Appender, event: Event, replicas: u32) -> Result<Receipt, Error> {
    appender.append("default", &[event], WINDOW, replicas).await.map(|receipts| receipts[0])
}

async fn ready(appender: &Appender) {
    eventually("a connection", async || appender.status()).await;
}

#[tokio::test]
async fn without_a_connection_it_is_refused_at_once() {
    let url: RedisUrl = format!("redis://127.0.0.1:{}", free_port()).parse().unwrap();
    let appender = Appender::start(url);
    assert!(appender.status().is_err() && appender.memory().is_none());
    for _ in 0..8 {
        let error = append(&appender, event(), 0).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_full_redis_surely_stored_nothing() {
    let redis = Redis::with(without_aof());
    let appender = Appender::start(redis.url().parse::<posthorn::bus::RedisUrl>().unwrap());
    ready(&appender).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = append(&appender, event(), 0).await.unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert_eq!(redis.cli(&["XLEN", "ph:{default}:in"]), "0");
    let told = async || holds(appender.memory().is_some_and(|memory| memory.is_above(85)), || "not yet".into());
    eventually("the memory", told).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    append(&appender, event(), 0).await.unwrap();
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_its_repeat_safe() {
    let redis = Redis::with(without_aof());
    let proxy = Proxy::start(redis.addr()).await;
    let appender = Appender::start(format!("redis://{}", proxy.addr).parse::<posthorn::bus::RedisUrl>().unwrap());
    ready(&appender).await;
    append(&appender, event(), 0).await.unwrap();
    proxy.stall_before(b"the one in question");
    let error = append(&appender, event_named("the one in question"), 0).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    proxy.set(Mode::Pass);
    ready(&appender).await;
    let again =
        eventually("a repeat", async || append(&appender, event_named("the one in question"), 0).await.map_err(|error| error.to_string()))
            .await;
    assert!(append(&appender, event_named("the one in question"), 0).await.unwrap().duplicate);
    assert_eq!(redis.cli(&["XLEN", "ph:{default}:in"]), "2");
    assert_eq!(append(&appender, event_named("the one in question"), 0).await.unwrap().sequence, again.sequence);
}

#[tokio::test]
async fn a_hello_without_an_answer_surely_stored_nothing() {
    let redis = Redis::with(without_aof());
    let appender = Appender::start(redis.url().parse::<posthorn::bus::RedisUrl>().unwrap());
    ready(&appender).await;
    redis.freeze();
    let error = append(&appender, event(), 0).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    redis.thaw();
    ready(&appender).await;
    assert_eq!(redis.cli(&["XLEN", "ph:{default}:in"]), "0");
}

#[tokio::test]
async fn one_lost_connection_of_several_is_passed_over() {
    let redis = Redis::with(without_aof());
    let appender = Appender::start(redis.url().parse::<posthorn::bus::RedisUrl>().unwrap());
    let other = Supervisor::start(redis.url().parse::<posthorn::bus::RedisUrl>().unwrap(), "test").link().await;
    let clients = || redis.cli(&["CLIENT", "LIST", "TYPE", "normal"]).lines().map(str::to_owned).collect::<Vec<_>>();
    eventually("four connections", async || holds(clients().len() == 6, || "fewer".into())).await;
    for _ in 0..4 {
        eventually("the bus on each", async || append(&appender, event(), 0).await.map_err(|error| error.to_string())).await;
    }
    let oldest = clients().into_iter().next().unwrap();
    redis.cli(&["CLIENT", "KILL", "ID", oldest.split_whitespace().next().unwrap().strip_prefix("id=").unwrap()]);
    for _ in 0..3 {
        // each answer shows that what the server did before has arrived too
        cursor::now(&other).await.unwrap();
    }
    for _ in 0..4 {
        append(&appender, event(), 0).await.unwrap();
    }
}

#[tokio::test]
async fn an_event_is_confirmed_once_enough_replicas_have_it() {
    let more = vec![("repl-diskless-sync-delay", "0".to_owned())];
    let primary = Redis::with(Options { more, ..without_aof() });
    let replica = Redis::with(without_aof());
    let appender = Appender::start(primary.url().parse::<posthorn::bus::RedisUrl>().unwrap());
    ready(&appender).await;
    let error = append(&appender, event_named("confirmed"), 1).await.unwrap_err();
    assert!(matches!(&error, Error::Unknown(why) if why.contains("0 of 1")), "{error}");
    replica.cli(&["REPLICAOF", "127.0.0.1", &primary.addr().port().to_string()]);
    // not earlier: Valkey 9.1 counts a replica that has not loaded its first copy yet
    let linked = || replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
    eventually("the replica", async || holds(linked(), || "not in step".into())).await;
    let append_to = async |replicas| {
        // the first replica gives the primary a new history, which ends its connections
        eventually("a connection", async || match append(&appender, event_named("confirmed"), replicas).await {
            Err(error @ Error::Unavailable(_)) => Err(error.to_string()),
            other => Ok(other),
        })
        .await
    };
    let receipt = eventually("a confirmation", async || append_to(1).await.map_err(|error| error.to_string())).await;
    assert!(receipt.duplicate, "the first copy is the one that was confirmed");
    assert_eq!(replica.cli(&["XLEN", "ph:{default}:in"]), "1");
    replica.freeze();
    assert!(matches!(append_to(1).await, Err(Error::Unknown(_))));
    replica.thaw();
    assert!(matches!(append_to(2).await, Err(Error::Unknown(_))), "one is not two");
}
