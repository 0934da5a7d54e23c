//! The script `status`, and the safety check.

use super::fixture::{Bus, burial, done, event_named, read_all, route, routed, settle, without_aof};
use crate::support::redis::{Options, Redis};
use posthorn::bus::Supervisor;
use posthorn::bus::queue::{Burial, Fate};
use posthorn::bus::safety::{self, Concern};
use posthorn::bus::state::{Snapshot, snapshot};
use posthorn::settings::Fsync;
use std::sync::Arc;
use std::time::Duration;

async fn status(bus: &Bus, uid: &str) -> Snapshot {
    snapshot(&bus.link, &bus.name, uid).await.unwrap()
}

#[tokio::test]
async fn a_new_destination_has_nothing_to_tell() {
    let bus = Bus::start().await;
    let start = bus.create("u").await;
    let status = status(&bus, "u").await;
    assert_eq!(status, Snapshot { start: Some(start), now: status.now, route: Some(route("u")), ..Snapshot::default() });
    assert!(status.now <= bus.time());
}

#[tokio::test]
async fn a_status_tells_all_at_one_moment() {
    let bus = Bus::start().await;
    let start = bus.create("u").await;
    bus.append(&[event_named("one"), event_named("two"), event_named("three"), event_named("four")]).await.unwrap();
    bus.route(&["u"]).await;
    let tenure = bus.lease("u").await;
    let read = read_all(&tenure).await;
    settle(&tenure, &read[..1]).await;
    done(tenure.bury(&burial(read[1].entry.sequence)).await);
    done(tenure.bury(&Burial { fate: Fate::Drop, ..burial(read[2].entry.sequence) }).await);
    let head = read[3].entry.sequence;
    done(tenure.fail(head, 2, "Status", Some(503), "busy", Some(Duration::from_secs(9))).await);
    done(tenure.halt("Unauthorized").await);
    done(tenure.report("Halted", "401", "plan-7", "Strict", Some("nonce")).await);
    routed(bus.detach("u").await);
    let status = status(&bus, "u").await;
    assert_eq!((status.backlog, status.dead_letters, status.routed), (1, 1, 4));
    assert_eq!((status.settled, status.buried, status.dropped, status.lost), (1, 1, 1, 0));
    assert_eq!((status.failed, status.retried), (1, 1));
    assert_eq!(status.halted.map(|(reason, _)| reason).as_deref(), Some("Unauthorized"));
    let reported = (status.state.as_deref(), status.reason.as_deref(), status.plan.as_deref(), status.asked.as_deref());
    assert_eq!(reported, (Some("Halted"), Some("401"), Some("plan-7"), Some("nonce")));
    assert_eq!((status.owned, status.start, status.fill), (true, Some(start), Some(bus.position())));
    assert!(status.last_ok.is_some() && status.last_match.is_some() && status.data_lost.is_none());
    let found = status.head.unwrap();
    assert_eq!((found.sequence, found.id.as_str(), found.event_type.as_str()), (head, "four", "com.example.test"));
    assert_eq!(
        (found.attempts, found.code, found.class.as_deref(), found.message.as_deref()),
        (2, Some(503), Some("Status"), Some("busy"))
    );
    assert_eq!(found.next.unwrap() - found.first.unwrap(), 9000);
    bus.check();
}

#[tokio::test]
async fn a_status_bears_what_is_damaged() {
    let bus = Bus::start().await;
    bus.create("u").await;
    bus.post(1).await;
    let log = bus.bus_key("in");
    let next = bus.last_id(&log).next();
    let _: String = bus.redis.query(redis::cmd("XADD").arg(&log).arg(next.to_string()).arg("v").arg(1).arg("a").arg(b"\xff\xfe"));
    bus.route(&["u"]).await;
    let read = read_all(&bus.lease("u").await).await;
    settle(&bus.take_over("u").await, &read[..1]).await;
    let head = status(&bus, "u").await.head.unwrap();
    assert_eq!((head.sequence, head.id.as_str()), (next, ""));
    bus.cli(&["HSET", &bus.key("try", "u"), &next.to_string(), "{"]);
    assert_eq!(status(&bus, "u").await.head.unwrap().attempts, 0);
    bus.cli(&["DEL", &bus.key("q", "u")]);
    bus.cli(&["SET", &bus.key("q", "u"), "not a stream"]);
    assert_eq!((status(&bus, "u").await.backlog, status(&bus, "nobody").await.start), (0, None));
}

async fn concerns(redis: &Redis, declared: Fsync) -> Vec<Concern> {
    let links = Supervisor::start(super::fixture::url(redis), "test");
    safety::check(&links.link().await, declared).await.unwrap()
}

#[tokio::test]
async fn a_server_that_keeps_what_it_accepts_is_safe() {
    let redis = Redis::with(Options::default());
    assert_eq!(concerns(&redis, Fsync::Always).await, []);
    redis.cli(&["CONFIG", "SET", "appendfsync", "everysec"]);
    assert_eq!(concerns(&redis, Fsync::EverySecond).await, []);
    assert_eq!(concerns(&redis, Fsync::Always).await, [Concern::Fsync { found: "everysec".to_owned() }]);
    redis.cli(&["CONFIG", "SET", "appendfsync", "no"]);
    assert_eq!(concerns(&redis, Fsync::EverySecond).await, [Concern::Fsync { found: "no".to_owned() }]);
}

#[tokio::test]
async fn a_server_that_forgets_or_evicts_is_not_safe() {
    let redis = Redis::with(without_aof());
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let found = concerns(&redis, Fsync::EverySecond).await;
    assert!(found.contains(&Concern::NoAppendOnlyFile) && found.contains(&Concern::Evicts("allkeys-lru".to_owned())), "{found:?}");
}

#[tokio::test]
async fn a_server_that_hides_its_settings_is_unverified() {
    let redis = Redis::with(Options::default());
    redis.cli(&["ACL", "SETUSER", "default", "-config"]);
    assert_eq!(concerns(&redis, Fsync::Always).await, [Concern::Unverified]);
}

#[tokio::test]
async fn memory_is_told_with_a_limit_in_any_case() {
    let bus = Bus::on(Arc::new(Redis::with(without_aof()))).await;
    let memory = safety::memory(&bus.link).await.unwrap();
    assert!(memory.assumed && memory.used > 0 && memory.max > memory.used && !memory.is_above(85));
    bus.cli(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let memory = safety::memory(&bus.link).await.unwrap();
    assert_eq!((memory.assumed, memory.max, memory.share(50)), (false, 100 << 20, 52_428_800));
    bus.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(safety::memory(&bus.link).await.unwrap().is_above(85));
}
