//! Wake-ups: hints that a queue has new events or a request of a person. Never the truth: who waits also looks each second.

use super::connection::RedisUrl;
use super::keys;
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Pause before a lost pub/sub connection is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Who is to be woken, by uid.
#[derive(Clone, Default)]
pub struct Wakes(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

impl Wakes {
    /// Listens to every bus on one pub/sub connection for as long as this or a clone lives.
    pub fn start(url: RedisUrl) -> Wakes {
        let wakes = Wakes::default();
        let table = Arc::downgrade(&wakes.0);
        tokio::spawn(async move {
            while let Some(table) = table.upgrade().as_ref().map(Arc::downgrade) {
                if let Err(error) = listen(&url, &table).await {
                    tracing::debug!(error = %error, "wake-ups are not heard; queues are looked at each second");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        wakes
    }

    /// What to await for a destination; register before looking for work.
    pub fn register(&self, uid: &str) -> Arc<Notify> {
        self.0.lock().expect("no panic while held").entry(uid.to_owned()).or_default().clone()
    }

    /// Nobody waits for this destination any more.
    pub fn forget(&self, uid: &str) {
        self.0.lock().expect("no panic while held").remove(uid);
    }
}

async fn listen(url: &RedisUrl, table: &std::sync::Weak<Mutex<HashMap<String, Arc<Notify>>>>) -> Result<(), redis::RedisError> {
    let mut pubsub = url.client()?.get_async_pubsub().await?;
    pubsub.psubscribe(keys::WAKE_PATTERN).await?;
    let mut messages = pubsub.into_on_message();
    while let Some(message) = messages.next().await {
        let Some(table) = table.upgrade() else { return Ok(()) };
        let uid: String = message.get_payload()?;
        let waiting = table.lock().expect("no panic while held").get(&uid).cloned();
        if let Some(waiting) = waiting {
            waiting.notify_one();
        }
    }
    Ok(())
}
