//! A load generator: so many senders, each with a connection of its own, one request after the other.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static NEXT: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// 1 KiB of JSON.
pub fn body() -> String {
    format!("{{\"order\":\"{}\"}}", "x".repeat(1024 - 12))
}

/// Prints accepted events a second.
pub async fn print(to: SocketAddr, senders: usize, requests: usize) {
    println!("{}", run(to, senders, requests).await);
}

/// Accepted events a second.
pub async fn run(to: SocketAddr, senders: usize, requests: usize) -> f64 {
    let start = u64::from(std::process::id()) << 32;
    let started = Instant::now();
    let tasks: Vec<_> = (0..senders).map(|_| tokio::spawn(send(to, requests, start))).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    (senders * requests) as f64 / started.elapsed().as_secs_f64()
}

async fn send(to: SocketAddr, requests: usize, start: u64) {
    let stream = tokio::net::TcpStream::connect(to).await.expect("a connection");
    stream.set_nodelay(true).expect("a TCP option");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let body = Bytes::from(body());
    for _ in 0..requests {
        let id = start + NEXT.fetch_add(1, Ordering::Relaxed);
        loop {
            sender.ready().await.expect("a connection");
            let answer = sender.send_request(request(id, body.clone())).await.expect("an answer");
            let status = answer.status();
            let text = answer.into_body().collect().await.expect("a body").to_bytes();
            if status == 202 {
                break;
            }
            // refused for now: the same event again
            assert_eq!(status, 503, "{}", String::from_utf8_lossy(&text));
            if REFUSED.fetch_add(1, Ordering::Relaxed) == 0 {
                eprintln!("refused for now: {}", String::from_utf8_lossy(&text));
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

fn request(id: u64, body: Bytes) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", "bench")
        .header("ce-specversion", "1.0")
        .header("ce-id", id.to_string())
        .header("ce-source", "/bench")
        .header("ce-type", "com.example.order.created")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .expect("a request")
}
