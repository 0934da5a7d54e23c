//! A bus with replicas: nothing is sent that a failover could take back.

use super::scene::destination;
use super::world::{Mode, World};
use crate::support::eventually::holds;
use crate::support::redis::Options;
use crate::support::{Redis, eventually};
use posthorn::plan::Plan;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;

fn quick() -> Options {
    Options { more: vec![("repl-diskless-sync-delay", "0".to_owned())], ..Options::default() }
}

#[tokio::test]
async fn nothing_is_sent_before_the_replicas_have_what_was_read() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::with(quick(), Mode::Worker);
    let replica = Redis::start();
    replica.cli(&["REPLICAOF", "127.0.0.1", &world.redis.addr().port().to_string()]);
    let linked = || replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
    eventually("the replica", async || holds(linked(), || "not in step".into())).await;
    world.start_front().await;
    world.put_plan(&destination("a", &receiver.url(), json!({})), |plan| Plan { replicas: 1, ..plan }).await;
    world.start().await;
    world.post(1..=1).await;
    eventually("the first event", async || holds(receiver.count() == 1, || receiver.count().to_string())).await;
    replica.freeze();
    world.post(2..=4).await;
    // read, and asked for twice in vain
    let waits = || world.redis.cli(&["INFO", "commandstats"]).lines().find_map(|line| calls(line, "cmdstat_wait:")).unwrap_or(0);
    let before = waits();
    eventually("barriers that are not met", async || holds(waits() >= before + 2, || waits().to_string())).await;
    assert_eq!(receiver.count(), 1, "nothing may be sent that the replica does not have");
    replica.thaw();
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history("a", &log, &stored).assert_kept();
    assert_eq!(log.len(), 4);
}

fn calls(line: &str, command: &str) -> Option<u64> {
    line.strip_prefix(command)?.strip_prefix("calls=")?.split(',').next()?.parse().ok()
}
