//! How the operator does with many objects. A benchmark: `hack/bench-operator.sh` runs it and prints the table; nothing is asserted of times.

use crate::support::world::{OPERATOR, SHOP, World, condition_of};
use crate::support::{Client, client::Post, eventually_within};
use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use posthorn::api::EventDestination;
use posthorn::receiver::{Behaviour, Receiver};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Objects in all if `POSTHORN_BENCH_OBJECTS` says nothing else, and how many of them get events.
const OBJECTS: usize = 1_000;
const BUSY: usize = 50;
/// Pause between two applies: ten a second.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the busy ones are watched.
const WATCHED: Duration = Duration::from_secs(60);

/// When something was first seen of each object.
type Times = Arc<Mutex<HashMap<String, Instant>>>;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark of several minutes"]
async fn a_thousand_objects() {
    let objects = std::env::var("POSTHORN_BENCH_OBJECTS").ok().and_then(|text| text.parse().ok()).unwrap_or(OBJECTS);
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let api = destinations(&world).await;
    let (routed, ready) = (Times::default(), Times::default());
    let watching = tokio::spawn(watch(api.clone(), Arc::clone(&routed), Arc::clone(&ready)));
    let (mark, mut applied) = (world.cluster.mark(), HashMap::new());
    let begun = Instant::now();
    for number in 0..objects {
        let name = format!("d{number}");
        applied.insert(name.clone(), Instant::now());
        api.create(&PostParams::default(), &object(&name, number < BUSY, &receiver.url())).await.unwrap();
        tokio::time::sleep(PAUSE.saturating_mul(number as u32 + 1).saturating_sub(begun.elapsed())).await;
    }
    eventually_within(Duration::from_secs(300), "all are ready", async || {
        let count = ready.lock().unwrap().len();
        if count == objects { Ok(()) } else { Err(format!("{count} of {objects}")) }
    })
    .await;
    println!("applies: {objects} at {:.1}/s", objects as f64 / begun.elapsed().as_secs_f64());
    percentiles("apply to Routed", &applied, &routed);
    percentiles("apply to Ready", &applied, &ready);
    println!("writes of the operator for them: {:?}", world.cluster.writes_since(mark, OPERATOR));
    println!(
        "resident memory of the operator: {}, highest {}",
        memory(world.operator.pid(), "VmRSS"),
        memory(world.operator.pid(), "VmHWM")
    );

    let (mark, cpu) = (world.cluster.mark(), cpu_seconds(world.operator.pid()));
    let mut client = Client::new(world.ingest.addr);
    let begun = Instant::now();
    let mut posted = 0;
    while begun.elapsed() < WATCHED {
        posted += 1;
        client.post_until_accepted(&Post::numbered(posted)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    println!("with {BUSY} busy ({posted} events to each), for {:.0} s:", begun.elapsed().as_secs_f64());
    for (what, count) in world.cluster.writes_since(mark, OPERATOR) {
        println!("  {what}: {:.0} a minute", count as f64 / minutes);
    }
    println!("  CPU of the operator: {:.1} % of a core", (cpu_seconds(world.operator.pid()) - cpu) / begun.elapsed().as_secs_f64() * 100.0);
    println!("  resident memory: {}, highest {}", memory(world.operator.pid(), "VmRSS"), memory(world.operator.pid(), "VmHWM"));
    println!("  delivered: {}", receiver.count());
    watching.abort();
}

async fn destinations(world: &World) -> Api<DynamicObject> {
    Api::namespaced_with(world.cluster.client().await, SHOP, &ApiResource::erase::<EventDestination>(&()))
}

fn object(name: &str, busy: bool, url: &str) -> DynamicObject {
    let event_type = if busy { "com.example.test" } else { "com.example.never" };
    let spec = json!({"isolation": "Shared", "filters": [{"exact": {"type": event_type}}], "sink": {"http": {"uri": url}}});
    let mut object = DynamicObject::new(name, &ApiResource::erase::<EventDestination>(&()));
    object.data = json!({"spec": spec});
    object
}

async fn watch(api: Api<DynamicObject>, routed: Times, ready: Times) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
        let name = object.metadata.name.clone().unwrap_or_default();
        let holds = |kind: &str| condition_of(&object.data, kind)["status"] == "True";
        for (kind, times) in [("Routed", &routed), ("Ready", &ready)] {
            if holds(kind) {
                times.lock().unwrap().entry(name.clone()).or_insert_with(Instant::now);
            }
        }
    }
}

fn percentiles(what: &str, applied: &HashMap<String, Instant>, seen: &Times) {
    let seen = seen.lock().unwrap();
    let mut times: Vec<Duration> = seen.iter().map(|(name, at)| at.saturating_duration_since(applied[name])).collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_millis();
    println!("{what}: p50 {} ms, p99 {} ms, longest {} ms", at(0.5), at(0.99), at(1.0));
}

/// A line of `/proc/PID/status`.
fn memory(pid: u32, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix(field)?.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map_or_else(|| "unknown".to_owned(), |kib| format!("{:.0} MiB", kib as f64 / 1024.0))
}

/// What a process has used of the processors.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
