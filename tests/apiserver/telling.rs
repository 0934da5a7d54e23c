//! How a destination does is told on its status and by Events, to a real API server, from a real Redis with a real router and worker.

mod scene;

use crate::support::client::Post;
use crate::support::{Client, eventually, eventually::holds};
use posthorn::bus::routing::{self, Updated};
use posthorn::operator::annotations::{self, Asked, RETRY, SKIP};
use posthorn::operator::board::Outcome;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use scene::Scene;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

async fn post(client: &mut Client, numbers: Range<u64>) {
    for number in numbers {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_told_from_its_beginning_to_its_trouble_and_back() {
    let scene = Scene::start("told").await;
    let receiver = Receiver::start(Behaviour::always(Answer::Status(200))).await.unwrap();
    let uid = scene.object("a");
    let plan = format!("{uid} {}", receiver.url());
    scene.apply("a", &uid, &plan).await;
    scene.condition("a", "Routed", "True/Routed").await;
    scene.condition("a", "WorkerAvailable", "Unknown/Pending").await;
    scene.condition("a", "StorageSafe", "True/Safe").await;
    let status = scene.status("a");
    assert_eq!((&status["observedGeneration"], &status["worker"]["name"]), (&1.into(), &"w".into()));
    let start = status["startSequence"].clone();
    assert!(start.is_string());

    scene.pieces.plan(&uid, &receiver.url());
    let (ingest, _router, _worker) = (scene.pieces.ingest().await, scene.pieces.router().await, scene.pieces.worker().await);
    scene.cluster.ok(&["wait", "-n", &scene.namespace, "--for=condition=Ready", "--timeout=30s", "evd/a"]);
    let mut client = Client::new(ingest.addr);
    post(&mut client, 0..5).await;
    scene.value("a", "{.status.delivered}", "5").await;
    scene.value("a", "{.status.head}", "").await;

    receiver.set_behaviour(Behaviour::always(Answer::Status(503)));
    post(&mut client, 5..6).await;
    scene.condition("a", "Delivering", "False/Retrying").await;
    scene.value("a", "{.status.head.lastStatusCode}", "503").await;
    scene.condition("a", "Ready", "True/Ready").await;
    receiver.set_behaviour(Behaviour::always(Answer::Status(200)));
    scene.value("a", "{.status.delivered}/{.status.backlog}/{.status.head}", "6/0/").await;
    assert_eq!(scene.status("a")["startSequence"], start);
    eventually("the Event is there", async || {
        let found = scene.events_of("a");
        let ready = ("Normal".to_owned(), "Ready".to_owned(), "events go to https://a.example/h".to_owned());
        holds(found == [ready], || format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_of_an_object_that_does_not_change() {
    let scene = Scene::start("idle").await;
    let (a, b) = (scene.object("a"), scene.object("b"));
    scene.apply("a", &a, "p").await;
    scene.condition("a", "Routed", "True/Routed").await;
    scene.condition("a", "StorageSafe", "True/Safe").await;
    let version = || scene.cluster.value(&scene.namespace, "evd/a", "{.metadata.resourceVersion}");
    let before = version();
    scene.tell("a", &a, "p");
    scene.board.told(&a);
    scene.board.look_at_all(&["default".to_owned()]);
    scene.board.worker_changed("w");
    scene.apply("b", &b, "p").await;
    scene.condition("b", "Routed", "True/Routed").await;
    assert_eq!(version(), before);
    eventually("both are counted", async || holds(scene.metrics.status_writes.get() >= 2, || "not yet".into())).await;
    *scene.trouble.lock().unwrap() = Some("0/1 nodes are available".into());
    scene.board.worker_changed("w");
    scene.condition("a", "WorkerAvailable", "False/WorkerUnavailable").await;
}

#[tokio::test]
async fn a_status_does_not_stay_on_another_object_of_that_name() {
    let scene = Scene::start("again").await;
    let old = scene.object("a");
    scene.cluster.delete(&["evd", "a", "-n", &scene.namespace]);
    let new = scene.object("a");
    assert_ne!(old, new);
    scene.apply("a", &old, "p").await;
    eventually("the mistake is noticed", async || holds(scene.failures() == 1, || "not yet".into())).await;
    let status = scene.status("a");
    assert_eq!((&status["startSequence"], &status["backlog"]), (&Value::Null, &Value::Null), "{status}");
    scene.board.remove(&scene.key("a"));
    routing::delete(&scene.link().await, "default", &old, &format!("{}/a", scene.namespace)).await.unwrap();
    scene.apply("a", &new, "p").await;
    scene.condition("a", "Routed", "True/Routed").await;
}

#[tokio::test]
async fn a_redis_that_goes_away_and_comes_back_is_told_and_a_lost_route_is_repaired() {
    let mut scene = Scene::start("away").await;
    let uid = scene.object("a");
    scene.apply("a", &uid, "p").await;
    scene.condition("a", "StorageSafe", "True/Safe").await;
    scene.pieces.redis.kill9();
    scene.condition("a", "StorageSafe", "Unknown/RedisUnavailable").await;
    scene.condition("a", "Ready", "Unknown/RedisUnavailable").await;
    scene.pieces.redis.restart();
    scene.condition("a", "StorageSafe", "True/Safe").await;
    scene.condition("a", "Routed", "True/Routed").await;
    scene.pieces.redis.cli(&["FLUSHALL"]);
    scene.board.look_at_all(&["default".to_owned()]);
    assert_eq!(scene.board.next_repair().await, scene.key("a"));
    scene.condition("a", "Routed", "False/RouteMissing").await;
    scene.apply("a", &uid, "p").await;
    scene.condition("a", "Routed", "True/Routed").await;
}

#[tokio::test]
async fn a_refused_spec_is_told_and_what_ran_goes_on() {
    let scene = Scene::start("refused").await;
    let uid = scene.object("a");
    scene.apply("a", &uid, "p").await;
    scene.condition("a", "Accepted", "True/Accepted").await;
    scene.outcome("a", &uid, Outcome::Rejected { reason: "NotImplemented", message: "spec.ordering.mode: not yet".into() });
    scene.condition("a", "Accepted", "False/NotImplemented").await;
    scene.condition("a", "Ready", "False/NotImplemented").await;
    scene.condition("a", "Routed", "True/Routed").await;
    eventually("the Event is there", async || {
        let found = scene.events_of("a");
        let rejected = ("Warning".to_owned(), "Rejected".to_owned(), "NotImplemented: spec.ordering.mode: not yet".to_owned());
        holds(found == [rejected], || format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn what_an_annotation_asks_for_is_done_once_and_told() {
    let scene = Scene::start("asked").await;
    let uid = scene.object("a");
    scene.apply("a", &uid, "p").await;
    let (ingest, _router) = (scene.pieces.ingest().await, scene.pieces.router().await);
    post(&mut Client::new(ingest.addr), 0..2).await;
    scene.value("a", "{.status.backlog}", "2").await;
    let head = scene.status("a")["head"]["sequence"].as_str().unwrap().to_owned();
    let (link, key) = (scene.link().await, scene.key("a"));
    let asked = Asked { link: &link, bus: "default", key: &key, uid: &uid, events: &scene.events };
    let handle = async |annotation: &str, value: &str| {
        // each pass of reconcile comes by here
        for _ in 0..3 {
            annotations::handle(&asked, &BTreeMap::from([(annotation.to_owned(), value.to_owned())])).await.unwrap();
        }
    };
    handle(RETRY, "2026-01-01T00:00:00Z").await;
    handle(SKIP, "nonsense").await;
    handle(SKIP, "0000000000000001-0000000000").await;
    handle(SKIP, &head).await;
    handle(RETRY, "").await;
    assert_eq!(scene.pieces.redis.cli(&["XLEN", &format!("ph:{{default}}:dead:{uid}")]), "1");
    let told = || {
        let mut told: Vec<_> = scene.events_of("a").into_iter().map(|(_, reason, note)| (reason, note)).collect();
        told.sort();
        told
    };
    eventually("all Events are there", async || {
        let told = told();
        let reasons: Vec<&str> = told.iter().map(|(reason, _)| reason.as_str()).collect();
        holds(reasons == ["DeadLettered", "RetryRequested", "SkipRefused", "SkipRefused", "SkipRequested", "Skipped"], || {
            format!("{told:?}")
        })
    })
    .await;
    let told = told();
    assert!(told[2].1.contains(&head) && told[3].1.contains(&head), "they tell the present head: {told:?}");
    assert!(told[5].1.contains(&head), "{told:?}");
    let route = scene.route("a");
    assert_eq!(routing::update(&link, "default", &uid, &route).await.unwrap(), Updated::Done);
}

#[tokio::test]
async fn events_of_a_namespace_that_ends_disturb_nobody() {
    let scene = Scene::start("ending").await;
    let uid = scene.object("a");
    scene.apply("a", &uid, "p").await;
    scene.condition("a", "Routed", "True/Routed").await;
    scene.cluster.ok(&["delete", "namespace", &scene.namespace, "--wait=false"]);
    scene.outcome("a", &uid, Outcome::Rejected { reason: "NotImplemented", message: "not yet".into() });
    eventually("the Event is refused", async || holds(scene.metrics.event_failures.get() == 1, || "not yet".into())).await;
    scene.condition("a", "Accepted", "False/NotImplemented").await;
}
