//! The accept loop. Nothing but shutdown ends it.

use super::Ingest;
use super::addresses::Addresses;
use super::connection::{self, Serving, Slot};
use crate::shutdown::Shutdown;
use crate::telemetry::Throttle;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pause after `accept` failed for a reason of this process (no file descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait in the kernel's queue; it takes no more than `net.core.somaxconn`. The 128 of the standard library overflow in a
/// burst, and a client then waits a second to try again.
const BACKLOG: u32 = 4096;

/// Listens for events.
///
/// # Errors
/// If the address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // as TcpListener::bind does: else a restart waits for connections of the last run
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until `shutdown` begins.
pub(super) async fn run(listener: &TcpListener, ingest: &Arc<Ingest>, shutdown: &Shutdown) {
    let places = Arc::new(Semaphore::new(ingest.config.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let addresses = Addresses::new(ingest.config.max_connections_per_address.max(1));
    let serving = Serving::new(ingest, shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.begun() => return,
            accepted = next(listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let Some(address) = addresses.enter(peer.ip()) else {
                    ingest.metrics.ingest.connections_refused.inc();
                    continue;
                };
                let slot = Slot::new(place, address, &ingest.metrics);
                drop(ingest.tasks.spawn(connection::serve(stream, slot, Arc::clone(&serving))));
            }
            Err(error) => recover(&error, shutdown).await,
        }
    }
}

/// Waits for a place first: when all are taken, new connections wait in the kernel's queue.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// A connection that broke before it was accepted is nobody's trouble; anything else gets a pause, so that it does not spin.
async fn recover(error: &io::Error, shutdown: &Shutdown) {
    static FAILING: Throttle = Throttle::new(Duration::from_secs(10));
    if matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused | ErrorKind::Interrupted
    ) {
        return;
    }
    if let Some(suppressed) = FAILING.pass() {
        tracing::warn!(%error, suppressed, "connections cannot be accepted for now");
    }
    tokio::select! {
        () = shutdown.begun() => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}
