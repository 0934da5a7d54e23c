//! A TCP proxy that cuts, stalls, delays or resets what passes through it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// What happens to bytes that arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// They pass later; order and throughput stay.
    Delay(Duration),
    /// They wait until the mode changes, new connections too. Nothing is closed: a black hole.
    Stall,
    /// New connections are closed at once.
    Refuse,
}

/// A running proxy. Everything closes when it is dropped.
pub struct Proxy {
    /// Where it listens.
    pub addr: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Changes when all present connections are to end; whether by a reset.
    end: watch::Sender<(u64, bool)>,
    trap: Arc<Mutex<Option<Trap>>>,
    _server: AbortOnDropHandle<()>,
}

/// Stalls everything once these bytes were sent towards the upstream; they do not reach it.
struct Trap {
    needle: Vec<u8>,
    sprung: bool,
}

#[derive(Clone)]
struct Switches {
    mode: watch::Sender<Mode>,
    end: watch::Receiver<(u64, bool)>,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Proxy {
    /// Starts one in front of this address.
    pub async fn start(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (mode, end) = (watch::Sender::new(Mode::Pass), watch::Sender::new((0, false)));
        let trap = Arc::default();
        let switches = Switches { mode: mode.clone(), end: end.subscribe(), trap: Arc::clone(&trap) };
        let server = tokio::spawn(serve(listener, upstream, switches));
        Proxy { addr, mode, end, trap, _server: AbortOnDropHandle::new(server) }
    }

    /// Changes what happens to bytes from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Closes all present connections in good order.
    pub fn cut(&self) {
        self.end.send_modify(|(count, reset)| (*count, *reset) = (*count + 1, false));
    }

    /// Resets all present connections.
    pub fn reset(&self) {
        self.end.send_modify(|(count, reset)| (*count, *reset) = (*count + 1, true));
    }

    /// Stalls everything (as [`Mode::Stall`]) when these bytes are sent towards the upstream. They wait too.
    pub fn stall_before(&self, needle: &[u8]) {
        *self.trap() = Some(Trap { needle: needle.to_vec(), sprung: false });
    }

    /// Whether the bytes of [`Proxy::stall_before`] came.
    pub fn has_stalled(&self) -> bool {
        self.trap().as_ref().is_some_and(|trap| trap.sprung)
    }

    fn trap(&self) -> std::sync::MutexGuard<'_, Option<Trap>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Switches {
    /// Waits until bytes may pass.
    async fn open(&self) -> Mode {
        let mut mode = self.mode.subscribe();
        *mode.wait_for(|mode| *mode != Mode::Stall).await.expect("`self` holds the sender")
    }

    fn spring(&self, seen: &[u8]) {
        let mut trap = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(trap) = trap.as_mut().filter(|trap| !trap.sprung) else { return };
        if seen.windows(trap.needle.len().max(1)).any(|window| window == trap.needle) {
            trap.sprung = true;
            self.mode.send_replace(Mode::Stall);
        }
    }
}

async fn serve(listener: TcpListener, upstream: SocketAddr, switches: Switches) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if *switches.mode.borrow() != Mode::Refuse {
                    connections.spawn(pass(client, upstream, switches.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(client: TcpStream, upstream: SocketAddr, mut switches: Switches) -> io::Result<()> {
    switches.end.mark_unchanged();
    let mut end = switches.end.clone();
    switches.open().await;
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Kept beside the pumps, so that a reset finds both sockets whole.
    let (mut up, mut down) = (to_server, to_client);
    tokio::select! {
        ended = pump(from_client, &mut up, &switches, true) => ended?,
        ended = pump(from_server, &mut down, &switches, false) => ended?,
        _ = end.changed() => {
            if end.borrow().1 {
                up.as_ref().set_zero_linger()?;
                down.as_ref().set_zero_linger()?;
            }
        }
    }
    Ok(())
}

/// Moves bytes one way until one side ends. Reading goes on while earlier bytes are delayed.
async fn pump(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf, switches: &Switches, upwards: bool) -> io::Result<()> {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let reading = async move {
        let mut recent = VecDeque::new();
        loop {
            let mut bytes = vec![0; 16 * 1024];
            let count = from.read(&mut bytes).await?;
            bytes.truncate(count);
            if count == 0 {
                return io::Result::Ok(());
            }
            if upwards {
                remember(&mut recent, &bytes);
                switches.spring(recent.make_contiguous());
            }
            let delay = if let Mode::Delay(delay) = *switches.mode.borrow() { delay } else { Duration::ZERO };
            if queue.send((Instant::now() + delay, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let writing = async {
        while let Some((when, bytes)) = due.recv().await {
            tokio::time::sleep_until(when).await;
            switches.open().await;
            to.write_all(&bytes).await?;
        }
        io::Result::Ok(())
    };
    // At the end of reading the queue closes, and what is in it is still written.
    tokio::try_join!(reading, writing).map(|_| ())
}

/// Keeps the end of the stream, so that a needle is found across two reads.
fn remember(recent: &mut VecDeque<u8>, bytes: &[u8]) {
    const KEEP: usize = 256;
    let drop = recent.len().saturating_sub(KEEP);
    recent.drain(..drop);
    recent.extend(bytes);
}
