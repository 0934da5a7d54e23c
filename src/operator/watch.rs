//! The streams that say what changed.

use super::api::{call, is_not_found};
use super::backoff;
use super::board::Key;
use super::kinds::Served;
use super::references::{Kind, References};
use super::trigger::Trigger;
use crate::random::random;
use futures::{Stream, StreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::Config};
use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// How long a watch goes on that nobody needs.
const MINUTE: Duration = Duration::from_secs(60);
/// How often a kind that is not served is looked for again.
const LOOK: Duration = Duration::from_secs(15);
/// Wait after the API server did not say whether a kind is served.
const RETRY: Duration = Duration::from_secs(5);
/// Objects in one page of a listing: what a watch holds at most.
const PAGE: u32 = 250;

/// First and longest pause before a watch that failed is tried again; half of it is random. What kube has goes up to a minute, for the sake of an
/// API server with thousands of clients; here are a handful of watches, and a person who waits for an edit to be seen.
const PAUSES: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(8));

/// The pauses of one watch. A success begins anew.
#[derive(Debug, Default)]
pub struct Pauses {
    failures: u32,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        Some(backoff::delay(PAUSES, self.failures, random()))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Says once that a watch fails, and once that it does not any more. That a listing begins is no success yet.
#[derive(Debug)]
pub struct Telling {
    kind: String,
    fails: &'static str,
    again: &'static str,
    failing: bool,
}

impl Telling {
    /// Of a kind, with what is said.
    pub fn new(kind: &str, fails: &'static str, again: &'static str) -> Telling {
        Telling { kind: kind.to_owned(), fails, again, failing: false }
    }

    /// Takes note of what came.
    pub fn tell<K>(&mut self, event: &watcher::Result<Event<K>>) {
        let Telling { kind, fails, again, failing } = self;
        match event {
            Err(error) if !*failing => {
                warn!(kind, %error, "{fails}");
                *failing = true;
            }
            Err(_) | Ok(Event::Init) => {}
            Ok(_) if *failing => {
                info!(kind, "{again}");
                *failing = false;
            }
            Ok(_) => {}
        }
    }
}

/// Watches the metadata of all objects of the kinds that destinations refer to, for as long as any does, and has each destination reconciled
/// that has to look again. Keeps nothing of what it sees. Runs until dropped.
pub async fn references(client: Client, references: References, trigger: Trigger) {
    let mut watches: HashMap<Kind, AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut prune = false;
    loop {
        let wanted = references.kinds();
        if prune {
            watches.retain(|kind, watch| {
                let keep = wanted.contains(kind);
                if !keep {
                    watch.abort();
                }
                keep
            });
        }
        for kind in wanted {
            let watch = follow(kind.clone(), client.clone(), references.clone(), trigger.clone());
            watches.entry(kind).or_insert_with(|| tasks.spawn(watch));
        }
        while tasks.try_join_next().is_some() {} // those that were ended
        prune = timeout(MINUTE, references.new_kind()).await.is_err();
    }
}

/// Watches one kind, from when it is served until it is no more, and again.
async fn follow(kind: Kind, client: Client, references: References, trigger: Trigger) {
    loop {
        let (served, waited) = served(&kind, &client, &references).await;
        if waited {
            trigger.many(references.all(&kind));
        }
        let api = Api::<PartialObjectMeta<DynamicObject>>::all_with(client.clone(), &served.resource);
        let events = watcher(api, Config::default().page_size(PAGE)).backoff(Pauses::default());
        take(&kind, &served.resource.kind, events, &references, &trigger).await;
        references.served().forget(&kind);
        trigger.many(references.all(&kind));
        sleep(RETRY).await;
    }
}

/// Waits until a kind is served; true if it had to.
async fn served(kind: &Kind, client: &Client, references: &References) -> (Served, bool) {
    let mut waited = false;
    loop {
        let delay = match call("look for the API of a kind", references.served().find(client, kind)).await {
            Ok(Some(served)) => return (served, waited),
            Ok(None) => LOOK,
            Err(_) => RETRY, // told by the reconcile that needs it
        };
        waited = true;
        sleep(delay).await;
    }
}

/// Takes the events of a watch to those whom they concern, until the kind is no longer served.
async fn take(
    kind: &Kind,
    name: &str,
    events: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<DynamicObject>>>>,
    references: &References,
    trigger: &Trigger,
) {
    let mut events = pin!(events);
    let mut telling =
        Telling::new(name, "cannot watch what destinations refer to; trying again", "watching what destinations refer to again");
    while let Some(event) = events.next().await {
        if event.as_ref().is_err_and(is_gone) {
            warn!(kind = name, "the API server no longer knows this kind, which destinations refer to");
            return;
        }
        telling.tell(&event);
        let Ok(event) = event else { continue };
        trigger.many(woken(kind, &event, references));
    }
}

/// Whether a watch failed because its kind is not served.
fn is_gone(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    is_not_found(status)
}

/// Who has to look again after an event.
fn woken(kind: &Kind, event: &Event<PartialObjectMeta<DynamicObject>>, references: &References) -> Vec<Key> {
    let about = |object: &PartialObjectMeta<DynamicObject>, gone: bool| {
        let metadata = &object.metadata;
        let (namespace, name) = (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
        let version = metadata.resource_version.as_deref().filter(|_| !gone);
        references.changed(kind, namespace, name, version)
    };
    match event {
        Event::Init => {
            references.listing(kind);
            Vec::new()
        }
        Event::InitApply(object) | Event::Apply(object) => about(object, false),
        Event::Delete(object) => about(object, true),
        Event::InitDone => references.listed(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::references::{Target, Versions};
    use futures::{FutureExt, stream};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn key() -> Key {
        Key { namespace: "shop".into(), name: "x".into() }
    }

    fn secret(version: &str) -> PartialObjectMeta<DynamicObject> {
        let metadata = serde_json::json!({"namespace": "shop", "name": "s", "resourceVersion": version});
        serde_json::from_value(serde_json::json!({"metadata": metadata})).expect("metadata")
    }

    fn failure(reason: &str) -> watcher::Error {
        let status = kube::core::Status { reason: reason.into(), ..kube::core::Status::default() };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    /// Whom events wake, where a destination saw version 1.
    async fn wakes(events: Vec<watcher::Result<Event<PartialObjectMeta<DynamicObject>>>>) -> bool {
        let references = References::default();
        let target = Target { kind: Kind::Secret, namespace: "shop".into(), name: Some("s".into()) };
        references.looking(&key(), target.clone());
        references.looked(&key(), vec![(target, Versions::from([("s".into(), "1".into())]))]);
        let trigger = Trigger::default();
        take(&Kind::Secret, "Secret", stream::iter(events), &references, &trigger).await;
        let woken = pin!(trigger.stream()).next().now_or_never().flatten();
        assert!(woken.is_none() || woken == Some(key()));
        woken.is_some()
    }

    /// An API server that holds nothing, and the heads of the requests that it gets.
    async fn empty() -> (Client, UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let config = kube::Config::new(format!("http://{}", listener.local_addr().expect("it is bound")).parse().expect("a URL"));
        let (sender, heads) = unbounded_channel();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tcp.read_u8().await.expect("a whole request"));
                }
                let head = String::from_utf8(head).expect("text");
                if !head.contains("watch=true") {
                    let body = r#"{"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}"#;
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                    tcp.write_all(answer.as_bytes()).await.expect("it is read");
                }
                open.push(tcp);
                drop(sender.send(head));
            }
        });
        (Client::try_from(config).expect("a client"), heads)
    }

    #[tokio::test]
    async fn secrets_are_listed_and_watched_without_their_contents() {
        let (client, mut heads) = empty().await;
        let references = References::default();
        references.looking(&key(), Target { kind: Kind::Secret, namespace: "shop".into(), name: Some("s".into()) });
        tokio::spawn(super::references(client, references, Trigger::default()));
        for (request, kind) in [("limit=250", "PartialObjectMetadataList"), ("watch=true", "PartialObjectMetadata")] {
            let head = heads.recv().await.expect("a request");
            assert!(head.starts_with("GET /api/v1/secrets?") && head.contains(request), "{head}");
            // nothing else is accepted in its place
            let accept = head.lines().find_map(|line| line.strip_prefix("accept: ")).unwrap_or_default();
            assert!(accept.contains(&format!("as={kind};")) && !accept.contains(','), "{head}");
        }
    }

    #[tokio::test]
    async fn a_listing_of_what_was_seen_wakes_nobody() {
        assert!(!wakes(vec![Ok(Event::Init), Ok(Event::InitApply(secret("1"))), Ok(Event::InitDone)]).await);
        assert!(wakes(vec![Ok(Event::Init), Ok(Event::InitApply(secret("2"))), Ok(Event::InitDone)]).await);
        assert!(wakes(vec![Ok(Event::Init), Ok(Event::InitDone)]).await);
    }

    #[tokio::test]
    async fn changes_and_deletions_wake() {
        assert!(wakes(vec![Ok(Event::Apply(secret("1"))), Ok(Event::Apply(secret("2")))]).await);
        assert!(wakes(vec![Ok(Event::Delete(secret("1")))]).await);
    }

    #[tokio::test]
    async fn a_watch_goes_on_after_a_failure_and_ends_when_the_kind_is_gone() {
        let broken = |reason| vec![Ok(Event::Init), Err(failure(reason)), Ok(Event::Apply(secret("2")))];
        assert!(wakes(broken("InternalError")).await);
        assert!(!wakes(broken("NotFound")).await);
    }
}
