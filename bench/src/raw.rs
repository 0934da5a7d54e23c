//! The ceiling of delivery: a loop of reqwest POSTs, so many at once, nothing else.

use std::net::SocketAddr;
use std::time::Instant;

/// Prints requests a second.
pub async fn run(to: SocketAddr, tasks: usize, requests: usize) {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().expect("a client");
    let body = bytes::Bytes::from(crate::load::body());
    let started = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (client, body) = (client.clone(), body.clone());
            let url = format!("http://{to}/raw{task}");
            tokio::spawn(async move {
                for _ in 0..requests {
                    let answer = client.post(&url).header("content-type", "application/json").body(body.clone()).send().await.expect("an answer");
                    assert!(answer.status().is_success());
                }
            })
        })
        .collect();
    let total = tasks.len() * requests;
    for task in tasks {
        task.await.expect("no panic");
    }
    println!("{}", total as f64 / started.elapsed().as_secs_f64());
}
