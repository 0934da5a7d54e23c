//! One Redis may serve several clusters: a name belongs to who has it.

use crate::support::World;
use crate::support::it::pieces::route;
use crate::support::world::SHOP;
use posthorn::bus::routing::{self, Start};
use posthorn::plan::Route;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_cluster_has_is_not_taken_from_it() {
    let world = World::start().await;
    let theirs =
        Route { owner: "operator/another-cluster/posthorn-system".into(), namespace: SHOP.into(), ..route("billing", 1, Vec::new()) };
    let link = world.pieces.link().await;
    routing::create(&link, "default", "theirs", &theirs, Start::Latest).await.unwrap();

    world.apply("billing", "http://127.0.0.1:9/", "isolation: Shared");
    let found = world.reason("billing", "Routed", "NameTaken").await;
    assert!(found["message"].as_str().unwrap().contains("another cluster"), "{found}");
    assert_eq!(world.condition("billing", "Ready", "False").await, "NameTaken");
    let held = routing::routes(&link, "default").await.unwrap();
    assert_eq!(held.into_iter().collect::<Vec<_>>(), [("theirs".to_owned(), theirs.clone())]);

    // it is free again
    routing::delete(&link, "default", "theirs", &format!("{SHOP}/billing")).await.unwrap();
    world.pieces.redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    world.ready("billing").await;

    // and one that lost the race can always be deleted, without harm to who has the name
    let (mine, link) = (world.uid("billing"), world.pieces.link().await);
    routing::delete(&link, "default", &mine, &format!("{SHOP}/billing")).await.unwrap();
    routing::create(&link, "default", "theirs", &theirs, Start::Latest).await.unwrap();
    world.cluster.ok(&["delete", "evd", "billing", "-n", SHOP, "--timeout=60s"]);
    assert_eq!(routing::routes(&link, "default").await.unwrap().keys().collect::<Vec<_>>(), ["theirs"]);
}
