//! Ingest over real sockets and a real redis-server of its own.

mod answers;
mod deadlines;
mod faults;
mod http2;
mod tls;

use super::{IngestConfig, serve};
use crate::admin::{Metrics, Readiness};
use crate::bus::Servers;
use crate::bus::append::Appender;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longest wait for anything that should happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A small event, by a client of HTTP/2.
fn event_to(uri: String, id: u32) -> Request<Full<Bytes>> {
    Request::post(uri)
        .header("ce-specversion", "1.0")
        .header("ce-id", id.to_string())
        .header("ce-source", "/s")
        .header("ce-type", "t")
        .body(Full::new(Bytes::from_static(b"data")))
        .unwrap()
}

/// A private redis-server on a Unix socket; ends with the value.
struct Redis {
    dir: tempfile::TempDir,
    child: Child,
}

impl Redis {
    fn start() -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Redis { dir, child }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn set(&self, name: &str, value: &str) {
        let done = Command::new("redis-cli").args(["-s", "redis.sock", "CONFIG", "SET", name, value]).current_dir(self.dir.path()).output();
        assert_eq!(done.unwrap().stdout, b"OK\n");
    }

    fn url(dir: &Path) -> crate::bus::RedisUrl {
        format!("unix://{}/redis.sock", dir.display()).parse().unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An ingest that runs in this process.
struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

/// Deadlines that no test waits for.
fn patient() -> IngestConfig {
    IngestConfig { first_byte_timeout: PATIENCE, header_timeout: PATIENCE, body_grace: PATIENCE, ..IngestConfig::default() }
}

async fn start(config: IngestConfig, settings: Settings, redis: &Path) -> Running {
    let listener = super::listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, readiness, shutdown) = (Metrics::new(), Readiness::default(), Shutdown::new());
    let appenders = Servers::new(&Redis::url(redis), &settings).unwrap().map(|server| Appender::start(server));
    let serving = serve(config, listener, Arc::new(settings), appenders, Arc::clone(&metrics), readiness.clone(), shutdown.clone());
    let server = tokio::spawn(async move { serving.await.unwrap() });
    Running { address, metrics, readiness, shutdown, server }
}

/// With a Redis of its own, and ready.
async fn start_with_redis(config: IngestConfig, settings: Settings) -> (Redis, Running) {
    let redis = Redis::start();
    let running = start(config, settings, redis.dir.path()).await;
    until("ingest is ready", || running.readiness.is_ready()).await;
    (redis, running)
}

/// Without any Redis, for what is decided before.
async fn start_without_redis(config: IngestConfig, settings: Settings) -> Running {
    start(config, settings, Path::new("/nowhere")).await
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes, and reads until the connection is closed.
    async fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }

    /// Posts one event in binary mode with more header lines (each ended by CR LF).
    async fn post(&self, id: &str, more: &str, data: &[u8]) -> String {
        self.exchange(binary("/", id, more, data)).await
    }
}

fn binary(path: &str, id: &str, more: &str, data: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /s\r\nce-type: t\r\n{more}Content-Length: {}\r\n\r\n",
        data.len()
    );
    [head.as_bytes(), data].concat()
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed in time");
    // a reset after the answer is as good as a close
    if answer.is_empty() {
        read.unwrap();
    }
    String::from_utf8(answer).unwrap()
}

/// Reads an answer on a connection that is kept.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let mut part = [0; 1024];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await.expect("an answer comes in time").unwrap();
        assert!(read > 0, "closed in the middle of an answer");
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn json(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no body in {answer:?}"));
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON in {answer:?}"))
}

fn problem(answer: &str) -> (u16, String) {
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    let word = json(answer)["type"].as_str().unwrap().strip_prefix("https://posthorn.dev/problems/").unwrap().to_owned();
    (status(answer), word)
}

fn is(found: (u16, String), code: u16, word: &str) {
    assert_eq!(found, (code, word.to_owned()));
}
