//! What belongs to nobody is removed, if it is ours and the API server itself says that its object is gone.

use super::{fill, forgotten, traces_in_redis};
use crate::support::World;
use crate::support::eventually::{eventually_within, holds};
use crate::support::world::{OPERATOR, RELEASE, SHOP};
use posthorn::bus::routing::{self, Created, Start};
use posthorn::plan::Route;
use serde_json::{Value, json};

/// Makes a destination in Redis that no object stands for.
async fn plant(world: &World, uid: &str, owner: &str) {
    let held: Value = serde_json::from_str(&world.pieces.redis.cli(&["HGET", "ph:{default}:routes", &world.uid("billing")])).unwrap();
    let route: Route = serde_json::from_value(held).unwrap();
    let owner = if owner.is_empty() { route.owner.clone() } else { owner.to_owned() };
    let route = Route { owner, name: uid.to_owned(), ..route };
    let made = routing::create(&world.pieces.link().await, "default", uid, &route, Start::Latest).await.unwrap();
    assert!(matches!(made, Created::New(_)), "{made:?}");
    fill(&world.pieces.redis, uid, 10);
}

/// The operator looks for orphans at once on a new connection.
fn cut_connections(world: &World) {
    world.pieces.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
}

/// An object of the release namespace like this one, but for a destination that is gone.
fn like(object: &Value, name: &str, uid: &str) -> Value {
    let mut labels = object["metadata"]["labels"].clone();
    labels["posthorn.dev/destination-uid"] = json!(uid);
    labels["posthorn.dev/destination-name"] = json!("ghost");
    let mut copy = object.clone();
    copy["metadata"] = json!({"name": name, "namespace": RELEASE, "labels": labels});
    copy.as_object_mut().unwrap().remove("status");
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_of_ours_are_removed_and_those_of_others_stay() {
    let world = World::start().await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Dedicated");
    world.ready("billing").await;
    for (uid, owner) in [("ghost", ""), ("foreign", "operator/another-cluster/posthorn-system"), ("local", "standalone")] {
        plant(&world, uid, owner).await;
    }
    let worker = world.object("billing")["status"]["worker"]["name"].as_str().unwrap().to_owned();
    for kind in ["secret", "deployment"] {
        let object = world.cluster.json(&["get", kind, &worker, "-n", RELEASE]);
        world.cluster.create(&like(&object, "posthorn-ghost", "ghost-worker"));
    }
    let mark = world.cluster.mark();
    cut_connections(&world);
    forgotten(&world, "ghost").await;
    let asked = world.cluster.requests_since(mark);
    let direct = |name: &str| {
        asked.iter().any(|it| it.user() == OPERATOR && it.verb == "get" && it.resource() == "eventdestinations" && it.name() == name)
    };
    assert!(direct("ghost"), "the API server itself was asked");
    assert!(!direct("foreign") && !direct("billing"));
    assert!(!traces_in_redis(&world.pieces.redis, "foreign").is_empty() && !traces_in_redis(&world.pieces.redis, "local").is_empty());
    assert_eq!(world.cluster.json(&["get", "secret", &worker, "-n", RELEASE])["metadata"]["name"], json!(worker));
    world.ready("billing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_someone_changes_in_redis_is_put_right() {
    let world = World::start().await;
    world.apply("billing", "http://127.0.0.1:9/", "isolation: Shared");
    world.ready("billing").await;
    world.post(1..=3).await;
    world.status("billing", "backlog", &json!(3)).await;
    let (redis, uid) = (&world.pieces.redis, world.uid("billing"));
    let route = || redis.cli(&["HGET", "ph:{default}:routes", &uid]);
    let right = route();
    let is_right = async |what: &str| {
        eventually_within(super::PATIENCE, &format!("the route is right after it was {what}"), async || {
            let found = route();
            holds(found == right, || format!("{found}, operator: {}", world.operator.log()))
        })
        .await;
    };
    redis.cli(&["HDEL", "ph:{default}:routes", &uid]);
    is_right("deleted").await;
    world.ready("billing").await;
    for (what, changed) in [
        ("changed", right.replace("\"open\"", "\"closed\"").replace("http://127.0.0.1:9", "http://elsewhere.example")),
        ("of a later revision", right.replace("\"rev\":1", "\"rev\":1000")),
        ("not a route", "{".to_owned()),
    ] {
        assert_ne!(changed, right, "{what}");
        redis.cli(&["HSET", "ph:{default}:routes", &uid, &changed]);
        is_right(what).await;
    }
    // its name, and whom it belongs to
    redis.cli(&["DEL", "ph:{default}:names"]);
    cut_connections(&world);
    eventually_within(super::PATIENCE, "the name is there", async || {
        let found = redis.cli(&["HGET", "ph:{default}:names", &format!("{SHOP}/billing")]);
        holds(found == uid, || found)
    })
    .await;
    assert_eq!(world.stored("billing").queued.len(), 3, "nothing of its queue was touched");
    world.ready("billing").await;
}
