//! An operator that dies at each step of a reconcile, and its successor.

use crate::support::it::Client;
use crate::support::it::client::Post;
use crate::support::it::eventually::holds;
use crate::support::world::{RELEASE, SHOP, World};
use crate::support::{History, eventually};
use posthorn::event::Sequence;
use posthorn::operator::workers::build::SELECTOR;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;

/// Steps of a reconcile that creates.
const CREATE: [&str; 5] = ["finalizer", "dereferenced", "routed", "worker", "outcome"];

struct Scene {
    world: World,
    receiver: Receiver,
    client: Client,
    posted: u64,
}

impl Scene {
    async fn start() -> Scene {
        let world = World::start().await;
        let (receiver, client) = (Receiver::start(Behaviour::ok()).await.unwrap(), Client::new(world.ingest.addr));
        Scene { world, receiver, client, posted: 0 }
    }

    async fn post(&mut self, count: u64) {
        for _ in 0..count {
            self.posted += 1;
            self.client.post_until_accepted(&Post::numbered(self.posted)).await;
        }
    }

    /// While no operator is there something is changed; the next one dies at a step of it, and events come in meanwhile.
    async fn dies_at(&mut self, step: &str, name: &str, change: impl FnOnce(&World)) {
        self.world.operator.kill9();
        self.world.release_lease();
        change(&self.world);
        self.world.operator = self.world.another_operator(&format!("operator.{step}:{name}=kill"));
        let status = self.world.operator.ended().await;
        assert_eq!(status.code(), None, "it was killed: {}", self.world.operator.log());
        self.post(2).await;
    }

    /// A good operator takes over.
    async fn successor(&mut self) {
        self.world.release_lease();
        self.world.operator = self.world.another_operator("");
        self.world.operator.line("leading").await;
    }

    /// Where a destination began, in Redis.
    async fn start_of(&self, name: &str) -> Option<Sequence> {
        self.world.snapshot(&self.world.uid(name)).await.start
    }

    /// All events since a destination began came to its path, in order, once.
    async fn kept(&self, name: &str) {
        let start = self.start_of(name).await.unwrap();
        let accepted: Vec<_> = self.client.accepted.iter().filter(|event| event.sequence > start).cloned().collect();
        self.world.delivered(name, accepted.len() as u64).await;
        let path = format!("/{name}");
        let log: Vec<_> = self.receiver.log().into_iter().filter(|seen| seen.path == path).collect();
        History::strict(name, &accepted, &log, &self.world.stored(name)).assert_kept();
    }

    fn apply(&self, name: &str, more: &str) -> impl FnOnce(&World) + use<> {
        let (name, url, more) = (name.to_owned(), format!("{}/{name}", self.receiver.url().trim_end_matches('/')), more.to_owned());
        move |world| drop(world.apply(&name, &url, &more))
    }

    /// The UIDs that Redis holds a queue of.
    fn queues(&self) -> Vec<String> {
        let prefix = "ph:{default}:q:";
        self.world.pieces.redis.cli(&["KEYS", "ph:*:q:*"]).lines().filter_map(|key| Some(key.strip_prefix(prefix)?.to_owned())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_an_operator_that_died_at_any_step_finishes_what_it_began() {
    let mut scene = Scene::start().await;
    for (number, step) in CREATE.into_iter().enumerate() {
        let (name, isolation) = (format!("at-{step}"), if number % 2 == 0 { "isolation: Dedicated" } else { "isolation: Shared" });
        scene.dies_at(step, &name, scene.apply(&name, isolation)).await;
        let began = scene.start_of(&name).await;
        assert_eq!(began.is_some(), ["routed", "worker", "outcome"].contains(&step), "{step}");
        scene.successor().await;
        scene.world.ready(&name).await;
        scene.post(2).await;
        scene.kept(&name).await;
        let start = scene.start_of(&name).await.unwrap();
        assert!(began.is_none_or(|began| began == start), "{step}: it begins where it began");
        assert_eq!(scene.world.object(&name)["status"]["startSequence"], json!(start.padded()));
        if step == "finalizer" {
            continue;
        }
        let other = format!("{isolation}, filters: [{{prefix: {{type: com.example.}}}}]");
        scene.dies_at(step, &name, scene.apply(&name, &other)).await;
        scene.successor().await;
        scene.world.ready(&name).await;
        scene.post(2).await;
        scene.kept(&name).await;
        assert_eq!(scene.start_of(&name).await, Some(start), "{step}: an edit moves nothing");
    }
    assert_eq!(scene.queues().len(), CREATE.len(), "{:?}", scene.queues());
    for step in CREATE {
        let name = format!("at-{step}");
        if ["routed", "worker"].contains(&step) {
            scene.dies_at("cleaned", &name, |world| world.cluster.delete(&["evd", &name, "-n", SHOP, "--wait=false"])).await;
            assert!(!scene.queues().contains(&scene.world.uid(&name)), "it was cleaned up before");
            scene.successor().await;
        }
        scene.world.cluster.delete(&["evd", &name, "-n", SHOP]);
    }
    eventually("nothing is left", async || {
        let world = &scene.world;
        let objects = world.cluster.ok(&["get", "deployments,secrets", "-n", RELEASE, "-l", SELECTOR, "-o", "name"]);
        let keys = world.pieces.redis.cli(&["KEYS", "ph:*:[a-z]*:*-*-*-*-*"]);
        holds(objects.trim().is_empty() && keys.trim().is_empty(), || format!("{objects}\n{keys}"))
    })
    .await;
}
