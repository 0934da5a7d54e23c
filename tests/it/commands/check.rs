//! `check`: finds each trouble, and nothing where there is none.

use super::{Place, UNAVAILABLE, text};
use crate::support::eventually;
use crate::support::eventually::holds;
use crate::support::process::Posthorn;
use crate::support::redis::{Options, Redis};
use crate::support::stored::uid;
use posthorn::receiver::Answer;
use serde_json::Value;

/// The findings of one check of a Redis, without those that are well.
fn troubles(url: &str) -> (Option<i32>, String) {
    let output = Posthorn::run(&["check", "-q", "--redis", url]);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_every_check_says_so() {
    let place = Place::start(Answer::Status(204), "{}").await;
    place.ok(&["send", "--type", "t"]);
    place.row("delivered", |row| row[5] == "1").await;
    place.redis.cli(&["CONFIG", "SET", "maxmemory", "1gb"]);
    let shown = place.ok(&["check"]);
    assert!(shown.lines().all(|line| line.starts_with("OK    ")), "{shown}");
    for part in [
        "append-only file",
        "ingest: 1 events accepted",
        "router: all that was accepted is routed",
        "default/billing: Idle",
        "orphans: none",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let object: Value = place.json(&["check"]);
    assert_eq!((&object["ok"], &object["findings"][0]["level"]), (&true.into(), &"OK".into()));
    assert_eq!(place.ok(&["check", "--quiet"]), "");
}

#[test]
fn a_redis_that_may_lose_events_fails() {
    let more = vec![("maxmemory-policy", "allkeys-lru".to_owned())];
    let redis = Redis::with(Options { appendfsync: None, maxmemory: 0, more });
    let (code, found) = troubles(&redis.url());
    assert_eq!(code, Some(1), "{found}");
    for part in
        ["FAIL  redis: redis keeps no append-only file", "allkeys-lru", "set appendonly yes", "WARN  memory: the server sets no maxmemory"]
    {
        assert!(found.contains(part), "{part}\n{found}");
    }
    let full = Redis::with(Options { appendfsync: Some("everysec"), maxmemory: 3 << 20, ..Options::default() });
    full.cli(&["SETRANGE", "filler", &(2 << 20).to_string(), "x"]);
    let (code, found) = troubles(&full.url());
    assert_eq!(code, Some(1), "{found}");
    assert!(found.contains("appendfsync everysec") && found.contains("FAIL  memory: "), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_in_trouble_and_a_router_that_is_gone_are_found() {
    let mut place = Place::start(UNAVAILABLE, "{retry: 0, onExhausted: Block}").await;
    place.ok(&["send", "--type", "t"]);
    place.row("Blocked", |row| row[2] == "Blocked").await;
    let blocked = place.run(&["check"]);
    assert_eq!(blocked.status.code(), Some(1));
    let shown = text(&blocked.stdout);
    assert!(shown.contains("FAIL  default/billing: Blocked: 1 events wait"), "{shown}");
    assert!(shown.contains("posthorn describe default/billing tells what to do"), "{shown}");

    place.standalone.terminate().await;
    let url = place.redis.url();
    Posthorn::ok(&["send", "--type", "t", "--redis", &url]);
    eventually("the end of the leases", async || {
        let (_, found) = troubles(&url);
        holds(found.contains("FAIL  router: none runs; 1 events are not routed yet") && found.contains("NoWorker"), || found.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_nobody_is_found() {
    let mut place = Place::start(Answer::Status(204), "{}").await;
    place.standalone.terminate().await;
    let uid = uid(&place.redis, "default", "default/billing").unwrap();
    let key = |kind: &str, uid: &str| format!("ph:{{default}}:{kind}:{uid}");
    place.redis.cli(&["HSET", &key("st", "stray"), "routed", "1"]);
    place.redis.cli(&["XADD", &key("q", "stray"), "1-1", "v", "1"]);
    place.redis.cli(&["HSET", "ph:{default}:names", "default/gone", "stray"]);
    place.redis.cli(&["HSET", "ph:{default}:fills", "stray", "1-1"]);
    place.redis.cli(&["XADD", &key("q", &uid), "*", "v", "1"]);
    place.redis.cli(&["XREADGROUP", "GROUP", "delivery", "thief", "STREAMS", &key("q", &uid), ">"]);
    let (_, found) = troubles(&place.redis.url());
    for part in [
        "keys of destinations that are not there: ph:{default}:q:stray, ph:{default}:st:stray",
        "names of destinations that are not there: default/gone",
        "fill positions of destinations that are not there: stray",
        "default/billing: somebody else reads its queue, as consumer \"thief\", and holds 1 events",
    ] {
        assert!(found.contains(part), "{part}\n{found}");
    }
    place.redis.cli(&["HDEL", "ph:{default}:names", "default/billing"]);
    place.redis.cli(&["DEL", &key("q", &uid)]);
    let (_, found) = troubles(&place.redis.url());
    assert!(found.contains(&format!("destinations without a name, which no command finds: {uid}")), "{found}");
    assert!(found.contains("the next worker makes it again"), "{found}");
}
