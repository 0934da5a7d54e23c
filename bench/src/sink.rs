//! A receiver that answers 204 and counts: POST /PATH is an event, GET /PATH says how many came and how fast.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

type Seen = Arc<Mutex<HashMap<String, (usize, Instant, Instant)>>>;

pub async fn serve(listen: SocketAddr) {
    let seen = Seen::default();
    let app = Router::new().route("/{path}", post(take).get(tell).delete(forget)).with_state(seen);
    let listener = tokio::net::TcpListener::bind(listen).await.expect("the port is free");
    axum::serve(NoDelay(listener), app).await.expect("serving");
}

async fn take(State(seen): State<Seen>, Path(path): Path<String>, _body: Bytes) -> StatusCode {
    let now = Instant::now();
    let mut seen = seen.lock().expect("no panic while held");
    let entry = seen.entry(path).or_insert((0, now, now));
    entry.0 += 1;
    entry.2 = now;
    StatusCode::NO_CONTENT
}

/// Count, seconds from the first to the last.
async fn tell(State(seen): State<Seen>, Path(path): Path<String>) -> String {
    match seen.lock().expect("no panic while held").get(&path) {
        Some((count, first, last)) => format!("{count} {}", last.duration_since(*first).as_secs_f64()),
        None => "0 0".to_owned(),
    }
}

async fn forget(State(seen): State<Seen>) -> StatusCode {
    seen.lock().expect("no panic while held").clear();
    StatusCode::NO_CONTENT
}

/// axum's listener leaves Nagle on.
pub struct NoDelay(pub tokio::net::TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Ok((stream, peer)) = self.0.accept().await {
                stream.set_nodelay(true).expect("a TCP option");
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
