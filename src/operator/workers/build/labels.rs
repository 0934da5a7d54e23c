//! Names and labels of a worker's objects.

use aws_lc_rs::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Finds all Deployments and plan Secrets of workers.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=posthorn-operator,app.kubernetes.io/component=worker";
/// Label with the name of the worker's Deployment: finds its pods.
pub const WORKER: &str = "posthorn.dev/worker";
/// Label with the number of a pool.
pub const POOL: &str = "posthorn.dev/pool";
/// Label with the UID of the destination that a worker is for.
pub const DESTINATION_UID: &str = "posthorn.dev/destination-uid";
const DESTINATION_NAMESPACE: &str = "posthorn.dev/destination-namespace";
const DESTINATION_NAME: &str = "posthorn.dev/destination-name";

/// Longest name of ours: a DNS label, so that it is the value of a label too.
const LONGEST: usize = 63;
/// Hexadecimal digits of the UID's hash in a name.
const DIGITS: usize = 10;

/// One `EventDestination`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// `metadata.uid`.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name, at most 63 characters.
    pub name: String,
}

/// Whom a worker is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Worker {
    /// One destination alone.
    Dedicated(Destination),
    /// All destinations of the pool with this number.
    Pool(u32),
}

impl Worker {
    /// Name of its Deployment and of its plan Secret. That of a dedicated worker follows from name and UID, so a destination that is deleted
    /// and made again gets another one.
    pub fn name(&self) -> String {
        match self {
            Worker::Pool(number) => format!("posthorn-pool-{number}"),
            Worker::Dedicated(destination) => {
                let hash = short_hash(&destination.uid);
                let room = LONGEST - "posthorn--".len() - hash.len();
                // a name may have dots, a DNS label may not
                let name: String =
                    destination.name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).take(room).collect();
                format!("posthorn-{}-{hash}", name.trim_end_matches('-'))
            }
        }
    }

    /// Labels that find its pods. They never change: a Deployment's selector cannot.
    pub fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            label("app.kubernetes.io/name", "posthorn"),
            label("app.kubernetes.io/component", "worker"),
            label(WORKER, self.name()),
        ])
    }

    /// Labels of its Deployment, plan Secret and pods.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.extend([label("app.kubernetes.io/managed-by", "posthorn-operator")]);
        match self {
            Worker::Pool(number) => labels.extend([label(POOL, number.to_string())]),
            Worker::Dedicated(Destination { uid, namespace, name }) => {
                labels.extend([label(DESTINATION_UID, uid), label(DESTINATION_NAMESPACE, namespace), label(DESTINATION_NAME, name)]);
            }
        }
        labels
    }

    /// Whom an object with these labels is for, if they say so.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Option<Worker> {
        if let Some(number) = labels.get(POOL) {
            return number.parse().ok().map(Worker::Pool);
        }
        let get = |name| labels.get(name).filter(|value| !value.is_empty()).cloned();
        let (uid, namespace, name) = (get(DESTINATION_UID)?, get(DESTINATION_NAMESPACE)?, get(DESTINATION_NAME)?);
        Some(Worker::Dedicated(Destination { uid, namespace, name }))
    }
}

fn label(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn short_hash(uid: &str) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, uid.as_bytes()).as_ref().iter().take(DIGITS / 2) {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}
