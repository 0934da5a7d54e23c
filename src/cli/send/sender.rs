//! Stores batches, and tries again while Redis is full or away.

use super::ingest::Ingest;
use crate::bus::append::{Appender, Receipt};
use crate::bus::{Error, safety};
use crate::cli::connect::Bus;
use crate::event::Event;
use crate::settings::BusSettings;
use anyhow::anyhow;
use std::time::Duration;
use tokio::time::Instant;

/// First pause before trying again; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Longest wait for the first connections.
const CONNECT: Duration = Duration::from_secs(3);
/// How often the memory of Redis is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Stores events on one bus.
pub(super) struct Sender {
    way: Way,
    retry_for: Duration,
}

/// How it does that.
enum Way {
    Redis(Direct),
    Ingest(Ingest),
}

/// Straight into Redis.
struct Direct {
    appender: Appender,
    bus: Bus,
    settings: BusSettings,
    /// When Redis was last seen below the watermark.
    room: Option<Instant>,
}

/// Why events were not stored.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was stored; it may go well another time.
    Again(String),
    /// Stored or not, nobody knows.
    Unknown(String),
    /// Trying again will not help.
    Never(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Protocol(_) | Error::TooNew { .. } => Failure::Never(error.to_string()),
            Error::Unknown(_) => Failure::Unknown(error.to_string()),
            Error::Full(_) | Error::Refused(_) | Error::Unavailable(_) => Failure::Again(error.to_string()),
        }
    }
}

/// What became of a batch.
pub(super) struct Stored {
    /// For each event, in order.
    pub(super) receipts: Vec<Receipt>,
    /// An earlier try was not answered: a duplicate may be what that one stored.
    pub(super) repeated: bool,
}

impl Sender {
    /// Connects to Redis; waits for the connection within bounds.
    pub(super) async fn connect(bus: Bus, settings: BusSettings, retry_for: Duration) -> anyhow::Result<Sender> {
        bus.link().await?;
        let appender = Appender::start(bus.url.clone());
        let deadline = Instant::now() + CONNECT;
        while appender.status().is_err() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Sender { way: Way::Redis(Direct { appender, bus, settings, room: None }), retry_for })
    }

    /// Will post to ingest.
    pub(super) fn through(ingest: Ingest, retry_for: Duration) -> Sender {
        Sender { way: Way::Ingest(ingest), retry_for }
    }

    /// How many events it takes at once.
    pub(super) fn most(&self) -> usize {
        match self.way {
            Way::Redis(_) => usize::MAX,
            Way::Ingest(_) => 1,
        }
    }

    /// Stores events in their order, all or nothing; repeating is safe, as every event is known by its source and id.
    pub(super) async fn store(&mut self, events: &[Event], say: impl Fn(&str)) -> anyhow::Result<Stored> {
        let deadline = Instant::now() + self.retry_for;
        let (mut pause, mut said, mut repeated) = (PAUSE_MIN, String::new(), false);
        loop {
            let error = match self.append(events).await {
                Ok(receipts) => return Ok(Stored { receipts, repeated }),
                Err(Failure::Never(error)) => return Err(anyhow!(error)),
                Err(Failure::Again(error)) => error,
                Err(Failure::Unknown(error)) => {
                    repeated = true;
                    error
                }
            };
            if Instant::now() + pause > deadline {
                return Err(anyhow!(
                    "gave up after {:?}: {error}; sending the same again is safe, what was stored is not stored twice",
                    self.retry_for
                ));
            }
            // a moment's absence is not worth a word
            if pause > PAUSE_MIN && said.is_empty() {
                said = error;
                say(&format!("{said}; trying again for {:?}", self.retry_for));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn append(&mut self, events: &[Event]) -> Result<Vec<Receipt>, Failure> {
        match &mut self.way {
            Way::Redis(redis) => Ok(redis.append(events).await?),
            Way::Ingest(ingest) => {
                let mut receipts = Vec::with_capacity(events.len());
                for event in events {
                    receipts.push(ingest.post(event).await?);
                }
                Ok(receipts)
            }
        }
    }
}

impl Direct {
    async fn append(&mut self, events: &[Event]) -> Result<Vec<Receipt>, Error> {
        self.check_room().await?;
        self.appender.append(&self.bus.name, events, self.settings.dedupe_window, self.settings.durability.replicas).await
    }

    /// As ingest does: above the watermark there must be room to route what was accepted. Looks once a second.
    async fn check_room(&mut self) -> Result<(), Error> {
        if self.room.is_some_and(|seen| seen.elapsed() < LOOK) {
            return Ok(());
        }
        let (memory, most) = (safety::memory(&self.bus.current()?).await?, self.settings.watermark);
        if memory.is_above(most) {
            self.room = None;
            return Err(Error::Full(format!("{} of {} bytes are used, events are taken up to {most} %", memory.used, memory.max)));
        }
        self.room = Some(Instant::now());
        Ok(())
    }
}
