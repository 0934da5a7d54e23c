//! Wake-ups: hints that a queue has new events or a request of a person. Never the truth: who waits also looks each second.

use super::keys;
use super::url::RedisUrl;
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Pause before a lost pub/sub connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);

type Waiting = Arc<Mutex<HashMap<String, Arc<Notify>>>>;

/// Who is to be woken, by uid. Cheap to clone.
#[derive(Clone)]
pub struct Wakes {
    waiting: Waiting,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Wakes {
    /// Listens to every bus on one pub/sub connection for as long as this or a clone lives.
    pub fn start(url: RedisUrl) -> Wakes {
        let waiting = Waiting::default();
        let task = tokio::spawn(listen(url, waiting.clone()));
        Wakes { waiting, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// What to await for a destination; register before looking for work.
    pub fn register(&self, uid: &str) -> Arc<Notify> {
        self.waiting.lock().expect("no panic while held").entry(uid.to_owned()).or_default().clone()
    }

    /// Nobody waits for this destination any more.
    pub fn forget(&self, uid: &str) {
        self.waiting.lock().expect("no panic while held").remove(uid);
    }
}

async fn listen(url: RedisUrl, waiting: Waiting) {
    loop {
        if let Err(error) = hear(&url, &waiting).await {
            tracing::debug!(error = %error, "wake-ups are not heard; queues are looked at each second");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Passes wake-ups on until the connection ends.
async fn hear(url: &RedisUrl, waiting: &Waiting) -> Result<(), redis::RedisError> {
    let mut pubsub = url.client()?.get_async_pubsub().await?;
    pubsub.psubscribe(keys::WAKE_PATTERN).await?;
    let mut messages = pubsub.into_on_message();
    while let Some(message) = messages.next().await {
        let uid: String = message.get_payload()?;
        let waiter = waiting.lock().expect("no panic while held").get(&uid).cloned();
        if let Some(waiter) = waiter {
            waiter.notify_one();
        }
    }
    Ok(())
}
