//! Storing accepted events: the script `append`.

use super::connection::{Error, Link, RedisUrl, Supervisor};
use super::safety::{self, Memory};
use super::scripts::Script;
use crate::event::{Event, Sequence};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Connections that share the load. Redis reads 16 KiB of one connection in a turn of its loop and commits what it read in one turn with one
/// fsync: one connection would share each fsync among about 15 events only.
const CONNECTIONS: usize = 4;

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
    links: Arc<[Supervisor; CONNECTIONS]>,
    next: Arc<AtomicUsize>,
    memory: watch::Receiver<Option<Memory>>,
}

impl Appender {
    /// Starts connecting; returns at once.
    pub fn start(url: RedisUrl) -> Appender {
        let links = Arc::new(std::array::from_fn(|_| Supervisor::start(url.clone(), "ingest")));
        let memory = safety::watch_memory(&links[0]);
        Appender { links, next: Arc::default(), memory }
    }

    /// Stores the events of one request, all or nothing, in their order; with `replicas`, awaits that so many have them.
    ///
    /// # Errors
    /// [`Error::Unknown`] if they may have been stored; every other error says that they surely were not.
    pub async fn append(&self, bus: &str, events: &[Event], dedupe_window: Duration, replicas: u32) -> Result<Vec<Receipt>, Error> {
        let link = self.link()?;
        link.hello(bus).await.map_err(surely_not)?;
        loop {
            match append(&link, bus, events, dedupe_window).await? {
                Some(receipts) if replicas == 0 => return Ok(receipts),
                Some(receipts) => return confirmed(&link, replicas).await.map(|()| receipts),
                // the bus was deleted from Redis since this connection said hello
                None => link.hello_again(bus).await.map_err(surely_not)?,
            }
        }
    }

    /// The next connection in turn that is alive.
    fn link(&self) -> Result<Link, Error> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let found = self.links[turn % CONNECTIONS].current();
        found.or_else(|error| self.links.iter().find_map(|links| links.current().ok()).ok_or(error))
    }

    /// Whether a connection is there.
    ///
    /// # Errors
    /// Why there is none (for readiness).
    pub fn status(&self) -> Result<(), String> {
        self.link().map(|_| ()).map_err(|error| error.to_string())
    }

    /// Bytes that Redis uses and the most that it may use, as of the last second; `None` while unknown.
    pub fn memory(&self) -> Option<Memory> {
        *self.memory.borrow()
    }
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

/// Awaits that the last write of this connection is on so many replicas.
async fn confirmed(link: &Link, replicas: u32) -> Result<(), Error> {
    let have: u32 = link.query(redis::cmd("WAIT").arg(replicas).arg(1000)).await.map_err(|error| Error::Unknown(error.to_string()))?;
    if have >= replicas {
        return Ok(());
    }
    Err(Error::Unknown(format!("{have} of {replicas} replicas have confirmed")))
}
