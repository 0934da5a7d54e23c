//! Several clients at once, each posting one event after the other.

use super::checker::Accepted;
use super::client::{Client, Post};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest time that posting may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is posted, and how.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Clients at once; each has a `source` and a connection of its own.
    pub clients: usize,
    /// Most events of each client.
    pub events: u64,
    /// Bytes of each event's data.
    pub size: usize,
    /// An event that was not accepted is posted again until it is; otherwise the next one follows.
    pub persistent: bool,
    /// Between two events of a client.
    pub pause: Duration,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { clients: 8, events: u64::MAX, size: 16, persistent: true, pause: Duration::ZERO }
    }
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Client>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Posted {
    /// Answered with 202, in the order of the bus.
    pub accepted: Vec<Accepted>,
    /// (source, id) that may be stored or not.
    pub uncertain: Vec<(String, String)>,
}

impl Load {
    /// Starts posting. The types of events are `even` and `odd`, in turn.
    pub fn start(addr: SocketAddr, shape: Shape) -> Load {
        let (stop, count, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..shape.clients).map(|client| {
            let (stop, count, refused) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&refused));
            tokio::spawn(async move {
                let mut poster = Client::new(addr);
                for number in 0..shape.events {
                    let event = event(client, number, shape.size);
                    while !stop.load(Ordering::Relaxed) {
                        match poster.post(&event).await {
                            Ok(answer) if answer.status == 202 => {
                                count.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            _ if shape.persistent => {
                                refused.fetch_add(1, Ordering::Relaxed);
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                            _ => {
                                refused.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                        }
                    }
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    if !shape.pause.is_zero() {
                        tokio::time::sleep(shape.pause).await;
                    }
                }
                poster
            })
        });
        let clients = clients.collect();
        Load { stop, count, refused, clients }
    }

    /// Accepted so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Answers other than 202, and none, so far.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many are accepted.
    pub async fn reach(&self, count: usize) {
        super::eventually(&format!("{count} accepted events"), async || {
            super::eventually::holds(self.count() >= count, || format!("{} accepted, {} not", self.count(), self.refused()))
        })
        .await;
    }

    /// Waits for so many more.
    pub async fn more(&self, count: usize) {
        self.reach(self.count() + count).await;
    }

    /// Stops posting, after the requests under way.
    pub async fn stop(self) -> Posted {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until every client has posted all its events.
    pub async fn finish(self) -> Posted {
        super::eventually_within(PATIENCE, "every client has posted its events", async || {
            let done = self.clients.iter().all(JoinHandle::is_finished);
            super::eventually::holds(done, || format!("{} accepted, {} not", self.count(), self.refused()))
        })
        .await;
        let mut posted = Posted::default();
        for client in self.clients {
            let client = client.await.unwrap();
            assert!(client.accepted.is_sorted_by(|a, b| a.sequence < b.sequence), "the order of one client, each after the 202 before");
            posted.accepted.extend(client.accepted);
            posted.uncertain.extend(client.uncertain.into_iter().map(|post| (post.source, post.id)));
        }
        posted.accepted.sort_by_key(|event| event.sequence);
        posted
    }
}

/// What one of the clients posts.
fn event(client: usize, number: u64, size: usize) -> Post {
    let filler = "x".repeat(size.saturating_sub(16));
    Post {
        id: format!("event-{number}"),
        source: format!("/client/{client}"),
        event_type: if number.is_multiple_of(2) { "even" } else { "odd" }.into(),
        data: Bytes::from(format!("{{\"n\":{number},\"x\":\"{filler}\"}}")),
    }
}
