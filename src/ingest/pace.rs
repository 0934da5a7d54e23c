//! The deadlines of a connection between its requests: first byte, head, idle. The body has its own, the handler too.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For the first byte of the first request.
    pub(super) first_byte: Duration,
    /// For the head of a request, from its first byte.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first byte.
    First,
    /// The rest of a head.
    Head,
    /// So many requests are being handled.
    Busy(usize),
    /// The next request.
    Idle,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Frames of HTTP/2 come between requests too, and begin none.
    http2: bool,
    lingers: bool,
}

/// Where a connection stands. Shared by its socket, its handlers and its watch.
#[derive(Debug)]
pub(super) struct Pace {
    timeouts: Timeouts,
    state: Mutex<State>,
    changed: Notify,
}

/// A request is being handled for as long as this lives.
pub(super) struct Busy(Arc<Pace>);

impl Pace {
    pub(super) fn new(timeouts: Timeouts) -> Arc<Pace> {
        let state = State { phase: Phase::First, since: Instant::now(), http2: false, lingers: false };
        Arc::new(Pace { timeouts, state: Mutex::new(state), changed: Notify::new() })
    }

    /// A head is complete.
    pub(super) fn begin(self: &Arc<Pace>, http2: bool) -> Busy {
        let mut state = self.lock();
        state.http2 = http2;
        let requests = if let Phase::Busy(requests) = state.phase { requests } else { 0 };
        self.enter(state, Phase::Busy(requests + 1));
        Busy(Arc::clone(self))
    }

    /// Something was read.
    fn received(&self) {
        let state = self.lock();
        match state.phase {
            Phase::First => self.enter(state, Phase::Head),
            Phase::Idle if !state.http2 => self.enter(state, Phase::Head),
            _ => {}
        }
    }

    /// After the last response the client may still be sending: read a little, lest a reset takes the response with it.
    pub(super) fn linger(&self) {
        self.lock().lingers = true;
    }

    /// Whether to linger.
    pub(super) fn lingers(&self) -> bool {
        self.lock().lingers
    }

    /// Waits until a deadline has passed, and tells which.
    pub(super) async fn expired(&self) -> Phase {
        loop {
            let changed = self.changed.notified();
            let (phase, deadline) = self.deadline();
            match deadline {
                None => changed.await,
                Some(deadline) if deadline <= Instant::now() => return phase,
                Some(deadline) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(deadline) => {}
                    }
                }
            }
        }
    }

    fn deadline(&self) -> (Phase, Option<Instant>) {
        let state = self.lock();
        let timeout = match state.phase {
            Phase::First => Some(self.timeouts.first_byte),
            Phase::Head => Some(self.timeouts.head),
            Phase::Busy(_) => None,
            Phase::Idle => Some(self.timeouts.idle),
        };
        (state.phase, timeout.map(|timeout| state.since + timeout))
    }

    fn enter(&self, mut state: MutexGuard<'_, State>, phase: Phase) {
        state.phase = phase;
        state.since = Instant::now();
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let state = self.0.lock();
        match state.phase {
            Phase::Busy(requests) if requests > 1 => self.0.enter(state, Phase::Busy(requests - 1)),
            _ => self.0.enter(state, Phase::Idle),
        }
    }
}

/// A socket that tells its [`Pace`] of what is read, and hands the socket back when the server is done with it.
pub(super) struct PacedStream<S> {
    socket: Option<TokioIo<S>>,
    pace: Arc<Pace>,
    back: Option<oneshot::Sender<S>>,
}

impl<S: Unpin> PacedStream<S> {
    /// The socket comes back by `back`.
    pub(super) fn new(socket: S, pace: Arc<Pace>, back: oneshot::Sender<S>) -> PacedStream<S> {
        PacedStream { socket: Some(TokioIo::new(socket)), pace, back: Some(back) }
    }

    fn socket(&mut self) -> Pin<&mut TokioIo<S>> {
        Pin::new(self.socket.as_mut().expect("there until it is dropped"))
    }
}

impl<S> Drop for PacedStream<S> {
    fn drop(&mut self) {
        if let (Some(socket), Some(back)) = (self.socket.take(), self.back.take()) {
            // nobody waits for it if the connection was given up
            let _ = back.send(socket.into_inner());
        }
    }
}

impl<S: AsyncRead + Unpin> Read for PacedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = self.socket().poll_read(cx, buf);
        if read.is_ready() {
            self.pace.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Write for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.is_write_vectored())
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.socket().poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts =
        Timeouts { first_byte: Duration::from_millis(10), head: Duration::from_millis(20), idle: Duration::from_millis(30) };

    #[tokio::test]
    async fn each_phase_has_its_deadline() {
        let pace = Pace::new(TIMEOUTS);
        assert_eq!(pace.expired().await, Phase::First);
        pace.received();
        assert_eq!(pace.expired().await, Phase::Head);
        drop(pace.begin(false));
        assert_eq!(pace.expired().await, Phase::Idle);
        pace.received();
        assert_eq!(pace.expired().await, Phase::Head);
    }

    #[test]
    fn more_bytes_of_a_head_do_not_move_its_deadline() {
        let pace = Pace::new(TIMEOUTS);
        pace.received();
        let first = pace.deadline();
        pace.received();
        assert_eq!(pace.deadline(), first);
    }

    #[test]
    fn a_busy_connection_does_not_expire_until_its_last_request_is_done() {
        let pace = Pace::new(TIMEOUTS);
        let (one, other) = (pace.begin(true), pace.begin(true));
        drop(one);
        assert_eq!(pace.deadline(), (Phase::Busy(1), None));
        drop(other);
        pace.received();
        assert_eq!(pace.deadline().0, Phase::Idle, "frames of HTTP/2 begin no request");
    }
}
