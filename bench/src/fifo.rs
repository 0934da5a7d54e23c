//! Delivery in order: a backlog of 1 KiB events to one destination and to ten, beside a bare loop of requests.

use crate::process::{free, number, on, own, redis, scratch, standalone, start, wait_for};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const EVENTS: usize = 20_000;

/// P1: one request in progress; client on core 1, sink (and Redis) on core 0.
pub async fn one_destination(rounds: usize) {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push((ours("1", "0", 1).await, raw("1", "0", 1)));
    }
    crate::line("P1", "FIFO to one destination / raw reqwest loop (split)", &pairs);
}

/// P3: ten requests in progress; nothing pinned.
pub async fn ten_destinations(rounds: usize) {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push((ours("0,1", "0,1", 10).await, raw("0,1", "0,1", 10)));
    }
    crate::line("P3", "FIFO to ten destinations / raw reqwest, 10 in flight (free)", &pairs);
}

fn raw(client: &str, sink: &str, tasks: usize) -> f64 {
    let address = free();
    let mut command = on(sink, &own());
    command.args(["sink", &address.to_string()]);
    let _sink = start(command);
    wait_for(address);
    let mut command = on(client, &own());
    command.args(["raw", &address.to_string(), &tasks.to_string(), &(EVENTS * 2 / tasks).to_string()]);
    number(command)
}

async fn ours(client: &str, sink: &str, destinations: usize) -> f64 {
    let directory = scratch();
    let folder = directory.join("destinations");
    std::fs::create_dir_all(&folder).expect("a directory");
    let address = free();
    let mut command = on(sink, &own());
    command.args(["sink", &address.to_string()]);
    let _sink = start(command);
    wait_for(address);
    let (_redis, url) = redis(sink, "everysec", &directory);
    std::fs::write(folder.join("posthorn.yaml"), "buses: {default: {durability: {fsync: EverySecond}}}\n").expect("a file");
    write(&folder, address, destinations, true);
    let (_posthorn, listen) = standalone(client, &folder, &url, &directory);
    crate::load::run(listen, 64, EVENTS / destinations / 64 + 1).await;
    let each = (EVENTS / destinations / 64 + 1) * 64;
    // what is accepted is in the queues a moment later
    tokio::time::sleep(Duration::from_secs(2)).await;
    write(&folder, address, destinations, false);
    let rate = drained(address, destinations, each).await;
    std::fs::remove_dir_all(&directory).expect("our own directory");
    rate
}

fn write(folder: &Path, sink: SocketAddr, destinations: usize, suspend: bool) {
    let text: String = (0..destinations)
        .map(|index| {
            format!(
                "---\napiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata: {{name: d{index}}}\nspec:\n  suspend: {suspend}\n  \
                 sink: {{http: {{uri: 'http://{sink}/d{index}'}}}}\n"
            )
        })
        .collect();
    let new = folder.join(".new");
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(new, folder.join("destinations.yaml")).expect("a file");
}

/// Deliveries a second, all destinations together, from the first to the last.
async fn drained(sink: SocketAddr, destinations: usize, each: usize) -> f64 {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let started = Instant::now();
    loop {
        let (mut all, mut longest) = (0, 0.0_f64);
        for index in 0..destinations {
            let answer = client.get(format!("http://{sink}/d{index}")).send().await.expect("an answer").text().await.expect("a body");
            let (count, seconds) = answer.split_once(' ').expect("two numbers");
            all += count.parse::<usize>().expect("a number");
            longest = longest.max(seconds.parse().expect("a number"));
        }
        if all >= destinations * each {
            return all as f64 / longest;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{all} of {} were delivered", destinations * each);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
