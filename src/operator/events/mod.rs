//! Kubernetes Events: on transitions, never again and again. `kubectl describe` shows them.
//!
//! What is worth one is decided by comparing statuses ([`notes()`]), so an operator that starts again does not repeat any. They are told after the
//! status was written, by one task; one that cannot be told is only counted.

mod notes;

pub use notes::{Note, notes};

use crate::api::{API_VERSION, EventDestinationStatus, KIND};
use crate::operator::api::call;
use crate::operator::board::Key;
use crate::operator::error::Error;
use crate::operator::metrics::OperatorMetrics;
use crate::shutdown::Shutdown;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::time::Duration;
use tokio::sync::mpsc;

/// Name that Events are reported by.
const CONTROLLER: &str = "posthorn-operator";
/// Longest time for what is left at the end.
const GRACE: Duration = Duration::from_secs(5);
/// Events that may wait to be told; more are not told.
const MOST_WAITING: usize = 1024;
/// Longest note that an API server takes, bytes.
const MAX_NOTE: usize = 1024;

/// One Event about one object.
#[derive(Debug)]
struct Told {
    about: ObjectReference,
    note: Note,
    /// Tells of one thing that happened: repeats are not counted together with the first.
    single: bool,
}

/// Where Events are told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    sender: mpsc::Sender<Told>,
    metrics: OperatorMetrics,
}

/// Tells Events to the API server.
pub struct Teller {
    client: kube::Client,
    reporter: Reporter,
    receiver: mpsc::Receiver<Told>,
    metrics: OperatorMetrics,
}

impl Events {
    /// `identity`: name of this process, the pod's.
    pub fn new(client: kube::Client, identity: &str, metrics: OperatorMetrics) -> (Events, Teller) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(identity.to_owned()) };
        (Events { sender, metrics: metrics.clone() }, Teller { client, reporter, receiver, metrics })
    }

    /// Tells what is worth an Event between two statuses of an object. Repeats of the same reason are counted together.
    pub fn transition(&self, key: &Key, uid: &str, former: &EventDestinationStatus, now: &EventDestinationStatus) {
        for note in notes(former, now) {
            self.send(key, uid, note, false);
        }
    }

    /// Tells of one thing that happened: an answer to a person, a deletion.
    pub fn publish(&self, key: &Key, uid: &str, note: Note) {
        self.send(key, uid, note, true);
    }

    fn send(&self, key: &Key, uid: &str, note: Note, single: bool) {
        let about = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(KIND.to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        if self.sender.try_send(Told { about, note, single }).is_err() {
            self.metrics.event_failures.inc();
        }
    }
}

impl Teller {
    /// Works until `shutdown`; what was handed over by then is still told, for a few seconds at most.
    pub async fn run(mut self, shutdown: Shutdown) {
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        loop {
            tokio::select! {
                told = self.receiver.recv() => match told {
                    Some(told) => self.tell(&recorder, told).await,
                    None => return,
                },
                () = shutdown.begun() => break,
            }
        }
        self.receiver.close();
        let rest = async {
            while let Some(told) = self.receiver.recv().await {
                self.tell(&recorder, told).await;
            }
        };
        let _ = tokio::time::timeout(GRACE, rest).await;
    }

    async fn tell(&self, recorder: &Recorder, told: Told) {
        let Told { about, note, single } = told;
        let Note { warning, reason, action, message } = note;
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason,
            note: Some(cut(message)),
            action: action.to_owned(),
            secondary: None,
        };
        // the shared recorder knows what it told in the last minutes, and repeats the first text of it
        let fresh = || Recorder::new(self.client.clone(), self.reporter.clone());
        let publish = async {
            match single {
                true => fresh().publish(&event, &about).await,
                false => match recorder.publish(&event, &about).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => fresh().publish(&event, &about).await,
                    other => other,
                },
            }
        };
        match call(format!("create Event {} of {}", event.reason, about.name.as_deref().unwrap_or_default()), publish).await {
            Ok(()) => drop(self.metrics.events.inc()),
            Err(error) => self.not_told(&about, &error),
        }
    }

    /// In a namespace that is being deleted nothing can be created, and the status says the same as an Event: so never louder than this.
    fn not_told(&self, about: &ObjectReference, error: &Error) {
        self.metrics.event_failures.inc();
        tracing::debug!(namespace = about.namespace, destination = about.name, class = error.class().word(), %error, "an Event was not told");
    }
}

fn cut(mut text: String) -> String {
    let mut end = MAX_NOTE.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
