//! One connection, from its first byte to its end.

use super::addresses::Place;
use super::pace::{Pace, PacedStream, Phase, Timeouts};
use super::{Ingest, Tls, handler, tls};
use crate::admin::Metrics;
use crate::shutdown::Shutdown;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Most bytes of a head. Above the 64 KiB that attributes may have, so that those are refused by name.
const HEAD_BYTES: u32 = 128 << 10;
/// Most fields of a head. Above the 64 attributes of an event, for the same reason.
const HEAD_FIELDS: usize = 128;
/// Requests under way on one connection of HTTP/2.
const STREAMS: u32 = 256;
/// Streams reset by the client before they were handled, and reset by us for errors of the client, that a connection survives.
const RESETS: usize = 64;
/// For what is still to be written when an idle connection is closed.
const CLOSING: Duration = Duration::from_secs(1);
/// For reading what a client still sends after its last response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// The place of a connection among all, and among those of its address.
pub(super) struct Slot {
    _place: OwnedSemaphorePermit,
    _address: Place,
    metrics: Arc<Metrics>,
}

impl Slot {
    pub(super) fn new(place: OwnedSemaphorePermit, address: Place, metrics: &Arc<Metrics>) -> Slot {
        metrics.ingest.connections.inc();
        Slot { _place: place, _address: address, metrics: Arc::clone(metrics) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.metrics.ingest.connections.dec();
    }
}

/// HTTP/1.1 and HTTP/2 by prior knowledge, bounded. The deadlines are [`Pace`]'s.
fn server() -> Builder<TokioExecutor> {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(None).max_headers(HEAD_FIELDS).max_buf_size(HEAD_BYTES as usize);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS);
    server
}

/// What every connection is served with.
pub(super) struct Serving {
    http: Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    ingest: Arc<Ingest>,
    shutdown: Shutdown,
}

impl Serving {
    pub(super) fn new(ingest: &Arc<Ingest>, shutdown: &Shutdown) -> Arc<Serving> {
        let tls = ingest.config.tls.as_ref().map(Tls::acceptor);
        Arc::new(Serving { http: server(), tls, ingest: Arc::clone(ingest), shutdown: shutdown.clone() })
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, slot: Slot, serving: Arc<Serving>) {
    let _ = stream.set_nodelay(true);
    match &serving.tls {
        None => talk(stream, &serving).await,
        Some(acceptor) => match tls::handshake(acceptor, stream, &serving.ingest.config, &serving.shutdown).await {
            Ok(Some(stream)) => talk(stream, &serving).await,
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "no TLS was agreed on");
                serving.ingest.metrics.ingest.handshakes_failed.inc();
            }
        },
    }
    drop(slot);
}

async fn talk<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, serving: &Serving) {
    let pace = Pace::new(timeouts(&serving.ingest));
    let (back, mut returned) = oneshot::channel();
    let socket = PacedStream::new(stream, Arc::clone(&pace), back);
    drive(socket, &pace, serving).await;
    if pace.lingers()
        && let Ok(stream) = returned.try_recv()
    {
        linger(stream).await;
    }
}

fn timeouts(ingest: &Ingest) -> Timeouts {
    let config = &ingest.config;
    Timeouts { first_byte: config.first_byte_timeout, head: config.header_timeout, idle: config.idle_timeout }
}

async fn drive<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(socket: PacedStream<S>, pace: &Arc<Pace>, serving: &Serving) {
    let service = service_fn(|request| {
        let (ingest, pace) = (Arc::clone(&serving.ingest), Arc::clone(pace));
        async move { Ok::<_, Infallible>(handler::handle(ingest, pace, request).await) }
    });
    let mut connection = std::pin::pin!(serving.http.serve_connection(socket, service));
    let mut draining = false;
    let mut end: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            phase = pace.expired(), if end.is_none() => {
                if phase != Phase::Idle {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                end = Some(Instant::now() + CLOSING);
            }
            () = serving.shutdown.begun(), if !draining => {
                connection.as_mut().graceful_shutdown();
                draining = true;
            }
            () = until(end) => return,
        }
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Closing a socket with unread bytes sends a reset, which can overtake the response: read a little first.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut scrap = vec![0; 16 << 10];
    let mut read = 0;
    let rest = async {
        stream.shutdown().await?;
        while read < LINGER_BYTES {
            match stream.read(&mut scrap).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // whatever comes of it, the connection ends here
    let _ = tokio::time::timeout(LINGER, rest).await;
}
