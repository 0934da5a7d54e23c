//! Stores batches, and tries again while Redis is full or away.

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
pub(super) struct Sender<'a> {
    appender: Appender,
    bus: &'a Bus,
    settings: BusSettings,
    retry_for: Duration,
    /// When Redis was last seen below the watermark.
    room: Option<Instant>,
}

/// What became of a batch.
pub(super) struct Stored {
    /// For each event, in order.
    pub(super) receipts: Vec<Receipt>,
    /// An earlier try was not answered: a duplicate may be what that one stored.
    pub(super) repeated: bool,
}

impl Sender<'_> {
    /// Connects; waits for the connection within bounds.
    pub(super) async fn connect(bus: &Bus, settings: BusSettings, retry_for: Duration) -> anyhow::Result<Sender<'_>> {
        bus.link().await?;
        let appender = Appender::start(bus.url.clone());
        let deadline = Instant::now() + CONNECT;
        while appender.status().is_err() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Sender { appender, bus, settings, retry_for, room: None })
    }

    /// Stores events in their order, all or nothing; repeating is safe, as every event is known by its source and id.
    pub(super) async fn store(&mut self, events: &[Event], say: impl Fn(&str)) -> anyhow::Result<Stored> {
        let deadline = Instant::now() + self.retry_for;
        let (mut pause, mut said, mut repeated) = (PAUSE_MIN, String::new(), false);
        loop {
            let error = match self.append(events).await {
                Ok(receipts) => return Ok(Stored { receipts, repeated }),
                Err(error @ (Error::Protocol(_) | Error::TooNew { .. })) => return Err(error.into()),
                Err(error) => error,
            };
            repeated |= matches!(error, Error::Unknown(_));
            if Instant::now() + pause > deadline {
                return Err(anyhow!(
                    "gave up after {:?}: {error}; sending the same again is safe, what was stored is not stored twice",
                    self.retry_for
                ));
            }
            // a moment's absence is not worth a word
            if pause > PAUSE_MIN && said.is_empty() {
                said = error.to_string();
                say(&format!("{said}; trying again for {:?}", self.retry_for));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

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
