//! One HTTP connection, and what is left on it of the last answer.

use super::stream::Stream;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Largest head of an answer, and most of its body that is read so that the connection can be kept, bytes.
pub(super) const MAX_ANSWER: usize = 16 * 1024;

/// So long after the status line the rest of an answer is awaited before the next request; after that a new connection is cheaper.
const DRAIN: Duration = Duration::from_millis(250);

/// An older connection is not used again, so that a receiver that moved (DNS, load balancer) is found under steady load, too.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

/// A connection driven by the task that uses it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it ended.
    driver: Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
    heard: Arc<AtomicBool>,
    rest: Option<Rest>,
    opened: Instant,
    /// When the last status line came.
    answered: Instant,
}

/// A body that nobody needs, read only so that the connection can be kept.
struct Rest {
    body: Incoming,
    left: usize,
}

/// A request that got no answer.
pub(super) struct Lost {
    pub(super) error: hyper::Error,
    /// Not one byte of an answer came.
    pub(super) unanswered: bool,
    /// The receiver says that it has not looked at it.
    pub(super) unprocessed: bool,
}

impl Connection {
    pub(super) async fn open(stream: Stream) -> hyper::Result<Connection> {
        let heard = stream.heard();
        let (sender, driver) = http1::Builder::new().max_buf_size(MAX_ANSWER).handshake(TokioIo::new(stream)).await?;
        let now = Instant::now();
        Ok(Connection { sender, driver: Some(driver), heard, rest: None, opened: now, answered: now })
    }

    /// When it has been unused for so long.
    pub(super) fn idle_until(&self, idle_timeout: Duration) -> Instant {
        self.answered + idle_timeout
    }

    /// Sends a request and waits for the head of its answer. The connection is useless after an error, and when the future is dropped.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Lost> {
        self.heard.store(false, Ordering::Relaxed);
        let mut answer = pin!(self.sender.send_request(request));
        let driver = &mut self.driver;
        let answered = poll_fn(|cx| {
            drive(driver, cx);
            answer.as_mut().poll(cx)
        });
        answered.await.map_err(|error| {
            // a request that was cancelled by hyper was never begun
            let unanswered = !self.heard.load(Ordering::Relaxed) || error.is_canceled();
            Lost { error, unanswered, unprocessed: false }
        })
    }

    /// Reads the whole body of an answer; `None` if it has more than [`MAX_ANSWER`] bytes or ends early.
    pub(super) async fn read(&mut self, answer: Response<Incoming>) -> Option<Bytes> {
        let (mut body, driver) = (answer.into_body(), &mut self.driver);
        let mut bytes = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| {
            // also what came before the connection ended is still to be had
            drive(driver, cx);
            Pin::new(&mut body).poll_frame(cx)
        })
        .await
        {
            bytes.extend_from_slice(frame.ok()?.data_ref().map_or(&[], |data| data));
            if bytes.len() > MAX_ANSWER {
                return None;
            }
        }
        Some(bytes.freeze())
    }

    /// Leaves the body of an answer to be read later. False: the connection is of no further use.
    pub(super) fn keep(&mut self, answer: Response<Incoming>) -> bool {
        self.answered = Instant::now();
        let (head, body) = answer.into_parts();
        let closing = head.version != Version::HTTP_11 || says_close(&head.headers);
        if closing || self.driver.is_none() {
            return false;
        }
        if body.is_end_stream() {
            return true;
        }
        let framed = body.size_hint().exact().is_some() || head.headers.contains_key(header::TRANSFER_ENCODING);
        let small = body.size_hint().lower() <= MAX_ANSWER as u64;
        self.rest = Some(Rest { body, left: MAX_ANSWER });
        framed && small
    }

    /// Whether it can take another request. Waits for the rest of the last answer, but not for long.
    pub(super) async fn reusable(&mut self, idle_timeout: Duration) -> bool {
        let now = Instant::now();
        if now >= self.idle_until(idle_timeout) || now >= self.opened + MAX_AGE {
            return false;
        }
        let deadline = self.answered + DRAIN;
        timeout_at(deadline, poll_fn(|cx| self.poll_reusable(cx))).await.unwrap_or(false)
    }

    /// Drives it while it is not needed, until the receiver closes it or sends more than it may.
    pub(super) async fn closed(&mut self) {
        poll_fn(|cx| if self.poll_rest(cx) == Poll::Ready(false) { Poll::Ready(()) } else { Poll::Pending }).await
    }

    fn poll_reusable(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.poll_rest(cx) {
            Poll::Ready(true) => self.sender.poll_ready(cx).map(|ready| ready.is_ok()),
            not_yet => not_yet,
        }
    }

    /// Reads the rest of the last answer. Ready(true): it is read, and the connection lives. Ready(false): it does not.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if !drive(&mut self.driver, cx) {
                return Poll::Ready(false);
            }
            let Some(rest) = &mut self.rest else { return Poll::Ready(true) };
            match Pin::new(&mut rest.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.rest = None,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Ready(Some(Ok(frame))) => match rest.left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(left) => rest.left = left,
                    None => return Poll::Ready(false),
                },
            }
        }
    }
}

/// Lets the connection do its work. False once it has ended; then whoever waits for an answer has got an error.
fn drive(driver: &mut Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>, cx: &mut Context<'_>) -> bool {
    if let Some(connection) = driver
        && Pin::new(connection).poll(cx).is_ready()
    {
        *driver = None;
    }
    driver.is_some()
}

fn says_close(headers: &HeaderMap) -> bool {
    let tokens = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens.into_iter().any(|token| token.trim().eq_ignore_ascii_case("close"))
}
