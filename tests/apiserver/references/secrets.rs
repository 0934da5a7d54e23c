//! Secrets: late, without the opt-in, rotated, relabelled, removed.

use super::{apply, certified, key, secret, secret_in, signing, unresolved};
use crate::support::World;
use crate::support::kubelet::PodView;
use crate::support::world::SHOP;
use posthorn::receiver::signature::Key;
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

const NAMES: [&str; 2] = ["alone", "pooled"];

/// A sink with a token and signatures of the Secret `credentials`.
fn sink(receiver: &Receiver, name: &str, signed_with: &[&str]) -> Value {
    let keys: Vec<Value> = signed_with.iter().map(|one| key("credentials", one)).collect();
    json!({
        "uri": format!("https://{}/{name}", receiver.addr),
        "auth": {"bearer": {"secretKeyRef": key("credentials", "token")}},
        "tls": {"caBundleRef": {"name": "authority"}},
        "signing": {"secretKeyRefs": keys},
    })
}

/// Both with a worker of its own and in a pool.
fn apply_both(world: &World, receiver: &Receiver, signed_with: &[&str]) {
    for (name, isolation) in NAMES.into_iter().zip(["Dedicated", "Shared"]) {
        apply(world, name, &sink(receiver, name, signed_with), &json!({"isolation": isolation}));
    }
}

fn of(receiver: &Receiver, name: &str) -> Vec<Seen> {
    receiver.log().into_iter().filter(|seen| seen.path == format!("/{name}")).collect()
}

fn assert_signed(seen: &Seen, word: &str) {
    let verified = Key::parse(&signing(word)).unwrap().verify(&seen.headers, &seen.body, SystemTime::now());
    assert_eq!(verified, Ok(()), "{word}: {seen:?}");
}

fn worker(world: &World, name: &str) -> String {
    world.object(name)["status"]["worker"]["name"].as_str().unwrap().to_owned()
}

async fn pod(world: &World, name: &str) -> PodView {
    world.kubelet.ready(&worker(world, name), 1).await.remove(0)
}

/// A receiver that takes one token only, and which that is.
fn takes(token: &str) -> (Behaviour, Arc<Mutex<String>>) {
    let taken = Arc::new(Mutex::new(token.to_owned()));
    let theirs = Arc::clone(&taken);
    let behaviour = Behaviour::new(move |seen| {
        let right = seen.header("authorization") == Some(&format!("Bearer {}", theirs.lock().unwrap()));
        Answer::Status(if right { 204 } else { 401 })
    });
    (behaviour, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_until_their_secret_is_there_and_opts_in() {
    let world = World::start().await;
    let receiver = certified(&world, Behaviour::ok()).await;
    // one of the same name elsewhere is not meant
    world.cluster.create_namespace("other");
    secret_in(&world, "other", "credentials", true, &json!({"token": "of-another-namespace", "sign": signing("other")}));
    apply_both(&world, &receiver, &["sign"]);
    for name in NAMES {
        let message = unresolved(&world, name, "SecretNotFound").await;
        assert!(message.contains("there is no Secret credentials in namespace shop"), "{message}");
        assert_eq!(world.condition(name, "WorkerAvailable", "Unknown").await, "NotResolved");
        assert_eq!(world.condition(name, "Routed", "True").await, "Routed");
        world.event(name, "SecretNotFound").await;
    }
    world.post(1..=3).await;
    for name in NAMES {
        world.status(name, "backlog", &json!(3)).await;
    }
    let data = json!({"token": "first", "sign": signing("first")});
    secret(&world, "credentials", false, &data);
    for name in NAMES {
        let message = unresolved(&world, name, "SecretNotAllowed").await;
        assert!(message.contains("posthorn.dev/allow"), "{message}");
    }
    assert_eq!(receiver.count(), 0);
    secret(&world, "credentials", true, &data);
    for name in NAMES {
        world.ready(name).await;
        world.delivered(name, 3).await;
        let seen = of(&receiver, name);
        assert_eq!(seen.iter().map(|seen| seen.id().unwrap()).collect::<Vec<_>>(), ["event-1", "event-2", "event-3"]);
        for seen in seen {
            assert_eq!((seen.header("authorization"), seen.attempt()), (Some("Bearer first"), Some(1)));
            assert_signed(&seen, "first");
        }
        world.event(name, "Ready").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_reaches_the_running_worker_and_retries_a_waiting_head() {
    let world = World::start().await;
    let (behaviour, taken) = takes("first");
    let receiver = certified(&world, behaviour).await;
    secret(&world, "credentials", true, &json!({"token": "first", "old": signing("old")}));
    apply_both(&world, &receiver, &["old"]);
    for name in NAMES {
        world.ready(name).await;
    }
    world.post([1]).await;
    let mut pods = Vec::new();
    for name in NAMES {
        world.delivered(name, 1).await;
        pods.push(pod(&world, name).await);
    }

    // the receiver changes over before we do: its 401 halts, and only the new Secret can help within five minutes
    "second".clone_into(&mut taken.lock().unwrap());
    world.post([2, 3]).await;
    for name in NAMES {
        assert_eq!(world.reason(name, "Delivering", "Halted").await["status"], "False");
        assert_eq!(world.condition(name, "Ready", "False").await, "Halted");
    }
    let data = json!({"token": "second", "old": signing("old"), "new": signing("new")});
    secret(&world, "credentials", true, &data);
    for name in NAMES {
        world.delivered(name, 3).await;
        world.ready(name).await;
        world.event(name, "Resumed").await;
    }

    // both sign while the receiver changes over
    apply_both(&world, &receiver, &["new", "old"]);
    for name in NAMES {
        world.ready(name).await;
    }
    world.post([4]).await;
    for name in NAMES {
        world.delivered(name, 4).await;
        let seen = of(&receiver, name);
        assert_signed(seen.last().unwrap(), "new");
        assert_signed(seen.last().unwrap(), "old");
        let ids: Vec<_> = seen.iter().filter(|seen| seen.accepted()).map(|seen| seen.id().unwrap()).collect();
        assert_eq!(ids, ["event-1", "event-2", "event-3", "event-4"]);
    }

    world.cluster.ok(&["label", "secret", "credentials", "-n", SHOP, "team=billing"]);
    world.cluster.ok(&["annotate", "secret", "credentials", "-n", SHOP, "note=seen"]);
    world.post([5]).await;
    for (name, before) in NAMES.into_iter().zip(pods) {
        world.delivered(name, 5).await;
        world.ready(name).await;
        let now = pod(&world, name).await;
        assert_eq!((now.pid, now.restarts), (before.pid, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_secret_stops_delivery_and_costs_no_attempt() {
    let world = World::start().await;
    let receiver = certified(&world, Behaviour::ok()).await;
    let data = json!({"token": "first", "sign": signing("first")});
    secret(&world, "credentials", true, &data);
    apply_both(&world, &receiver, &["sign"]);
    // a neighbour in the pool
    apply(
        &world,
        "neighbour",
        &json!({"uri": format!("https://{}/neighbour", receiver.addr), "tls": {"caBundleRef": {"name": "authority"}}}),
        &json!({"isolation": "Shared"}),
    );
    for name in ["alone", "pooled", "neighbour"] {
        world.ready(name).await;
    }
    world.post([1]).await;
    let mut pods = Vec::new();
    for name in NAMES {
        world.delivered(name, 1).await;
        pods.push(pod(&world, name).await);
    }
    world.cluster.delete(&["secret", "credentials", "-n", SHOP]);
    for name in NAMES {
        unresolved(&world, name, "SecretNotFound").await;
        // the worker has let go of it
        world.reason(name, "WorkerAvailable", "NotResolved").await;
    }
    world.post([2, 3]).await;
    world.delivered("neighbour", 3).await;
    for name in NAMES {
        world.status(name, "backlog", &json!(2)).await;
        assert_eq!(of(&receiver, name).len(), 1, "{name}");
    }
    secret(&world, "credentials", true, &data);
    for (name, before) in NAMES.into_iter().zip(pods) {
        world.delivered(name, 3).await;
        world.ready(name).await;
        let attempts: Vec<_> = of(&receiver, name).iter().map(|seen| (seen.id().unwrap().to_owned(), seen.attempt().unwrap())).collect();
        assert_eq!(attempts, [1, 2, 3].map(|number| (format!("event-{number}"), 1)), "{name}");
        assert_eq!(pod(&world, name).await.pid, before.pid, "{name}");
        world.status(name, "retries", &json!(0)).await;
    }
}
