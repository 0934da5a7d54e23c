//! Connections that are lost, black-holed, demoted or refused.

use super::fixture::{Bus, event, url, without_aof};
use crate::support::eventually::{eventually, holds};
use crate::support::redis::{Options, Redis, free_port};
use posthorn::bus::cursor;
use posthorn::bus::{Error, Link, RedisUrl, Supervisor};
use std::sync::Arc;

async fn closed(link: &Link) {
    eventually("the end of the connection", async || holds(link.is_closed(), || "it is open".into())).await;
}

/// Why there is no connection, once there is a reason.
async fn trouble(links: &Supervisor, wanted: &str) -> String {
    eventually("trouble", async || match links.current() {
        Err(error) if error.to_string().contains(wanted) => Ok(error.to_string()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("connected".to_owned()),
    })
    .await
}

async fn works(link: &Link) {
    assert!(cursor::now(link).await.unwrap() > 0);
}

#[tokio::test]
async fn a_killed_connection_is_noticed_while_idle_and_replaced() {
    let bus = Bus::alone().await;
    bus.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    closed(&bus.link).await;
    bus.link.closed().await;
    assert!(matches!(cursor::now(&bus.link).await, Err(Error::Unavailable(_))), "nothing is sent on it any more");
    let link = bus.links.link().await;
    works(&link).await;
    assert!(bus.links.current().is_ok());
}

#[tokio::test]
async fn a_black_hole_is_left_after_a_time_out() {
    let bus = Bus::alone().await;
    bus.redis.freeze();
    let error = cursor::now(&bus.link).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    assert!(bus.link.is_closed());
    assert!(matches!(bus.links.current(), Err(Error::Unavailable(_))));
    bus.redis.thaw();
    works(&bus.links.link().await).await;
}

#[tokio::test]
async fn an_idle_connection_notices_a_black_hole() {
    let bus = Bus::alone().await;
    bus.redis.freeze();
    closed(&bus.link).await;
    bus.redis.thaw();
    works(&bus.links.link().await).await;
}

#[tokio::test]
async fn what_was_in_flight_on_a_lost_connection_is_unknown() {
    let bus = Bus::alone().await;
    bus.redis.freeze();
    let (first, second) = tokio::join!(cursor::now(&bus.link), cursor::now(&bus.link));
    assert!(matches!((first, second), (Err(Error::Unknown(_)), Err(Error::Unknown(_)))));
    bus.redis.thaw();
}

#[tokio::test]
async fn a_demoted_primary_is_left_and_a_promoted_one_lifts_its_ids() {
    let other = Redis::with(without_aof());
    let bus = Bus::alone().await;
    let before = bus.post(1).await[0];
    let replicate = |of: &[&str]| bus.cli(&[&["REPLICAOF"], of].concat());
    replicate(&["127.0.0.1", &other.addr().port().to_string()]);
    let error = bus.appender.append(&bus.name, &[event()], std::time::Duration::from_secs(1), 0).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_) | Error::Unavailable(_)), "surely not stored: {error}");
    closed(&bus.link).await;
    trouble(&bus.links, "not a primary").await;
    replicate(&["NO", "ONE"]);
    let link = bus.links.link().await;
    link.hello(&bus.name).await.unwrap();
    let after = bus.post(1).await[0];
    assert!(after > before);
    works(&link).await;
}

#[tokio::test]
async fn a_demotion_and_promotion_that_an_idle_connection_slept_through_ends_it() {
    let other = Redis::with(without_aof());
    let bus = Bus::alone().await;
    bus.cli(&["REPLICAOF", "127.0.0.1", &other.addr().port().to_string()]);
    bus.cli(&["REPLICAOF", "NO", "ONE"]);
    closed(&bus.link).await;
    works(&bus.links.link().await).await;
}

#[tokio::test]
async fn a_server_that_lost_the_scripts_gets_them_again() {
    let bus = Bus::alone().await;
    bus.cli(&["SCRIPT", "FLUSH"]);
    let error = bus.link.hello("another").await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    closed(&bus.link).await;
    bus.links.link().await.hello("another").await.unwrap();
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let mut redis = Redis::with(Options::default());
    let links = Supervisor::start(url(&redis), "test");
    let link = links.link().await;
    redis.kill9();
    closed(&link).await;
    trouble(&links, "").await;
    redis.restart();
    works(&links.link().await).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_to_its_disk_refuses_and_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let more = vec![("enable-protected-configs", "yes".to_owned())];
    let bus = Bus::on(Arc::new(Redis::with(Options { more, ..without_aof() }))).await;
    bus.cli(&["CONFIG", "SET", "dir", dir.path().to_str().unwrap()]);
    bus.cli(&["CONFIG", "SET", "save", "3600 1000000"]);
    drop(dir);
    eventually("a failed snapshot", async || {
        let _ = bus.redis.connection().map(|mut connection| redis::cmd("BGSAVE").query::<redis::Value>(&mut connection));
        let info = bus.cli(&["INFO", "persistence"]);
        holds(info.contains("rdb_last_bgsave_status:err"), || "none yet".into())
    })
    .await;
    let error = bus.link.hello("another").await.unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("MISCONF")), "{error}");
    assert!(bus.link.is_closed());
}

#[tokio::test]
async fn a_server_that_wants_replicas_refuses_and_keeps_the_connection() {
    let bus = Bus::alone().await;
    bus.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let error = bus.append(&[event()]).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(why) if why.contains("NOREPLICAS")), "{error}");
    bus.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    bus.append(&[event()]).await.unwrap();
    assert!(!bus.link.is_closed());
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_foreign_script_refuses() {
    let bus = Bus::alone().await;
    bus.cli(&["CONFIG", "SET", "busy-reply-threshold", "1"]);
    let mut foreign = bus.redis.connection().unwrap();
    let script = std::thread::spawn(move || redis::cmd("EVAL").arg("while true do end").arg(0).query::<redis::Value>(&mut foreign));
    let refused = async || cursor::now(&bus.link).await.map_or_else(Ok, |_| Err("not busy yet".into()));
    let error = eventually("a busy server", refused).await;
    assert!(matches!(&error, Error::Refused(why) if why.contains("BUSY")), "{error}");
    bus.cli(&["SCRIPT", "KILL"]);
    script.join().unwrap().unwrap_err();
    works(&bus.links.link().await).await;
}

#[tokio::test]
async fn nobody_listening_is_told() {
    let url: RedisUrl = format!("redis://127.0.0.1:{}", free_port()).parse().unwrap();
    let links = Supervisor::start(url, "test");
    let why = trouble(&links, "refused").await;
    assert!(why.starts_with("no connection to redis: "), "{why}");
}

#[test]
fn an_address_that_is_none_is_refused_without_repeating_it() {
    for text in ["", "localhost", "http://user:canary@host", "redis://:canary@", "redis://user:canary@host:port"] {
        let error = text.parse::<RedisUrl>().unwrap_err();
        let (shown, debugged) = (error.to_string(), format!("{error:?}"));
        assert!(shown.contains("redis://host:6379") && !shown.contains("canary") && !debugged.contains("canary"), "{text}: {debugged}");
    }
}

#[test]
fn an_address_is_shown_without_its_password() {
    for (text, shown) in [
        ("redis://user:canary@host:6379/2", "redis://…@host:6379/2"),
        ("redis://:can%40ary@host", "redis://…@host"),
        ("rediss://canary@host:1/#insecure", "rediss://…@host:1/#insecure"),
        ("unix:///run/redis.sock?pass=canary&user=u", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock?pass=x@canary", "unix:///run/redis.sock"),
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
    ] {
        let url: RedisUrl = text.parse().unwrap();
        assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_without_repeating_it() {
    let redis = Redis::with(without_aof());
    redis.cli(&["CONFIG", "SET", "requirepass", "right"]);
    let address = |password: &str| -> RedisUrl { format!("redis://:{password}@{}", redis.addr()).parse().unwrap() };
    let links = Supervisor::start(address("canary"), "test");
    let why = trouble(&links, "WRONGPASS").await;
    assert!(!why.contains("canary"), "{why}");
    let links = Supervisor::start(format!("redis://{}", redis.addr()).parse::<posthorn::bus::RedisUrl>().unwrap(), "test");
    trouble(&links, "NOAUTH").await;
    works(&Supervisor::start(address("right"), "test").link().await).await;
}
