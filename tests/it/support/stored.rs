//! What Redis holds of one destination, read without any code of the project.

use super::eventually::{eventually, holds};
use super::redis::Redis;
use posthorn::event::Sequence;
use std::collections::HashMap;

/// Counters and streams of one destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Events ever put into the queue.
    pub routed: u64,
    /// Delivered.
    pub settled: u64,
    /// Moved to the dead letters.
    pub buried: u64,
    /// Dropped by a limit or by `onExhausted: Drop`.
    pub dropped: u64,
    /// Of a queue that someone deleted.
    pub lost: u64,
    /// Dead letters put back.
    pub redriven: u64,
    /// Dead letters removed.
    pub purged: u64,
    /// What waits.
    pub queued: Vec<Sequence>,
    /// Places in the queue of the dead letters kept.
    pub dead: Vec<Sequence>,
}

impl Stored {
    /// Of counters by their names.
    pub fn counted(count: impl Fn(&str) -> u64, queued: Vec<Sequence>, dead: Vec<Sequence>) -> Stored {
        Stored {
            routed: count("routed"),
            settled: count("settled"),
            buried: count("buried"),
            dropped: count("dropped"),
            lost: count("lost"),
            redriven: count("redriven"),
            purged: count("purged"),
            queued,
            dead,
        }
    }
}

type Entries = Vec<(String, HashMap<String, Vec<u8>>)>;

const READ: &str = "#!lua flags=no-writes,allow-oom
return {redis.call('HGETALL', KEYS[1]), redis.call('XRANGE', KEYS[2], '-', '+'), redis.call('XRANGE', KEYS[3], '-', '+')}";

/// Reads a destination, `namespace/name`, of a bus.
pub fn stored(redis: &Redis, bus: &str, destination: &str) -> Stored {
    let uid = uid(redis, bus, destination).unwrap_or_else(|| panic!("no destination {destination} on bus {bus}"));
    let key = |kind: &str| format!("ph:{{{bus}}}:{kind}:{uid}");
    // A script, not MULTI: that is refused when Redis is full, even if it only reads.
    let mut read = redis::cmd("EVAL_RO");
    read.arg(READ).arg(3).arg(key("st")).arg(key("q")).arg(key("dead"));
    let (counters, queue, dead): (HashMap<String, String>, Entries, Entries) = redis.query(&read);
    let count = |name: &str| counters.get(name).map_or(0, |value| value.parse().unwrap());
    let origin = |fields: &HashMap<String, Vec<u8>>| String::from_utf8_lossy(&fields["orig"]).parse().unwrap();
    let queued = queue.iter().map(|(id, _)| id.parse().unwrap()).collect();
    Stored::counted(count, queued, dead.iter().map(|(_, fields)| origin(fields)).collect())
}

/// The UID of a destination, once it is there.
pub fn uid(redis: &Redis, bus: &str, destination: &str) -> Option<String> {
    redis.query(redis::cmd("HGET").arg(format!("ph:{{{bus}}}:names")).arg(destination))
}

/// Waits until every accepted event was routed and the destination owes nothing, and returns what it holds then.
pub async fn settled(redis: &Redis, bus: &str, destination: &str) -> Stored {
    eventually(&format!("{destination} owes nothing"), async || {
        let behind = behind(redis, bus);
        let stored = stored(redis, bus, destination);
        holds(behind == 0 && stored.queued.is_empty(), || format!("{behind} not routed, {} in the queue", stored.queued.len()))?;
        Ok(stored)
    })
    .await
}

/// Accepted events that the router has not decided on yet.
pub fn behind(redis: &Redis, bus: &str) -> usize {
    let position: Option<String> = redis.query(redis::cmd("HGET").arg(format!("ph:{{{bus}}}:cursor")).arg("pos"));
    let after = format!("({}", position.unwrap_or_else(|| "0-0".into()));
    let entries: Entries = redis.query(redis::cmd("XRANGE").arg(format!("ph:{{{bus}}}:in")).arg(after).arg("+"));
    entries.len()
}
