//! Every field that may be changed is changed under load: each change reaches the running worker, and events stay in order.

use super::moving::calm;
use crate::support::load::Load;
use crate::support::world::{SHOP, World};
use crate::support::{History, eventually, eventually::holds};
use posthorn::receiver::{Behaviour, Receiver, Seen};
use serde_json::{Value, json};

/// Who has to know of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Concerns {
    /// The worker: its plan is another.
    Worker,
    /// The router or the operator alone: the worker goes on with the plan that it has.
    Others,
}
use Concerns::{Others, Worker};

/// A change, and what a request then looks like, where it shows.
type Edit = (Value, Concerns, fn(&Seen) -> bool);

fn any(_: &Seen) -> bool {
    true
}

/// The changes, one after the other; each stays.
fn edits(other: &str) -> Vec<Edit> {
    let key = |key: &str| json!({"name": "credentials", "key": key});
    vec![
        (json!({"sink": {"http": {"uri": other}}}), Worker, any),
        (json!({"sink": {"http": {"headers": [{"name": "X-Team", "value": "a"}]}}}), Worker, |seen| seen.header("x-team") == Some("a")),
        (json!({"sink": {"http": {"headers": [{"name": "X-Key", "valueFrom": {"secretKeyRef": key("key")}}]}}}), Worker, |seen| {
            seen.header("x-team").is_none() && seen.header("x-key") == Some("of-the-secret")
        }),
        (json!({"sink": {"http": {"auth": {"bearer": {"secretKeyRef": key("key")}}}}}), Worker, |seen| {
            seen.header("authorization") == Some("Bearer of-the-secret")
        }),
        (json!({"sink": {"http": {"auth": {"bearer": null, "basic": {"secretRef": {"name": "credentials"}}}}}}), Worker, |seen| {
            seen.header("authorization").is_some_and(|value| value.starts_with("Basic "))
        }),
        (json!({"sink": {"http": {"auth": null}}}), Worker, |seen| seen.header("authorization").is_none()),
        (json!({"sink": {"http": {"signing": {"secretKeyRefs": [key("signing")]}}}}), Worker, |seen| {
            seen.header("webhook-signature").is_some()
        }),
        (json!({"sink": {"http": {"format": "Structured"}}}), Worker, |seen| {
            seen.header("content-type").is_some_and(|value| value.starts_with("application/cloudevents+json"))
        }),
        (json!({"sink": {"http": {"format": "Binary"}}}), Worker, |seen| seen.header("ce-id").is_some()),
        (json!({"sink": {"http": {"haltOnStatusCodes": [410]}}}), Worker, any),
        (json!({"sink": {"http": {"retryAfterMax": "1m"}}}), Worker, any),
        (json!({"delivery": {"retry": 7}}), Worker, any),
        (json!({"delivery": {"backoffPolicy": "Linear"}}), Worker, any),
        (json!({"delivery": {"backoffDelay": "50ms"}}), Worker, any),
        (json!({"delivery": {"backoffMax": "1s"}}), Worker, any),
        (json!({"delivery": {"timeout": "10s"}}), Worker, any),
        (json!({"delivery": {"maxEventAge": "1h"}}), Worker, any),
        (json!({"delivery": {"onExhausted": "Block"}}), Worker, any),
        (json!({"delivery": {"deadLetter": {"maxEvents": 500}}}), Worker, any),
        (json!({"delivery": {"deadLetter": {"maxAge": "24h"}}}), Others, any),
        (json!({"filters": [{"not": {"exact": {"type": "never"}}}]}), Others, any),
        (json!({"deletionPolicy": "Drain", "drainTimeout": "1m"}), Others, any),
        (json!({"isolation": "Dedicated"}), Others, any),
        (json!({"isolation": "Shared"}), Others, any),
        (json!({"suspend": true}), Worker, any),
        (json!({"suspend": false}), Worker, any),
        (json!({"sink": {"http": {"uri": null, "uriFrom": {"secretKeyRef": key("url")}, "signing": null}}}), Worker, |seen| {
            seen.header("webhook-signature").is_none()
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_edit_reaches_the_running_worker_and_keeps_the_order() {
    let world = World::start().await;
    let (first, second) = (Receiver::start(Behaviour::ok()).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let data = json!({
        "key": "of-the-secret", "username": "shop", "password": "of-basic", "url": second.url(),
        "signing": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    });
    let metadata = json!({"name": "credentials", "namespace": SHOP, "labels": {"posthorn.dev/allow": "true"}});
    world.cluster.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}).to_string());
    world.apply("billing", &first.url(), "isolation: Shared");
    world.ready("billing").await;
    let load = Load::start(world.ingest.addr, calm());
    load.more(50).await;
    let mut plan = world.reported_plan("billing").await.unwrap();
    for (edit, concerns, shows) in edits(&second.url()) {
        world.patch("billing", &edit);
        world.condition("billing", "WorkerAvailable", "True").await;
        let now = world.reported_plan("billing").await.unwrap();
        assert_eq!(now != plan, concerns == Worker, "{edit}: from {plan} to {now}");
        plan = now;
        if edit["suspend"] == true {
            world.reason("billing", "Delivering", "Suspended").await;
            continue;
        }
        let count = second.count();
        eventually(&format!("events after {edit}"), async || {
            let log = second.log();
            // one may have been under way
            holds(log.len() > count + 1 && log[count + 1..].iter().all(shows), || format!("{:?}", log[count..].first()))
        })
        .await;
    }
    let posted = load.stop().await;
    world.delivered("billing", posted.accepted.len() as u64).await;
    let mut log = [first.log(), second.log()].concat();
    log.sort_by_key(|seen| seen.at);
    History::strict("shop/billing", &posted.accepted, &log, &world.stored("billing")).assert_kept();
    world.event("billing", "Ready").await;
}
