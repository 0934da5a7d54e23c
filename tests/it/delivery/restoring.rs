//! What `docs/operations.md` says about a backup of Redis, and about moving to another one.

use super::scene::{Gate, destination};
use super::world::{Mode, World};
use crate::support::client::Post;
use crate::support::eventually::holds;
use crate::support::{History, Redis, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::json;
use std::ops::RangeInclusive;

fn ids(numbers: RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|number| Post::numbered(number).id).collect()
}

/// What a receiver takes that remembers the highest sequence, and what it passes over.
fn taken(log: &[Seen]) -> (Vec<String>, Vec<String>) {
    let (mut taken, mut repeats, mut highest) = (Vec::new(), Vec::new(), None);
    for seen in log.iter().filter(|seen| seen.accepted()) {
        let id = seen.id().unwrap().to_owned();
        if seen.sequence() > highest {
            highest = seen.sequence();
            taken.push(id);
        } else {
            repeats.push(id);
        }
    }
    (taken, repeats)
}

#[tokio::test]
async fn what_waited_at_a_backup_goes_on_after_a_restore_and_is_repeated_if_it_was_delivered_since() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut world = World::standalone(&[destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))]).await;
    world.post(1..=10).await;
    world.settled("a").await;
    receiver.set_behaviour(Behaviour::always(Answer::Status(503)));
    world.post(11..=15).await;
    world.routed().await;
    let backup = world.redis.backup();
    receiver.set_behaviour(Behaviour::ok());
    world.post(16..=20).await;
    world.settled("a").await;
    world.redis.restore(&backup);
    world.post(21..=25).await;
    let stored = world.settled("a").await;
    assert_eq!(taken(&receiver.log()), (ids(1..=25), ids(11..=15)));
    assert_eq!(stored.settled, 20, "it does not know of what came after the backup");
}

#[tokio::test]
async fn a_bus_that_moves_to_another_redis_by_a_failover_loses_and_overtakes_nothing() {
    let (gate, mut world) = (Gate::default(), World::new(Mode::Standalone));
    let receiver = Receiver::start(gate.before(Behaviour::ok())).await.unwrap();
    world.put(&destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))).await;
    world.start().await;
    world.post(1..=50).await;
    let mut new = Redis::start();
    new.cli(&["REPLICAOF", "127.0.0.1", &world.redis.addr().port().to_string()]);
    let replication = |redis: &Redis, says: &str| {
        let found = redis.cli(&["INFO", "replication"]);
        holds(found.contains(says), || found)
    };
    eventually("the new one is in step", async || replication(&world.redis, "state=online")).await;
    world.redis.cli(&["FAILOVER", "TO", "127.0.0.1", &new.addr().port().to_string(), "TIMEOUT", "10000"]);
    eventually("the new one is promoted", async || replication(&new, "role:master")).await;
    assert_eq!(world.client.post(&Post::numbered(51)).await.unwrap().status, 503, "the old one takes nothing any more");
    std::mem::swap(&mut world.redis, &mut new);
    world.process().terminate().await;
    new.stop();
    world.start().await;
    world.post(51..=100).await;
    gate.open();
    let (stored, log) = (world.settled("a").await, receiver.log());
    History { repeats: 1, ..world.history("a", &log, &stored) }.assert_kept();
    assert_eq!(stored.settled, 100);
}
