//! Compares with what Redis and the release namespace hold: each minute, after a new connection to Redis, and when we begin to lead.
//!
//! What is missing or differs is reconciled. What belongs to nobody, and is ours, is deleted: but only after the API server itself has said that the object
//! is gone, because what we watch may be behind.

use super::api;
use super::board::{Key, Outcome};
use super::context::{Context, Watched, key_of};
use super::error::{Class, Error, NAME_TAKEN};
use crate::bus::{Link, routing};
use crate::plan::Route;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Sweeps for as long as it is awaited: each Redis by itself, and the release namespace.
pub async fn run(context: Arc<Context>) {
    let servers = context.config.servers.iter().map(|server| of_server(&context, &server.buses));
    tokio::join!(futures::future::join_all(servers), of_workers(&context));
}

async fn of_server(context: &Context, buses: &[String]) {
    let Some(first) = buses.first() else { return };
    let mut next = Next::default();
    loop {
        let link = context.links.of(first).link().await;
        // a link that has just been opened: what Redis holds may be older, or gone
        let next = next.after(sweep(context, buses, &link).await);
        tokio::select! {
            () = link.closed() => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

async fn of_workers(context: &Context) {
    let mut next = Next::default();
    loop {
        tokio::time::sleep(next.after(sweep_workers(context).await)).await;
    }
}

/// When to sweep again. A failure is told once until it passes.
#[derive(Default)]
struct Next(Option<Class>);

impl Next {
    fn after(&mut self, swept: Result<(), Error>) -> Duration {
        match swept {
            Ok(()) => {
                self.0 = None;
                EVERY
            }
            // we may lead again
            Err(Error::NotLeading) => PAUSE,
            Err(error) => {
                let class = error.class();
                if self.0.replace(class) != Some(class) {
                    tracing::warn!(class = class.word(), %error, "orphans were not looked for; trying again");
                }
                PAUSE
            }
        }
    }
}

async fn sweep(context: &Context, buses: &[String], link: &Link) -> Result<(), Error> {
    let present = by_uid(&context.store);
    for bus in buses {
        let held = routing::routes(link, bus).await?;
        let known = routing::names(link, bus).await?;
        let is_unknown = |uid: &str| held.get(uid).is_some_and(|route| !known.contains_key(&route.full_name()));
        for uid in present.keys().filter(|uid| differs(context, bus, uid, &held) || is_unknown(uid)) {
            context.routes.forget(uid);
            context.trigger.one(present[uid].clone());
        }
        let names: HashSet<String> = held.values().map(Route::full_name).collect();
        context.trigger.many(present.values().filter(|key| lacked_a_name(context, bus, key) && !names.contains(&key.to_string())).cloned());
        let orphans = held.iter().filter(|(uid, route)| route.owner == context.routes.owner() && !present.contains_key(*uid));
        for (uid, route) in orphans {
            let key = Key { namespace: route.namespace.clone(), name: route.name.clone() };
            if !is_gone(context, &key, uid).await? {
                continue;
            }
            context.leadership.check()?;
            let deleted = routing::delete(link, bus, uid, &key.to_string()).await?;
            context.routes.forget(uid);
            tracing::warn!(destination = %key, uid, bus, backlog = deleted.backlog, "removed from redis: its object is gone");
        }
    }
    Ok(())
}

async fn sweep_workers(context: &Context) -> Result<(), Error> {
    let present = by_uid(&context.store);
    for orphan in context.workers.orphans(|uid| present.contains_key(uid)).await? {
        let key = Key { namespace: orphan.namespace, name: orphan.name };
        if is_gone(context, &key, &orphan.uid).await? {
            context.workers.remove(&orphan.uid).await?;
            tracing::warn!(destination = %key, uid = orphan.uid, "removed its worker: its object is gone");
        }
    }
    Ok(())
}

/// Whether Redis holds something else than what was written last.
fn differs(context: &Context, bus: &str, uid: &str, held: &BTreeMap<String, Route>) -> bool {
    context.routes.last(uid).is_some_and(|(on, route)| on == bus && held.get(uid) != Some(&route))
}

/// Whether its name belonged to somebody else's destination when it was tried last.
fn lacked_a_name(context: &Context, bus: &str, key: &Key) -> bool {
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed { reason: NAME_TAKEN, .. });
    context.board.get(key).is_some_and(|entry| entry.bus == bus && failed(&entry.outcome))
}

fn by_uid(store: &Store<Watched>) -> HashMap<String, Key> {
    store.state().iter().filter_map(|object| Some((object.uid()?, key_of(&**object)))).collect()
}

/// Asks the API server itself.
async fn is_gone(context: &Context, key: &Key, uid: &str) -> Result<bool, Error> {
    let found = api::metadata(&context.client, key).await?;
    Ok(found.is_none_or(|metadata| metadata.uid.as_deref() != Some(uid)))
}
