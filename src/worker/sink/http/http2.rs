//! HTTP/2: one connection for all sinks of a destination.

use super::connection::{Lost, MAX_AGE, MAX_ANSWER};
use super::stream::Stream;
use bytes::Bytes;
use http::{Request, Response, Uri, Version, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// So long a connection that nobody needs may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// So long the rest of an answer is read; after that its stream is reset.
const DRAIN: Duration = Duration::from_secs(5);

/// All streams together; that of one is [`MAX_ANSWER`].
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The connection that the sinks of a destination share, if the receiver speaks HTTP/2.
#[derive(Default)]
pub(super) struct Shared(Mutex<Option<Arc<Multiplexed>>>);

/// One HTTP/2 connection.
pub(super) struct Multiplexed {
    sender: http2::SendRequest<Full<Bytes>>,
    opened: Instant,
    /// When the last status line came.
    answered: Mutex<Instant>,
    answers: AtomicU64,
    in_progress: AtomicUsize,
    /// It is not used for another request.
    retired: AtomicBool,
    /// Ends its tasks.
    _tasks: DropGuard,
}

impl Shared {
    /// The connection, if it can take another request.
    pub(super) fn usable(&self, idle_timeout: Duration) -> Option<Arc<Multiplexed>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|connection| !connection.is_usable(idle_timeout)) {
            *kept = None;
        }
        kept.clone()
    }

    /// Keeps a new connection for all, unless another sink was faster.
    pub(super) fn keep(&self, connection: &Arc<Multiplexed>, idle_timeout: Duration) {
        if self.usable(idle_timeout).is_none() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(connection));
        }
    }

    /// Closes the connection when it was idle too long. Never completes.
    pub(super) async fn idle(&self, idle_timeout: Duration) {
        while let Some(connection) = self.usable(idle_timeout) {
            let (now, until) = (Instant::now(), connection.idle_until(idle_timeout));
            drop(connection);
            // past that time it is in use: it is looked at again later
            let again = now + idle_timeout.max(Duration::from_millis(10));
            sleep_until(if until > now { until } else { again }).await;
        }
        pending().await
    }
}

impl Multiplexed {
    pub(super) async fn open(stream: Stream) -> hyper::Result<Arc<Multiplexed>> {
        let ended = CancellationToken::new();
        let tasks = Tasks(ended.clone());
        let mut builder = http2::Builder::new(tasks.clone());
        let largest = u32::try_from(MAX_ANSWER).expect("it is 16 KiB");
        builder.initial_stream_window_size(largest).initial_connection_window_size(CONNECTION_WINDOW).max_header_list_size(largest);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
        tasks.execute(async {
            // what goes wrong is told to the requests
            let _ = driver.await;
        });
        let now = Instant::now();
        Ok(Arc::new(Multiplexed {
            sender,
            opened: now,
            answered: Mutex::new(now),
            answers: AtomicU64::new(0),
            in_progress: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            _tasks: ended.drop_guard(),
        }))
    }

    /// Sends a request and waits for the head of its answer. Dropping the future resets the stream of this request only.
    pub(super) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<()>, Lost> {
        let progress = Progress::begin(self);
        let answer = self.sender.clone().send_request(absolute(request)).await;
        match answer {
            Ok(answer) => {
                progress.end();
                *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                let (head, body) = answer.into_parts();
                drain(body);
                Ok(Response::from_parts(head, ()))
            }
            Err(error) => {
                let http2 = error_of(&error);
                // a stream that was reset says nothing of the others
                if http2.is_some_and(|error| error.is_reset()) {
                    progress.end();
                } else {
                    self.retired.store(true, Ordering::Relaxed);
                }
                let refused = |error: &h2::Error| error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
                let unprocessed = error.is_canceled() || http2.is_some_and(|error| error.is_remote() && refused(error));
                let unanswered = unprocessed || http2.is_none_or(h2::Error::is_io);
                Err(Lost { error, unanswered, unprocessed })
            }
        }
    }

    fn is_usable(&self, idle_timeout: Duration) -> bool {
        let now = Instant::now();
        let busy = self.in_progress.load(Ordering::Relaxed) > 0;
        let lives = !self.retired.load(Ordering::Relaxed) && !self.sender.is_closed() && now < self.opened + MAX_AGE;
        lives && (busy || now < self.idle_until(idle_timeout))
    }

    fn idle_until(&self, idle_timeout: Duration) -> Instant {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) + idle_timeout
    }
}

/// A request in progress. If it is given up and no answer to any request came meanwhile, the connection may be dead: it is used no more.
struct Progress<'a> {
    connection: &'a Multiplexed,
    /// Answers before it.
    answers: u64,
}

impl<'a> Progress<'a> {
    fn begin(connection: &'a Multiplexed) -> Progress<'a> {
        connection.in_progress.fetch_add(1, Ordering::Relaxed);
        Progress { connection, answers: connection.answers.load(Ordering::Relaxed) }
    }

    /// The receiver has said something about it.
    fn end(self) {
        self.connection.answers.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.connection.in_progress.fetch_sub(1, Ordering::Relaxed);
        if self.connection.answers.load(Ordering::Relaxed) == self.answers {
            self.connection.retired.store(true, Ordering::Relaxed);
        }
    }
}

/// HTTP/2 has the host in the target (RFC 9113, section 8.3.1).
fn absolute(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let mut parts = request.uri().clone().into_parts();
    let host = request.headers_mut().remove(header::HOST);
    parts.scheme = Some(http::uri::Scheme::HTTPS);
    parts.authority = host.and_then(|host| host.to_str().ok()?.parse().ok());
    if let Ok(target) = Uri::from_parts(parts) {
        *request.uri_mut() = target;
    }
    *request.version_mut() = Version::HTTP_2;
    request
}

/// Reads what is small, so that its stream need not be reset.
fn drain(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(timeout(DRAIN, async move {
        let mut left = MAX_ANSWER;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => return,
            }
        }
    }));
}

/// What HTTP/2 has to say about an error.
pub(super) fn error_of(error: &hyper::Error) -> Option<&h2::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The tasks of a connection: they end a little after it.
#[derive(Clone)]
struct Tasks(CancellationToken);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let ended = self.0.clone();
        tokio::spawn(async move {
            let too_long = async {
                ended.cancelled().await;
                sleep(GOODBYE).await;
            };
            tokio::select! {
                () = task => {}
                () = too_long => {}
            }
        });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
