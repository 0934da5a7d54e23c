//! Pods of each role are taken away under load: nothing that was accepted is lost, order is kept, few events are repeated.

use crate::support::judge::{Lanes, judge, refused_nothing};
use crate::support::load::Load;
use crate::support::{Receiver, Scene, release};
use serde_json::json;
use std::time::{Duration, Instant};

/// How often the pods of the role are taken away.
const ROUNDS: usize = 2;
/// Most events of one destination that one kill may repeat: what its worker has delivered and not settled yet.
const WINDOW: usize = 16;
/// Accepted before each kill and after the last.
const EVENTS: usize = 300;

/// A pool and a worker of its own.
const WORKERS: usize = 2;

/// Three destinations under load.
struct Stage {
    scene: Scene,
    receivers: Vec<(&'static str, Lanes, Receiver)>,
}

impl Stage {
    async fn set(name: &str) -> Stage {
        let scene = Scene::open(name);
        let mut receivers = Vec::new();
        let per_key = json!({"isolation": "Shared", "ordering": {"mode": "PerKey", "keyAttribute": "source"}});
        for (name, lanes, spec) in [
            ("shared", Lanes::One, json!({"isolation": "Shared"})),
            ("dedicated", Lanes::One, json!({"isolation": "Dedicated"})),
            ("per-key", Lanes::BySource, per_key),
        ] {
            receivers.push((name, lanes, scene.receiver(name, &[]).await));
            scene.destination(name, json!({}), spec);
        }
        for (name, ..) in &receivers {
            scene.ready(name).await;
        }
        Stage { scene, receivers }
    }

    /// Takes the pods of a role away, again and again, and judges what came out.
    async fn survives(mut self, role: &str) {
        // of workers that of another scene may be on its way out
        let count = if role == "worker" { WORKERS } else { release::pods(role).len() };
        let load = Load::start(&self.scene.stream());
        load.more(EVENTS).await;
        let mut away = Duration::ZERO;
        for _ in 0..ROUNDS {
            let killed = Instant::now();
            release::kill(role);
            load.more(EVENTS).await;
            release::ready(role, count).await;
            away = away.max(killed.elapsed());
        }
        load.more(EVENTS).await;
        let posted = load.stop().await;
        let line = &mut self.scene.line;
        line.figure("pods", &format!("{count}x{ROUNDS}"));
        line.time("all ready again", away);
        line.time("longest time without a 202", posted.longest_gap);
        let unreached: usize = posted.refusals.unreached.values().sum();
        line.figure("unreached", &unreached.to_string());
        if role != "redis" {
            refused_nothing(&posted);
        } else {
            let refused: usize = posted.refusals.answered.values().sum();
            self.scene.line.figure("503", &refused.to_string());
        }
        let mut longest = Duration::ZERO;
        for (name, lanes, receiver) in &self.receivers {
            let outcome = judge(&self.scene, name, &posted.accepted, receiver, *lanes, ROUNDS).await;
            assert!(outcome.repeats <= ROUNDS * WINDOW, "{name}: {} repeats", outcome.repeats);
            self.scene.line.count(outcome.accepted, outcome.repeats);
            longest = longest.max(outcome.longest_gap);
        }
        self.scene.line.time("longest time without a delivery", longest);
        self.scene.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn pods_of_ingest_are_killed() {
    Stage::set("kill-ingest").await.survives("ingest").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn pods_of_the_router_are_killed() {
    Stage::set("kill-router").await.survives("router").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn pods_of_workers_are_killed() {
    Stage::set("kill-worker").await.survives("worker").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn the_pod_of_redis_is_killed() {
    Stage::set("kill-redis").await.survives("redis").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn pods_of_the_operator_are_killed_and_a_destination_made_meanwhile_becomes_ready() {
    let mut stage = Stage::set("kill-operator").await;
    release::kill("operator");
    let applied = Instant::now();
    let late = stage.scene.receiver("late", &[]).await;
    stage.scene.destination("late", json!({}), json!({}));
    stage.scene.ready("late").await;
    stage.scene.line.time("a new destination Ready after the kill", applied.elapsed());
    release::ready("operator", release::pods("operator").len()).await;
    stage.receivers.push(("late", Lanes::One, late));
    stage.survives("operator").await;
}
