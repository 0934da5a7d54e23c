//! Destinations as the router knows them: the scripts `create update delete route fill trim`.

use super::connection::{Error, Link};
use crate::event::Sequence;
use crate::plan::Route;
use std::collections::BTreeMap;

/// Where a new destination begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Events accepted from now on.
    Latest,
    /// All that the bus still holds.
    Earliest,
    /// A recorded position: a destination that is made again.
    Recorded(Sequence),
}

/// What `create` found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The position that the destination reads from.
    pub start: Sequence,
    /// It was there already.
    pub existed: bool,
}

/// What `update` found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The route is now this one.
    Done,
    /// A newer revision is there.
    Stale,
    /// There is no such destination.
    Gone,
}

/// What a deleted destination held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Events that still waited.
    pub backlog: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
}

/// Makes the route, the queue and the consumer group of a destination, or what is missing of them. Script `create`.
pub async fn create(_link: &Link, _bus: &str, _uid: &str, _route: &Route, _start: Start) -> Result<Created, Error> {
    unimplemented!()
}

/// Replaces the route of a destination. Script `update`.
pub async fn update(_link: &Link, _bus: &str, _uid: &str, _route: &Route) -> Result<Updated, Error> {
    unimplemented!()
}

/// Removes a destination and all it holds. Script `delete`.
pub async fn delete(_link: &Link, _bus: &str, _uid: &str) -> Result<Deleted, Error> {
    unimplemented!()
}

/// `namespace/name` → UID of every destination of the bus.
pub async fn names(_link: &Link, _bus: &str) -> Result<BTreeMap<String, String>, Error> {
    unimplemented!()
}

/// UID → route of every destination of the bus.
pub async fn routes(_link: &Link, _bus: &str) -> Result<BTreeMap<String, Route>, Error> {
    unimplemented!()
}
