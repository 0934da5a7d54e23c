//! Which destinations are to be reconciled: a set, so that many reasons for one of them are one reconcile.

use super::board::Key;
use futures::Stream;
use futures::stream;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Collects keys for whoever reconciles. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<HashSet<Key>>,
    changed: Notify,
}

impl Trigger {
    /// Asks for a reconcile of one destination.
    pub fn one(&self, key: Key) {
        self.waiting().insert(key);
        self.0.changed.notify_one();
    }

    /// Asks for a reconcile of many.
    pub fn many(&self, keys: impl IntoIterator<Item = Key>) {
        self.waiting().extend(keys);
        self.0.changed.notify_one();
    }

    /// Everything that was asked for, as it comes. For one reader.
    pub fn stream(&self) -> impl Stream<Item = Key> + Send + use<> {
        let inner = Arc::clone(&self.0);
        let batches = stream::unfold(inner, |inner| async move {
            loop {
                let batch: Vec<Key> = std::mem::take(&mut *lock(&inner)).into_iter().collect();
                if !batch.is_empty() {
                    return Some((stream::iter(batch), inner));
                }
                inner.changed.notified().await;
            }
        });
        futures::StreamExt::flatten(batches)
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<Key>> {
        lock(&self.0)
    }
}

fn lock(inner: &Inner) -> MutexGuard<'_, HashSet<Key>> {
    inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};

    fn key(name: &str) -> Key {
        Key { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn many_reasons_for_one_destination_are_one_reconcile() {
        let trigger = Trigger::default();
        let mut stream = Box::pin(trigger.stream());
        trigger.one(key("a"));
        trigger.many([key("a"), key("a")]);
        assert_eq!(stream.next().now_or_never(), Some(Some(key("a"))));
        assert_eq!(stream.next().now_or_never(), None);
        trigger.one(key("a"));
        assert_eq!(stream.next().now_or_never(), Some(Some(key("a"))));
    }
}
