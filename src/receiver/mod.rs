//! A test receiver: takes events over HTTP, remembers or prints what it gets, and misbehaves on demand.
//!
//! Used in two ways: in-process by tests ([`Receiver`]), and by people as `posthorn receiver`.
//!
//! * [`seen`]: one request as it arrived.
//! * [`answer`]: what is sent back, from a status code to garbage.
//! * [`server`]: the HTTP/1.1 server that sends it.
//! * [`check`]: order, repeats and gaps, judged from what arrives.
//! * [`signature`]: verifies Standard Webhooks signatures, independently of the code that makes them.

pub mod answer;
pub mod check;
pub mod seen;
pub mod server;
pub mod signature;

pub use answer::{Answer, Behaviour, Then};
pub use seen::Seen;

use seen::Numbering;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A receiver in this process that remembers every request. Stops when dropped.
pub struct Receiver {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    server: AbortOnDropHandle<()>,
}

struct Shared {
    behaviour: RwLock<Behaviour>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    numbering: Numbering,
    seen: Vec<Seen>,
}

impl Receiver {
    /// Starts one on a free port of the loopback interface.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(behaviour: Behaviour) -> io::Result<Receiver> {
        Receiver::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour).await
    }

    /// Starts one on a given address, for instance where another one was stopped.
    ///
    /// # Errors
    /// If the address is in use or not of this machine.
    pub async fn start_on(addr: SocketAddr, behaviour: Behaviour) -> io::Result<Receiver> {
        Receiver::serve(TcpListener::bind(addr).await?, None, behaviour)
    }

    /// Starts one that speaks TLS, on a free port of the loopback interface.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start_tls(config: Arc<rustls::ServerConfig>, behaviour: Behaviour) -> io::Result<Receiver> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Receiver::serve(listener, Some(config), behaviour)
    }

    fn serve(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, behaviour: Behaviour) -> io::Result<Receiver> {
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared { behaviour: RwLock::new(behaviour), log: Mutex::default() });
        let handler = Arc::clone(&shared);
        let server = tokio::spawn(server::serve(listener, tls, Arc::new(move |seen| handler.handle(seen))));
        Ok(Receiver { addr, shared, server: AbortOnDropHandle::new(server) })
    }

    /// Its base URL, `http://127.0.0.1:port/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// All requests so far, in the order in which they arrived.
    pub fn log(&self) -> Vec<Seen> {
        self.shared.log().seen.clone()
    }

    /// How many requests have arrived so far.
    pub fn count(&self) -> usize {
        self.shared.log().seen.len()
    }

    /// Behaves in another way from the next request on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *self.shared.behaviour.write().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// Closes the port and every connection, and returns what arrived until then.
    pub async fn stop(self) -> Vec<Seen> {
        self.server.abort();
        // Ends in "cancelled": that is what was asked for.
        let _ = self.server.await;
        std::mem::take(&mut self.shared.log().seen)
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a request, decides the answer and remembers both.
    fn handle(&self, mut seen: Seen) -> Answer {
        let behaviour = self.behaviour.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut log = self.log();
        log.numbering.number(&mut seen);
        let answer = behaviour.decide(&seen);
        seen.status = answer.status();
        log.seen.push(seen);
        answer
    }
}

#[cfg(test)]
mod tests;
