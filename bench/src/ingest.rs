//! POST to 202 beside a server that stores nothing.

use crate::process::{free, number, on, own, redis, scratch, start, wait_for};
use crate::sink::NoDelay;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use std::net::SocketAddr;

const SENDERS: usize = 64;
const REQUESTS: usize = 1000;

/// P5: 64 senders, the append-only file synced every second; nothing pinned.
pub async fn everysec(rounds: usize) {
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push((ours(), ceiling()));
    }
    crate::line("P5", "ingest, 64 senders, everysec / axum that stores nothing", &pairs);
}

fn ours() -> f64 {
    let directory = scratch();
    let config = directory.join("posthorn.yaml");
    std::fs::write(&config, "buses: {default: {durability: {fsync: EverySecond}}}\n").expect("a file");
    let (_redis, url) = redis("0,1", "everysec", &directory);
    let (_posthorn, listen) = crate::process::ingest("0,1", &config, &url);
    let rate = load(listen);
    std::fs::remove_dir_all(&directory).expect("our own directory");
    rate
}

fn ceiling() -> f64 {
    let listen = free();
    let mut command = on("0,1", &own());
    command.args(["no-store", &listen.to_string()]);
    let _server = start(command);
    wait_for(listen);
    load(listen)
}

fn load(to: SocketAddr) -> f64 {
    let mut command = on("0,1", &own());
    command.args(["load", &to.to_string(), &SENDERS.to_string(), &REQUESTS.to_string()]);
    number(command)
}

/// An axum server that reads the body and answers 202.
pub async fn no_store(listen: SocketAddr) {
    let app = Router::new().route("/", post(|_body: Bytes| async { (StatusCode::ACCEPTED, "{}") }));
    let listener = tokio::net::TcpListener::bind(listen).await.expect("the port is free");
    axum::serve(NoDelay(listener), app).await.expect("serving");
}
