//! What every reconcile shares.

use super::backoff::Backoff;
use super::board::{Board, Key};
use super::config::OperatorConfig;
use super::events::Events;
use super::leader::Leadership;
use super::metrics::OperatorMetrics;
use super::references::References;
use super::routes::Routes;
use super::trigger::Trigger;
use super::workers::Workers;
use crate::api::EventDestination;
use crate::bus::{Error, Link, Links};
use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;

/// An object as it is watched: one that does not parse is a value like any other.
pub type Watched = DeserializeGuard<EventDestination>;

/// What every reconcile shares.
pub struct Context {
    /// What the admin configures.
    pub config: OperatorConfig,
    /// When we began to lead.
    pub began: tokio::time::Instant,
    /// The API server.
    pub client: Client,
    /// Every object, as last seen.
    pub store: Store<Watched>,
    /// What is known of each destination.
    pub board: Board,
    /// Asks for reconciles.
    pub trigger: Trigger,
    /// Whether we may write.
    pub leadership: Leadership,
    /// Every Redis.
    pub links: Links,
    /// Routes, in Redis.
    pub routes: Routes,
    /// Workers, in the release namespace.
    pub workers: Workers,
    /// Which destination refers to what.
    pub references: References,
    /// Kubernetes Events.
    pub events: Events,
    /// Delays of objects that fail.
    pub backoff: Backoff,
    /// Where it counts.
    pub metrics: OperatorMetrics,
}

impl Context {
    /// The present connection to the Redis of a bus.
    ///
    /// # Errors
    /// If there is none.
    pub fn link(&self, bus: &str) -> Result<Link, Error> {
        self.links.of(bus).current()
    }
}

/// The key of an object.
pub fn key_of(object: &impl kube::ResourceExt) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
