//! Buses that are not there or not for everyone, and what the data plane does not do yet.

use super::apply;
use crate::support::client::Post;
use crate::support::eventually::holds;
use crate::support::redis::Redis;
use crate::support::world::{Plan, SHOP};
use crate::support::{Client, World, eventually};
use posthorn::api::not_yet;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::{Value, json};

/// Settings with a bus that destinations of one namespace may read.
fn settings(namespace: &str) -> String {
    format!("buses:\n  default: {{}}\n  team:\n    allowedNamespaces: [{namespace}]\n")
}

/// The route of a destination on a bus, as Redis holds it; empty if it holds none.
fn route(world: &World, bus: &str, name: &str) -> String {
    world.pieces.redis.cli(&["HGET", &format!("ph:{{{bus}}}:routes"), &world.uid(name)])
}

async fn post(world: &World, number: u64) {
    Client::of_bus(world.ingest.addr, "team").post_until_accepted(&Post::numbered(number)).await;
}

/// Waits until a destination of bus `team` has delivered so many.
async fn delivered(world: &World, name: &str, count: u64) {
    eventually(&format!("{name} has delivered {count}"), async || {
        let link = world.pieces.link().await;
        let snapshot = posthorn::bus::state::snapshot(&link, "team", &world.uid(name)).await.map_err(|error| error.to_string())?;
        holds(snapshot.settled == count && snapshot.backlog == 0, || format!("{snapshot:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_is_read_only_by_those_whom_the_admin_lets_and_only_while_he_does() {
    let mut world = World::of(Plan { settings: settings("ledger"), ..Plan::default() }).await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let http = json!({"uri": receiver.url()});
    apply(&world, "stranger", &http, &json!({"bus": "team"}));
    apply(&world, "nowhere", &http, &json!({"bus": "tema"}));
    assert_eq!(world.condition("stranger", "Accepted", "False").await, "BusNotAllowed");
    let found = world.reason("nowhere", "Accepted", "UnknownBus").await;
    assert_eq!(found["message"], "spec.bus: there is no bus tema; there are: default, team");
    for name in ["stranger", "nowhere"] {
        world.condition(name, "Ready", "False").await;
        world.event(name, "Rejected").await;
    }
    assert_eq!(world.pieces.redis.cli(&["KEYS", "ph:{team}:routes"]) + &world.pieces.redis.cli(&["KEYS", "ph:{tema}:*"]), "");

    world.pieces.settings(&settings(SHOP));
    world.replace_operator("").await;
    world.ready("stranger").await;
    post(&world, 1).await;
    delivered(&world, "stranger", 1).await;

    // what it has is still delivered, and no more is given to it
    receiver.set_behaviour(Behaviour::always(posthorn::receiver::Answer::Status(503)));
    post(&world, 2).await;
    world.reason("stranger", "Delivering", "Retrying").await;
    world.pieces.settings(&settings("ledger"));
    world.replace_operator("").await;
    assert_eq!(world.condition("stranger", "Accepted", "False").await, "BusNotAllowed");
    eventually("its route is closed", async || {
        let route = route(&world, "team", "stranger");
        holds(route.contains(r#""state":"closed""#), || route)
    })
    .await;
    post(&world, 3).await;
    receiver.set_behaviour(Behaviour::ok());
    delivered(&world, "stranger", 2).await;

    world.pieces.settings(&settings(SHOP));
    world.replace_operator("").await;
    world.ready("stranger").await;
    post(&world, 4).await;
    delivered(&world, "stranger", 3).await;
    let log = receiver.log();
    let ids: Vec<_> = log.iter().filter(|seen| seen.accepted()).map(|seen| seen.id().unwrap()).collect();
    assert_eq!(ids, ["event-1", "event-2", "event-4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_of_a_bus_that_is_away_is_told_on_the_destinations_of_that_bus_alone() {
    let mut own = Redis::start();
    let settings = format!("buses:\n  default: {{}}\n  team: {{redis: {{url: '{}'}}}}\n", own.url());
    let world = World::of(Plan { settings, ..Plan::default() }).await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let http = json!({"uri": receiver.url()});
    apply(&world, "hook", &http, &json!({}));
    apply(&world, "team", &http, &json!({"bus": "team"}));
    world.ready("hook").await;
    world.ready("team").await;
    assert_eq!(own.cli(&["HLEN", "ph:{team}:routes"]), "1");
    post(&world, 1).await;
    world.status("team", "delivered", &json!(1)).await;

    own.kill9();
    for condition in ["StorageSafe", "Ready"] {
        world.reason("team", condition, "RedisUnavailable").await;
    }
    assert_eq!(world.condition("hook", "StorageSafe", "True").await, "Safe");
    world.post([1]).await;
    world.delivered("hook", 1).await;
    // what is asked of other buses meanwhile is done
    apply(&world, "more", &http, &json!({"bus": "default"}));
    world.ready("more").await;

    own.restart();
    world.ready("team").await;
    post(&world, 2).await;
    world.status("team", "delivered", &json!(2)).await;
    world.cluster.ok(&["delete", "evd", "team", "-n", SHOP]);
    assert_eq!(own.cli(&["HLEN", "ph:{team}:routes"]), "0");
}

/// Fields of `sink.http`, and of the spec.
fn ways_to_deliver() -> Vec<(Value, Value)> {
    let none = || json!({});
    vec![
        (json!({"format": "Batch", "batch": {"maxEvents": 10}}), none()),
        (none(), json!({"ordering": {"mode": "PerKey", "keyAttribute": "subject"}})),
        (json!({"format": "Batch"}), json!({"ordering": {"mode": "PerKey"}})),
        (none(), json!({"ordering": {"mode": "Unordered", "maxInFlight": 4}})),
        (none(), json!({"limits": {"rate": {"requests": 50, "per": "1s"}, "backlog": {"maxEvents": 1000, "onOverflow": "DropOldest"}}})),
        (none(), json!({"delivery": {"deadLetter": {"destinationRef": {"name": "nobody"}}}})),
        (none(), json!({"filters": [{"any": [{"cel": "event.type == 'com.example.test'"}, {"not": {"cel": "true"}}]}]})),
        (none(), none()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_destination_takes_every_way_to_deliver() {
    assert!(not_yet::all().iter().all(|row| row.sentence.contains("needs a cluster")));
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    for (number, (more_http, more)) in (1..).zip(ways_to_deliver()) {
        let mut http = json!({"uri": receiver.url()});
        http.as_object_mut().unwrap().extend(more_http.as_object().unwrap().clone());
        apply(&world, "hook", &http, &more);
        world.condition("hook", "Accepted", "True").await;
        world.condition("hook", "WorkerAvailable", "True").await;
        world.ready("hook").await;
        world.post([number]).await;
        world.delivered("hook", number).await;
    }
}
