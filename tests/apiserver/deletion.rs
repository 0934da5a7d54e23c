//! How a destination goes: whatever it held is gone too, and nothing that does not answer keeps it.

mod discard;
mod drain;
mod names;
mod namespace;
mod orphans;

use crate::support::World;
use crate::support::eventually::{eventually_within, holds};
use crate::support::redis::Redis;
use crate::support::world::{RELEASE, SHOP};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A destination of namespace `shop`; `http` are further fields of its sink.
fn destination(name: &str, url: &str, http: &str, delivery: &str, more: &str) -> String {
    format!(
        "{{apiVersion: posthorn.dev/v1alpha1, kind: EventDestination, metadata: {{name: {name}, namespace: {SHOP}}}, spec: {{sink: {{http: {{uri: \
         \"{url}\", {http}}}}}, delivery: {{{delivery}}}, {more}}}}}"
    )
}

/// Puts events into a queue, as if they had been routed to it.
const FILL: &str = "#!lua
local attributes = '{\"id\":\"filled\",\"source\":\"/filled\",\"type\":\"com.example.test\"}'
for _ = 1, tonumber(ARGV[1]) do
  redis.call('XADD', KEYS[1], '*', 'v', 1, 'm', 'b', 'a', attributes, 'c', 'application/json', 'd', '{}')
end
redis.call('HINCRBY', KEYS[2], 'routed', ARGV[1])";

/// Puts dead letters there.
const BURY: &str = "#!lua
for i = 1, tonumber(ARGV[1]) do
  redis.call('XADD', KEYS[1], '*', 'v', 1, 'm', 'b', 'a', '{}', 'd', '{}', 'orig', '1-' .. i, 'n', 1, 'class', 'Status', 'at', 1)
end
redis.call('HINCRBY', KEYS[2], 'routed', ARGV[1])
redis.call('HINCRBY', KEYS[2], 'buried', ARGV[1])";

fn fill(redis: &Redis, uid: &str, count: usize) {
    let (queue, counters) = (format!("ph:{{default}}:q:{uid}"), format!("ph:{{default}}:st:{uid}"));
    for begin in (0..count).step_by(10_000) {
        let part = (count - begin).min(10_000).to_string();
        redis.cli(&["EVAL", FILL, "2", &queue, &counters, &part]);
    }
}

fn bury(redis: &Redis, uid: &str, count: usize) {
    let (dead, counters) = (format!("ph:{{default}}:dead:{uid}"), format!("ph:{{default}}:st:{uid}"));
    redis.cli(&["EVAL", BURY, "2", &dead, &counters, &count.to_string()]);
}

/// Every place in Redis that knows a UID: keys, fields and values, streams aside.
fn traces_in_redis(redis: &Redis, uid: &str) -> Vec<String> {
    let mut found = Vec::new();
    for key in redis.query::<Vec<String>>(redis::cmd("KEYS").arg("*")) {
        let content = match redis.cli(&["TYPE", &key]).as_str() {
            "hash" => format!("{:?}", redis.query::<BTreeMap<String, String>>(redis::cmd("HGETALL").arg(&key))),
            "zset" => redis.cli(&["ZRANGE", &key, "0", "-1"]),
            "string" => redis.cli(&["GET", &key]),
            _ => String::new(),
        };
        if key.contains(uid) || content.contains(uid) {
            found.push(key);
        }
    }
    found
}

/// Waits until nothing knows a destination any more: neither Redis nor the release namespace.
async fn forgotten(world: &World, uid: &str) {
    eventually_within(PATIENCE, &format!("nothing is left of {uid}"), async || {
        let redis = traces_in_redis(&world.pieces.redis, uid);
        holds(redis.is_empty(), || format!("in Redis: {redis:?}"))?;
        let objects = world.cluster.json(&["get", "secrets,deployments,pods", "-n", RELEASE]);
        let left: Vec<_> = objects["items"].as_array().unwrap().iter().filter(|object| object.to_string().contains(uid)).collect();
        holds(left.is_empty(), || format!("in the release namespace: {left:?}"))
    })
    .await;
}

/// Waits until an object is gone.
async fn gone(world: &World, name: &str) {
    eventually_within(PATIENCE, &format!("{name} is gone"), async || {
        let output = world.cluster.kubectl(&["get", "evd", name, "-n", SHOP, "-o", "jsonpath={.status}"]);
        let log = || world.operator.log();
        holds(!output.status.success(), || format!("{} operator: {}", String::from_utf8_lossy(&output.stdout), log()))
    })
    .await;
}
