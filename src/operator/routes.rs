//! The half of apply that Redis holds: route, queue and consumer group of each destination.

use super::error::Error;
use super::validate::Validated;
use crate::bus::Link;
use crate::bus::routing::{self, Created, Updated};
use crate::bus::state;
use crate::plan::Route;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What begins every owner mark of an operator.
const OWNER_PREFIX: &str = "operator/";

/// What was written, so that nothing is written twice. Redis may still have lost it: [`Routes::forget`] what it turns out not to hold.
#[derive(Debug)]
pub struct Routes {
    owner: String,
    /// By UID: the bus and the route.
    written: Mutex<HashMap<String, (String, Route)>>,
}

impl Routes {
    /// Nothing is known to be written yet. The mark is of this cluster (by the UID of its namespace `kube-system`) and this release: only routes with it
    /// are ever deleted as orphans.
    pub fn new(cluster: &str, namespace: &str) -> Routes {
        Routes { owner: format!("{OWNER_PREFIX}{cluster}/{namespace}"), written: Mutex::default() }
    }

    /// The mark that our routes carry.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Makes Redis hold the route; makes queue and group where they are missing.
    ///
    /// # Errors
    /// If Redis fails, a newer revision is there, or the name belongs to a destination of another cluster.
    pub async fn apply(&self, link: &Link, wanted: &Validated) -> Result<(), Error> {
        if self.written().get(&wanted.uid).is_some_and(|(_, route)| *route == wanted.route) {
            return Ok(());
        }
        match routing::update(link, &wanted.bus, &wanted.uid, &wanted.route).await? {
            Updated::Done => {}
            Updated::Gone => self.create(link, wanted).await?,
            Updated::Stale => return Err(Error::Stale(wanted.route.full_name())),
        }
        self.written().insert(wanted.uid.clone(), (wanted.bus.clone(), wanted.route.clone()));
        Ok(())
    }

    /// Makes Redis hold the route although a newer revision is there: the API server was restored from a backup, or someone changed Redis.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn restore(&self, link: &Link, wanted: &Validated) -> Result<(), Error> {
        let Validated { uid, bus, route, .. } = wanted;
        routing::restore(link, bus, uid, route).await?;
        tracing::warn!(destination = route.full_name(), bus, uid, revision = route.rev, "replaced a later revision of its route");
        self.written().insert(uid.clone(), (bus.clone(), route.clone()));
        Ok(())
    }

    async fn create(&self, link: &Link, wanted: &Validated) -> Result<(), Error> {
        let Validated { uid, bus, start, route, .. } = wanted;
        let created = match routing::create(link, bus, uid, route, *start).await? {
            Created::Taken(other) => {
                self.evict(link, bus, &other, route).await?;
                routing::create(link, bus, uid, route, *start).await?
            }
            created => created,
        };
        match created {
            Created::New(start) => tracing::info!(destination = route.full_name(), bus, %start, "destination created"),
            // made this very moment by an operator that led before us
            Created::Existed(_) => drop(routing::update(link, bus, uid, route).await?),
            Created::Taken(_) => return Err(Error::NameTaken(route.full_name())),
        }
        Ok(())
    }

    /// Removes what an object of the same name left behind, if it was ours: it is gone, or it would still have the name.
    async fn evict(&self, link: &Link, bus: &str, uid: &str, route: &Route) -> Result<(), Error> {
        // one that is gone by now, or that cannot be read, is not touched
        if state::snapshot(link, bus, uid).await?.route.is_some_and(|held| held.owner == self.owner) {
            routing::delete(link, bus, uid, &route.full_name()).await?;
            tracing::info!(destination = route.full_name(), bus, uid, "removed what an earlier object of this name held");
        }
        Ok(())
    }

    /// The destination takes no new events any more; what it has is still delivered. `None` if Redis does not hold it.
    ///
    /// # Errors
    /// If Redis fails.
    pub async fn close(&self, link: &Link, bus: &str, uid: &str, rev: i64) -> Result<Option<Route>, Error> {
        let Some(held) = state::snapshot(link, bus, uid).await?.route else { return Ok(None) };
        let closed = Route { state: crate::plan::RouteState::Closed, rev: held.rev.max(rev), ..held.clone() };
        if held != closed {
            routing::update(link, bus, uid, &closed).await?;
            self.written().insert(uid.to_owned(), (bus.to_owned(), closed.clone()));
        }
        Ok(Some(closed))
    }

    /// Redis may hold something else by now: the next apply writes.
    pub fn forget(&self, uid: &str) {
        self.written().remove(uid);
    }

    /// What was written last, and to which bus.
    pub fn last(&self, uid: &str) -> Option<(String, Route)> {
        self.written().get(uid).cloned()
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, (String, Route)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
