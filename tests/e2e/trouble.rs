//! Receivers that are down, that refuse some events, that refuse all.

use crate::support::judge::{Lanes, drained, judge};
use crate::support::load::Load;
use crate::support::{PATIENCE, Scene, eventually_within, holds, release, tools};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every tenth event has this type.
const GARBLED: &str = "com.example.order.garbled";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn retries_are_shown_while_a_receiver_is_down_and_nothing_is_missing_after() {
    let mut scene = Scene::open("retries");
    let mut receiver = scene.receiver("billing", &[]).await;
    scene.destination("billing", json!({}), json!({"delivery": {"retry": -1, "backoffDelay": "200ms", "backoffMax": "2s"}}));
    scene.ready("billing").await;
    receiver.stop();
    let posted = Load::start(&scene.events(200)).finish().await;
    scene.shows("billing", "Retrying").await;
    let retries = eventually_within(PATIENCE, "RETRIES are counted", async || {
        let (retries, backlog) = (scene.column("billing", "RETRIES"), scene.column("billing", "BACKLOG"));
        holds(retries.parse().is_ok_and(|count: u64| count >= 3) && backlog == "200", || format!("{retries} retries, backlog {backlog}"))?;
        Ok(retries)
    })
    .await;
    scene.line.figure("RETRIES shown", &retries);
    assert_eq!(scene.column("billing", "READY"), "True", "a destination that retries stays Ready");

    let begun = Instant::now();
    receiver.run(&[]).await;
    receiver.accepts(1).await;
    scene.line.time("receiver's pod to delivery", begun.elapsed());
    let outcome = judge(&scene, "billing", &posted.accepted, &receiver, Lanes::One, 0).await;
    scene.line.count(outcome.accepted, outcome.repeats);
    scene.shows("billing", "Idle").await;
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn dead_letters_are_listed_by_the_plugin_and_redriven_by_a_command_in_the_cluster() {
    let mut scene = Scene::open("dead-letters");
    let mut receiver = scene.receiver("billing", &["--reject-type", GARBLED]).await;
    scene.destination("billing", json!({}), json!({"delivery": {"retry": 0}}));
    scene.ready("billing").await;
    let posted = Load::start(&scene.events(100)).finish().await;
    judge(&scene, "billing", &posted.accepted, &receiver, Lanes::One, 0).await;
    eventually_within(PATIENCE, "DEAD is 10", async || {
        let dead = scene.column("billing", "DEAD");
        holds(dead == "10", || dead)
    })
    .await;

    let namespace = scene.namespace.clone();
    let list: Value = serde_json::from_str(&tools::plugin(&["dead", "list", "billing", "-n", &namespace, "-o", "json"])).unwrap();
    let letters = list["items"].as_array().unwrap();
    assert_eq!(letters.len(), 10, "{list}");
    let sequence = letters[0]["sequence"].as_str().unwrap();
    let shown = tools::plugin(&["dead", "show", "billing", sequence, "-n", &namespace]);
    assert!(shown.contains("422"), "{shown}");
    receiver.restart(&[]).await;
    // one that comes before the node knows where the new pod is dies again
    eventually_within(PATIENCE, "all dead letters are delivered", async || {
        release::posthorn(&["dead", "redrive", "billing", "-n", &namespace, "--yes"]);
        let stored = drained(&scene, "billing").await;
        holds(stored.dead.is_empty(), || format!("{} are dead again", stored.dead.len()))
    })
    .await;
    let outcome = judge(&scene, "billing", &posted.accepted, &receiver, Lanes::One, 0).await;
    scene.line.count(outcome.accepted, outcome.repeats);
    assert_eq!(outcome.accepted, 100);
    let redriven = receiver.seen().iter().filter(|seen| seen.accepted() && seen.header("posthorn-redriven").is_some()).count();
    assert_eq!(redriven, 10, "those that were dead say so");
    scene.line.figure("redriven", "10");
    scene.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn a_halted_destination_keeps_its_backlog_and_goes_on_when_a_person_says_so() {
    let mut scene = Scene::open("halt");
    let mut receiver = scene.receiver("billing", &["--status", "401"]).await;
    scene.destination("billing", json!({}), json!({}));
    scene.ready("billing").await;
    let posted = Load::start(&scene.events(100)).finish().await;
    scene.shows("billing", "Halted").await;
    assert_eq!(scene.column("billing", "READY"), "False");
    eventually_within(PATIENCE, "the backlog is shown", async || {
        let backlog = scene.column("billing", "BACKLOG");
        holds(backlog == "100", || backlog)
    })
    .await;
    eventually_within(PATIENCE, "an Event says so", async || {
        let told = tools::ok(&["get", "events", "-n", &scene.namespace, "--field-selector", "reason=Halted", "-o", "name"]);
        holds(!told.is_empty(), || "none does".into())
    })
    .await;

    receiver.restart(&[]).await;
    // the node may not know yet where the new pod is: then the retry fails, and is asked for again
    let begun = Instant::now();
    eventually_within(PATIENCE, "a retry that was asked for succeeds", async || {
        scene.ask_for_retry("billing");
        tokio::time::sleep(Duration::from_secs(1)).await;
        holds(receiver.seen().iter().any(|seen| seen.accepted()), || scene.value("billing", "{.status.head}"))
    })
    .await;
    scene.line.time("retry asked to delivery", begun.elapsed());
    let outcome = judge(&scene, "billing", &posted.accepted, &receiver, Lanes::One, 0).await;
    assert_eq!(outcome.accepted, 100);
    scene.line.count(outcome.accepted, outcome.repeats);
    scene.shows("billing", "Idle").await;
    scene.end();
}
