//! Ingest takes CloudEvents over HTTP and stores them. It never looks at destinations.
//!
//! ```text
//! accept ─▶ connection ─▶ handler: route ─▶ who ─▶ room? ─▶ body ─▶ decode ─▶ may he? ─▶ append ─▶ 202
//!                           any step ─▶ problem ─▶ application/problem+json
//! ```
//!
//! * `POST /v1/buses/{bus}/events` takes binary, structured and batched mode; `POST /` is the same for the bus `default`.
//! * HTTP/1.1, and HTTP/2 by prior knowledge; the same by TLS, where a certificate is given.
//! * A connection that is silent or slow is closed by a deadline of its own (`pace`, `body`); none of them is `accept`'s business.
//! * An append that was begun is never cancelled by its client: it goes on in a task of its own.

mod accept;
mod access;
mod addresses;
mod body;
mod connection;
mod credentials;
mod files;
mod handler;
mod pace;
mod problem;
mod rate;
#[cfg(test)]
mod tests;
mod tls;

pub use accept::listen;
pub use access::CredentialError;
pub use tls::{Tls, TlsError, TlsFiles};

use crate::admin::{Gate, Metrics, Readiness};
use crate::bus::append::Appenders;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use access::Access;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// How often readiness looks at Redis.
const REDIS_CHECK: Duration = Duration::from_millis(250);

/// How ingest serves, and its bounds.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// Most connections at once; more wait in the kernel's queue. Default 16,384.
    pub max_connections: usize,
    /// Most connections of one address (IPv6: of one /64); more are closed at once. Default three quarters of all.
    pub max_connections_per_address: usize,
    /// What is presented to clients; `None` for no TLS, which is the default.
    pub tls: Option<Arc<Tls>>,
    /// For the handshake of TLS. Default 5 s.
    pub handshake_timeout: Duration,
    /// For the first byte on a connection. Default 5 s.
    pub first_byte_timeout: Duration,
    /// For the head of a request, from its first byte. Default 10 s.
    pub header_timeout: Duration,
    /// Between two requests on a connection. Default 75 s, above what load balancers keep.
    pub idle_timeout: Duration,
    /// For the body of a request, from the end of its head. Default 30 s.
    pub body_timeout: Duration,
    /// Before [`IngestConfig::min_body_rate`] counts. Default 5 s.
    pub body_grace: Duration,
    /// Least bytes a second of a body. Default 1 KiB.
    pub min_body_rate: u64,
    /// Most bytes of bodies of all requests under way. Default 256 MiB.
    pub max_body_memory: usize,
    /// For storing, from the end of the body; after that the outcome is unknown. Default 5 s.
    pub request_timeout: Duration,
    /// For requests under way when shutdown begins. Default 25 s.
    pub grace_period: Duration,
}

impl Default for IngestConfig {
    fn default() -> IngestConfig {
        IngestConfig {
            max_connections: 16_384,
            max_connections_per_address: 12_288,
            tls: None,
            handshake_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_grace: Duration::from_secs(5),
            min_body_rate: 1024,
            max_body_memory: 256 << 20,
            request_timeout: Duration::from_secs(5),
            grace_period: Duration::from_secs(25),
        }
    }
}

/// What every connection and request needs.
struct Ingest {
    config: IngestConfig,
    settings: Arc<Settings>,
    appenders: Appenders,
    metrics: Arc<Metrics>,
    access: Arc<Access>,
    memory: body::Memory,
    /// Connections and appends: what shutdown waits for.
    tasks: TaskTracker,
}

/// Serves until `shutdown` begins and the requests under way are answered, or the grace period is over.
///
/// Readiness goes off first (gate `redis`, then draining), then no more connections are accepted.
///
/// # Errors
/// If a producer's credentials cannot be read at the start.
pub async fn serve(
    config: IngestConfig,
    listener: TcpListener,
    settings: Arc<Settings>,
    appenders: Appenders,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    shutdown: Shutdown,
) -> Result<(), CredentialError> {
    let access = Arc::new(Access::load(&settings)?);
    let mut beside = JoinSet::new();
    beside.spawn(watch_redis(appenders.clone(), readiness.gate("redis")));
    beside.spawn(Arc::clone(&access).keep_fresh());
    if let Some(tls) = &config.tls {
        beside.spawn(Arc::clone(tls).keep_fresh());
    }
    let config = files::fit(config);
    let memory = body::Memory::new(config.max_body_memory);
    let ingest = Arc::new(Ingest { config, settings, appenders, metrics, access, memory, tasks: TaskTracker::new() });
    accept::run(&listener, &ingest, &shutdown).await;
    readiness.drain();
    drop(listener);
    drain(&ingest).await;
    Ok(())
}

/// Keeps the gate as the connections to Redis are. A full Redis does not close it: deliveries go on and make room.
async fn watch_redis(appenders: Appenders, gate: Gate) {
    loop {
        gate.set_result(appenders.status());
        tokio::time::sleep(REDIS_CHECK).await;
    }
}

async fn drain(ingest: &Ingest) {
    ingest.tasks.close();
    let under_way = ingest.tasks.len();
    tracing::info!(under_way, "ingest is draining");
    if tokio::time::timeout(ingest.config.grace_period, ingest.tasks.wait()).await.is_err() {
        tracing::warn!(given_up = ingest.tasks.len(), "the grace period is over");
    }
}
