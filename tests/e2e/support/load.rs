//! Producers outside the cluster: they post to the Service of ingest through the API server, which passes each request to one of its pods.
//!
//! That works on any cluster, without a load balancer or a node's address.

use super::it::client::{Client, Post};
use super::it::eventually::{eventually_within, holds};
use super::settings::release_namespace;
use super::{Accepted, PATIENCE};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// `kubectl proxy`: the API server on a local port. Ends when dropped.
pub struct Proxy {
    child: Child,
    addr: SocketAddr,
}

impl Proxy {
    /// Starts it on a free port.
    pub fn start() -> Proxy {
        let mut command = Command::new("kubectl");
        let child = command.args(["proxy", "--port=0"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start kubectl: {error}: put it on the PATH"));
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit(' ').next().and_then(|addr| addr.parse().ok());
        Proxy { child, addr: addr.unwrap_or_else(|| panic!("kubectl proxy says no address: {line}")) }
    }

    /// A producer of the bus `default`.
    pub fn client(&self) -> Client {
        let path = format!("/api/v1/namespaces/{}/services/posthorn-ingest:http/proxy/v1/buses/default/events", release_namespace());
        Client::at(self.addr, path)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is posted. Each tenth event of a producer has the type `com.example.order.garbled`, the others `com.example.order.placed`.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Producers at once; each has a source of its own.
    pub clients: usize,
    /// Between two events of one of them.
    pub pause: Duration,
    /// Events of each; no end if left out.
    pub events: Option<u64>,
    /// What the source of each begins with.
    pub source: String,
}

/// Answers other than 202, and none.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// Of ingest itself (`application/problem+json`), by their status and type.
    pub answered: BTreeMap<String, usize>,
    /// No pod could be reached, or a connection broke: what the API server, or nobody, says.
    pub unreached: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    accepted: Mutex<Vec<Instant>>,
    refusals: Mutex<Refusals>,
}

/// Running producers. Each posts an event with the same ID until it is accepted, then the next.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Accepted>>>,
    proxy: Proxy,
}

/// What came of it.
pub struct Posted {
    /// Answered with 202, in the order of the bus.
    pub accepted: Vec<Accepted>,
    /// All else.
    pub refusals: Refusals,
    /// The longest time without a 202 of any producer.
    pub longest_gap: Duration,
}

impl Load {
    /// Starts posting.
    pub fn start(shape: &Shape) -> Load {
        let (shared, proxy) = (Arc::new(Shared::default()), Proxy::start());
        let clients = (0..shape.clients).map(|number| {
            let (client, shape, shared) = (proxy.client(), shape.clone(), Arc::clone(&shared));
            tokio::spawn(post_all(client, number, shape, shared))
        });
        Load { clients: clients.collect(), shared, proxy }
    }

    /// Accepted so far.
    pub fn count(&self) -> usize {
        self.shared.accepted.lock().unwrap().len()
    }

    /// Waits until so many more are accepted.
    pub async fn more(&self, count: usize) {
        let wanted = self.count() + count;
        eventually_within(PATIENCE, &format!("{wanted} accepted events"), async || {
            holds(self.count() >= wanted, || format!("{} accepted, else {:?}", self.count(), self.refusals()))
        })
        .await;
    }

    fn refusals(&self) -> Refusals {
        self.shared.refusals.lock().unwrap().clone()
    }

    /// Lets each producer get its last event accepted, and ends.
    pub async fn stop(self) -> Posted {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits until every producer has posted all its events.
    pub async fn finish(self) -> Posted {
        eventually_within(PATIENCE, "every producer has posted its events", async || {
            let done = self.clients.iter().all(JoinHandle::is_finished);
            holds(done, || format!("{} accepted, else {:?}", self.count(), self.refusals()))
        })
        .await;
        let mut accepted = Vec::new();
        let (refusals, times) = (self.refusals(), std::mem::take(&mut *self.shared.accepted.lock().unwrap()));
        for client in self.clients {
            let of_one = client.await.unwrap();
            assert!(of_one.is_sorted_by(|a, b| a.sequence < b.sequence), "the order of one producer, each after the 202 before");
            accepted.extend(of_one);
        }
        accepted.sort_by_key(|event: &Accepted| event.sequence);
        let longest_gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        Posted { accepted, refusals, longest_gap }
    }
}

async fn post_all(mut client: Client, number: usize, shape: Shape, shared: Arc<Shared>) -> Vec<Accepted> {
    for event in (1..).take_while(|event| shape.events.is_none_or(|last| *event <= last)) {
        let post = Post {
            id: event.to_string(),
            source: format!("{}/{number}", shape.source),
            event_type: format!("com.example.order.{}", if event % 10 == 0 { "garbled" } else { "placed" }),
            data: Bytes::from(format!("{{\"order\":{event}}}")),
        };
        while !post_once(&mut client, &post, &shared).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(shape.pause).await;
    }
    client.accepted
}

async fn post_once(client: &mut Client, post: &Post, shared: &Shared) -> bool {
    let answer = client.post(post).await;
    let mut refusals = shared.refusals.lock().unwrap();
    let (kind, what) = match &answer {
        Ok(answer) if answer.status == 202 => {
            shared.accepted.lock().unwrap().push(Instant::now());
            return true;
        }
        Ok(answer) => {
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let problem = body["type"].as_str().and_then(|text| text.rsplit('/').next());
            let kind = if problem.is_some() { &mut refusals.answered } else { &mut refusals.unreached };
            (kind, format!("{} {}", answer.status, problem.or(body["message"].as_str()).unwrap_or_default()))
        }
        Err(error) => (&mut refusals.unreached, error.to_string()),
    };
    *kind.entry(what).or_default() += 1;
    false
}
