//! Destinations and Secrets, what receivers do, and what a log says.

use crate::support::client::Post;
use posthorn::receiver::{Answer, Behaviour, Seen};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A destination that tries soon again; `more` goes over its spec.
pub fn destination(name: &str, url: &str, more: Value) -> Value {
    let mut spec = json!({
        "sink": {"http": {"uri": url}},
        "delivery": {"backoffPolicy": "Constant", "backoffDelay": "10ms", "timeout": "2s"},
    });
    merge(&mut spec, more);
    let metadata = json!({"namespace": "default", "name": name});
    json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": metadata, "spec": spec})
}

/// A filter on the type of events, for [`destination`].
pub fn of_type(event_type: &str) -> Value {
    json!([{"exact": {"type": event_type}}])
}

/// A Secret that destinations may use.
pub fn secret(name: &str, values: Value) -> Value {
    let metadata = json!({"namespace": "default", "name": name, "labels": {"posthorn.dev/allow": "true"}});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// The numbers of the attempts of a numbered event, as they arrived.
pub fn attempts(log: &[Seen], number: u64) -> Vec<u32> {
    let id = Post::numbered(number).id;
    log.iter().filter(|seen| seen.id() == Some(&id)).map(|seen| seen.attempt().expect("every request has its number")).collect()
}

/// How often a numbered event was accepted.
pub fn accepted(log: &[Seen], number: u64) -> usize {
    let id = Post::numbered(number).id;
    log.iter().filter(|seen| seen.id() == Some(&id) && seen.accepted()).count()
}

/// This answer to every attempt of one numbered event, 204 to all others.
pub fn refusing(number: u64, answer: Answer) -> Behaviour {
    let id = Post::numbered(number).id;
    Behaviour::new(move |seen| if seen.id() == Some(&id) { answer.clone() } else { Answer::Status(204) })
}

/// This answer to the first request of one numbered event, 204 to all others.
pub fn refusing_once(number: u64, answer: Answer) -> Behaviour {
    let (id, done) = (Post::numbered(number).id, AtomicBool::new(false));
    let hit = move |seen: &Seen| seen.id() == Some(&id) && !done.swap(true, Ordering::Relaxed);
    Behaviour::new(move |seen| if hit(seen) { answer.clone() } else { Answer::Status(204) })
}

/// 503 to the first event until it is opened, so that what follows waits in the queue.
#[derive(Clone, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Lets everything pass.
    pub fn open(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Behind it, this happens.
    pub fn before(&self, then: Behaviour) -> Behaviour {
        let open = Arc::clone(&self.0);
        Behaviour::new(move |seen| if open.load(Ordering::Relaxed) { then.decide(seen) } else { Answer::Status(503) })
    }
}
