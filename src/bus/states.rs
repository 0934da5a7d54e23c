//! Hints that the state of a destination changed, for whoever shows it. Never the truth: who listens also looks by itself now and then.

use super::keys;
use super::url::RedisUrl;
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Pause before a lost pub/sub connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// A connection over which nothing came for so long is asked whether it is alive.
const PING: Duration = Duration::from_secs(10);
/// Longest wait for its answer.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// More destinations than this are not remembered one by one: all are to be looked at.
const MOST: usize = 100_000;

/// What was heard since it was asked for last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Hints may have been missed, the connection is new: look at all.
    pub all: bool,
    /// Bus and uid of each destination that changed.
    pub changed: HashSet<(String, String)>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    news: Notify,
}

impl Shared {
    fn add(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_one();
    }
}

/// Listens to every bus on one pub/sub connection for as long as this lives.
pub struct States {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

impl States {
    /// Begins to listen; returns at once.
    pub fn start(url: RedisUrl) -> States {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(listen(url, shared.clone()));
        States { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits until something is heard, and takes it. A destination that changed often meanwhile is told once.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&self) -> Heard {
        loop {
            let heard = std::mem::take(&mut *self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner));
            if heard != Heard::default() {
                return heard;
            }
            self.shared.news.notified().await;
        }
    }
}

async fn listen(url: RedisUrl, shared: Arc<Shared>) {
    loop {
        if let Err(error) = hear(&url, &shared).await {
            tracing::debug!(error = %error, "changes of state are not heard; each destination is looked at now and then");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes hints in until the connection ends.
async fn hear(url: &RedisUrl, shared: &Shared) -> Result<(), redis::RedisError> {
    let (mut sink, mut messages) = url.client()?.get_async_pubsub().await?.split();
    sink.psubscribe(keys::STATE_PATTERN).await?;
    shared.add(|heard| heard.all = true);
    loop {
        match tokio::time::timeout(PING, messages.next()).await {
            Ok(Some(message)) => {
                let Some(bus) = keys::bus_of_channel(message.get_channel_name()) else { continue };
                let uid: String = message.get_payload()?;
                shared.add(|heard| remember(heard, bus, uid));
            }
            Ok(None) => return Ok(()),
            Err(_) => match tokio::time::timeout(PING_TIMEOUT, sink.ping::<redis::Value>()).await {
                Ok(answer) => drop(answer?),
                // it swallows packets
                Err(_) => return Ok(()),
            },
        }
    }
}

fn remember(heard: &mut Heard, bus: &str, uid: String) {
    if heard.changed.len() >= MOST {
        *heard = Heard { all: true, changed: HashSet::new() };
    }
    heard.changed.insert((bus.to_owned(), uid));
}
