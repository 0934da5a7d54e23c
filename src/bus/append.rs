//! Storing accepted events: the script `append`.

use super::connection::{Error, Link, Supervisor};
use super::safety::{self, Memory, Reading};
use super::scripts::Script;
use super::servers::{PerServer, Server};
use crate::event::{Event, Sequence};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Connections that share the load. Redis reads 16 KiB of one connection in a turn of its loop and commits what it read in one turn with one
/// fsync: one connection would share each fsync among about 15 events only.
const CONNECTIONS: usize = 4;

/// How long replicas are waited for.
const CONFIRM: Duration = Duration::from_secs(1);

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the order of the bus.
    pub sequence: Sequence,
    /// It had been stored before, inside the dedupe window.
    pub duplicate: bool,
}

/// Stores events durably. Cheap to clone; keeps its own connections.
#[derive(Clone)]
pub struct Appender {
    writers: Arc<[Writer; CONNECTIONS]>,
    next: Arc<AtomicUsize>,
    /// Bytes of all events so far.
    sent: Arc<AtomicU64>,
    memory: watch::Receiver<Reading>,
}

/// One for each server.
pub type Appenders = PerServer<Appender>;

impl Appenders {
    /// Whether the server of any bus is there.
    ///
    /// # Errors
    /// Why none is (for readiness).
    pub fn status(&self) -> Result<(), String> {
        self.any(Appender::status)
    }
}

/// One connection that appends, and who waits for its replicas.
struct Writer {
    links: Supervisor,
    waiting: mpsc::UnboundedSender<Waiting>,
}

/// An append that is done on the primary and waits for so many replicas.
struct Waiting {
    link: Link,
    replicas: u32,
    answer: oneshot::Sender<Result<(), Error>>,
}

impl Appender {
    /// Starts connecting; returns at once.
    pub fn start(server: impl Into<Server>) -> Appender {
        let server = server.into();
        let writers: Arc<[Writer; CONNECTIONS]> = Arc::new(std::array::from_fn(|_| Writer::start(&server)));
        let sent = Arc::<AtomicU64>::default();
        let memory = safety::watch_memory(&writers[0].links, Arc::clone(&sent));
        Appender { writers, next: Arc::default(), sent, memory }
    }

    /// Stores the events of one request, all or nothing, in their order; with `replicas`, awaits that so many have them. When memory runs
    /// short, the dedupe window may be shorter: see [`Memory::dedupe_window`].
    ///
    /// # Errors
    /// [`Error::Unknown`] if they may have been stored; every other error says that they surely were not.
    pub async fn append(&self, bus: &str, events: &[Event], dedupe_window: Duration, replicas: u32) -> Result<Vec<Receipt>, Error> {
        let (writer, link) = self.writer()?;
        link.hello(bus).await.map_err(surely_not)?;
        let window = self.memory().map_or(dedupe_window, |memory| memory.dedupe_window(dedupe_window));
        self.sent.fetch_add(events.iter().map(footprint).sum(), Ordering::Relaxed);
        loop {
            match append(&link, bus, events, window).await? {
                Some(receipts) if replicas == 0 => return Ok(receipts),
                Some(receipts) => return writer.confirmed(link, replicas).await.map(|()| receipts),
                // the bus was deleted from Redis since this connection said hello
                None => link.hello_again(bus).await.map_err(surely_not)?,
            }
        }
    }

    /// The next connection in turn that is alive.
    fn writer(&self) -> Result<(&Writer, Link), Error> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let first = &self.writers[turn % CONNECTIONS];
        first.live().or_else(|error| self.writers.iter().find_map(|writer| writer.live().ok()).ok_or(error))
    }

    /// Whether a connection is there.
    ///
    /// # Errors
    /// Why there is none (for readiness).
    pub fn status(&self) -> Result<(), String> {
        self.writer().map(|_| ()).map_err(|error| error.to_string())
    }

    /// Bytes that Redis uses and the most that it may use; `None` while unknown. What was sent since it was asked is added, or a burst would
    /// fill it before the next answer.
    pub fn memory(&self) -> Option<Memory> {
        let (memory, before) = (*self.memory.borrow())?;
        Some(Memory { used: memory.used + self.sent.load(Ordering::Relaxed).saturating_sub(before), ..memory })
    }
}

/// About how many bytes an event takes in Redis: its entry in the log, and what recognises a repeat.
fn footprint(event: &Event) -> u64 {
    let attributes: usize = event.attributes.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    (attributes + event.data.len()) as u64 + safety::SEEN_BYTES
}

/// Nothing was appended yet, whatever became of the command before.
fn surely_not(error: Error) -> Error {
    match error {
        Error::Unknown(why) => Error::Unavailable(why),
        other => other,
    }
}

/// Runs the script; `None` if the bus has lost its cursor.
pub(super) async fn append(link: &Link, bus: &str, events: &[Event], window: Duration) -> Result<Option<Vec<Receipt>>, Error> {
    // Redis takes no longer and no shorter time for a key to expire
    let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).clamp(1, i64::MAX / 2);
    let mut call = link.script(Script::Append, bus).arg(window);
    for event in events {
        call.push(event.attributes.identity().base64url());
        call.push(event.mode.code());
        call.push(event.attributes.to_json());
        call.push(event.content_type.as_deref().unwrap_or_default());
        call.push(event.data.as_ref());
    }
    let mut answer = call.run().await?;
    match answer.text()?.as_str() {
        "OK" => {}
        "NOBUS" => return Ok(None),
        other => return Err(answer.unexpected(other)),
    }
    let mut receipts = Vec::with_capacity(events.len());
    for _ in events {
        let sequence = answer.parse()?;
        receipts.push(Receipt { sequence, duplicate: answer.parse::<u8>()? == 1 });
    }
    Ok(Some(receipts))
}

impl Writer {
    fn start(server: &Server) -> Writer {
        let (waiting, queue) = mpsc::unbounded_channel();
        tokio::spawn(confirm(queue));
        Writer { links: Supervisor::start(server, "ingest"), waiting }
    }

    fn live(&self) -> Result<(&Writer, Link), Error> {
        self.links.current().map(|link| (self, link))
    }

    async fn confirmed(&self, link: Link, replicas: u32) -> Result<(), Error> {
        let (answer, confirmed) = oneshot::channel();
        let gone = || Error::Unknown("ingest is ending".to_owned());
        self.waiting.send(Waiting { link, replicas, answer }).map_err(|_| gone())?;
        confirmed.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// One WAIT for all that wait: it covers every write that the connection made before, and blocks the connection, so one each would
/// stand in line.
async fn confirm(mut queue: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(first) = queue.recv().await {
        let mut all = vec![first];
        while let Ok(next) = queue.try_recv() {
            all.push(next);
        }
        // those of a connection that has ended get no answer from the present one
        while let Some(last) = all.last() {
            let link = last.link.clone();
            let most = all.iter().map(|waiting| waiting.replicas).max().unwrap_or(0);
            let (same, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|waiting| waiting.link.is(&link));
            let have = wait(&link, most).await;
            for waiting in same {
                // nobody may be interested any more
                let _ = waiting.answer.send(enough(&have, waiting.replicas));
            }
            all = others;
        }
    }
}

/// How many replicas have all that this connection wrote.
async fn wait(link: &Link, replicas: u32) -> Result<u32, Error> {
    link.query(redis::cmd("WAIT").arg(replicas).arg(u64::try_from(CONFIRM.as_millis()).unwrap_or(u64::MAX))).await
}

fn enough(have: &Result<u32, Error>, replicas: u32) -> Result<(), Error> {
    match have {
        Ok(have) if *have >= replicas => Ok(()),
        Ok(have) => Err(Error::Unknown(format!("{have} of {replicas} replicas have confirmed"))),
        Err(error) => Err(Error::Unknown(error.to_string())),
    }
}
