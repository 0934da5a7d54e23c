//! Makes Redis and the worker hold what the folder wants: once at each change, after each new connection, and every five seconds.

pub mod compare;
pub mod want;

use super::folder::Contents;
use super::identity::{self, Identity};
use super::records::{Record, Records};
use crate::admin::Gate;
use crate::bus::connection::Error;
use crate::bus::routing::{self, Created, Updated};
use crate::bus::{Link, Links, PerServer};
use crate::plan::Plan;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::worker::plans::Plans;
use compare::{Change, Comparison, Held, Wanted};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};
use want::Destination;

/// How often all is compared again though nothing has changed here: someone may have changed Redis, or emptied it.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps Redis and the worker as the folder wants them.
pub struct Control {
    links: Links,
    settings: Arc<Settings>,
    identity: Identity,
    records: Records,
    folder: watch::Receiver<Arc<Contents>>,
    /// Opens once Redis holds what the folder wants.
    gate: Gate,
    plans: watch::Sender<Arc<BTreeMap<String, Arc<Plan>>>>,
    /// The plan last given to the worker, by `namespace/name`.
    last: BTreeMap<String, Arc<Plan>>,
    /// What was last told about each destination.
    told: BTreeMap<String, String>,
    allow_insecure_tls: bool,
}

impl Control {
    /// One that has done nothing yet, and the plans that it will make.
    pub fn new(
        links: Links,
        settings: Arc<Settings>,
        identity: Identity,
        records: Records,
        folder: watch::Receiver<Arc<Contents>>,
        gate: Gate,
    ) -> (Control, Plans) {
        let (plans, receiver) = watch::channel(Arc::default());
        let (last, told, allow_insecure_tls) = (BTreeMap::new(), BTreeMap::new(), false);
        (Control { links, settings, identity, records, folder, gate, plans, last, told, allow_insecure_tls }, receiver)
    }

    /// Whether a destination may accept any certificate of its receiver; it may not unless this says so.
    pub fn allow_insecure_tls(&mut self, allowed: bool) {
        self.allow_insecure_tls = allowed;
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.work() => {}
            () = shutdown.begun() => {}
        }
    }

    async fn work(&mut self) {
        let mut failing = false;
        loop {
            let open = self.open().await;
            match self.reconcile(&open).await {
                Ok(()) => {
                    failing = false;
                    self.gate.set_ready();
                    self.wait(&open).await;
                }
                Err(error) => {
                    if !failing {
                        warn!(%error, "destinations cannot be written to redis; trying again each second");
                    }
                    failing = true;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The connections that are there; waits for one. A bus whose Redis is away holds up no other.
    async fn open(&self) -> Open {
        let first = futures::future::select_all(self.links.iter().map(|links| Box::pin(links.link())));
        first.await;
        self.links.map(|links| links.current().ok())
    }

    /// Waits for a reason to compare again.
    async fn wait(&mut self, open: &Open) {
        let all = open.iter().all(Option::is_some);
        let ended = open.iter().flatten().map(|link| Box::pin(link.closed()));
        tokio::select! {
            changed = self.folder.changed() => if changed.is_err() {
                // The folder is not watched any more: we are ending.
                std::future::pending::<()>().await;
            },
            _ = futures::future::select_all(ended) => {}
            () = tokio::time::sleep(if all { AGAIN } else { PAUSE }) => {}
        }
    }

    /// Compares all and applies what differs. A failure of one stops none of the others; the last one is answered.
    async fn reconcile(&mut self, open: &Open) -> Result<(), Error> {
        let contents = Arc::clone(&self.folder.borrow_and_update());
        let destinations = want::destinations(&contents.objects, self.allow_insecure_tls);
        let (held, mut outcome) = self.held(open).await?;
        let mut told: BTreeMap<String, String> = unresolved(&destinations);
        told.extend(without_target(&destinations));
        let mut plans = self.out_of_reach(&destinations, &held);
        for change in self.changes(&contents, &destinations, &held) {
            let name = change.name().to_owned();
            match self.apply(open, change).await {
                Ok(Applied::Runs(uid)) => {
                    // without what it refers to it gets no plan, so no attempt is made; it is routed, and its events wait
                    if let Some(Ok(Destination { plan: Ok(plan), .. })) = destinations.get(&name) {
                        plans.insert(name, self.complete_plan(plan, uid));
                    }
                }
                Ok(Applied::Refused(reason)) => {
                    plans.extend(self.last.remove_entry(&name));
                    told.insert(name, reason);
                }
                Ok(Applied::Gone) => {}
                Err(error) => {
                    plans.extend(self.last.remove_entry(&name));
                    outcome = Err(error);
                }
            }
        }
        self.tell(told);
        self.publish(plans);
        outcome
    }

    /// What is held of the buses that can be reached; the last failure of the others is answered beside, unless all fail.
    async fn held(&self, open: &Open) -> Result<(BTreeMap<String, Held>, Result<(), Error>), Error> {
        let (mut held, mut outcome) = (BTreeMap::new(), Ok(()));
        for bus in self.settings.buses.keys() {
            let Some(link) = open.of(bus) else { continue };
            match held_of(link, bus).await {
                Ok(found) => drop(held.insert(bus.clone(), found)),
                Err(error) => outcome = Err(error),
            }
        }
        match outcome {
            Err(error) if held.is_empty() => Err(error),
            outcome => Ok((held, outcome)),
        }
    }

    /// The plans of destinations whose bus cannot be reached: they stay as they are.
    fn out_of_reach(&self, destinations: &Destinations, held: &BTreeMap<String, Held>) -> BTreeMap<String, Arc<Plan>> {
        let is_away = |name: &str, plan: &Plan| destinations.contains_key(name) && !held.contains_key(&plan.bus);
        let last = self.last.iter().filter(|(name, plan)| is_away(name, plan));
        last.map(|(name, plan)| (name.clone(), Arc::clone(plan))).collect()
    }

    fn changes(&self, contents: &Contents, destinations: &Destinations, held: &BTreeMap<String, Held>) -> Vec<Change> {
        let wanted = destinations.iter().filter_map(|(name, found)| Some((name.clone(), found.as_ref().ok()?.wanted.clone())));
        let wanted = wanted.filter(|(_, wanted)| held.contains_key(&wanted.bus));
        let comparison = Comparison {
            wanted: &wanted.collect(),
            present: &|name| destinations.contains_key(name),
            complete: contents.complete,
            held,
            records: self.records.all(),
            owner: self.identity.owner(),
            now: &jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        comparison.changes(identity::random_uid)
    }

    async fn apply(&mut self, open: &Open, change: Change) -> Result<Applied, Error> {
        let of = |bus: &str| open.of(bus).as_ref().ok_or_else(|| Error::Unavailable(format!("the redis of bus {bus} is away")));
        match change {
            Change::Keep { uid, .. } => Ok(Applied::Runs(uid)),
            Change::Refuse { field, message, .. } => Ok(Applied::Refused(format!("{field}: {message}"))),
            Change::Create { bus, name, uid, route, start: asked, start_from } => {
                let start = match routing::create(of(&bus)?, &bus, &uid, &route, asked).await? {
                    Created::New(start) => start,
                    Created::Existed(start) => {
                        routing::update(of(&bus)?, &bus, &uid, &route).await?;
                        start
                    }
                    Created::Taken(other) => return Err(Error::Refused(format!("{name} was taken by {other} this very moment"))),
                };
                info!(destination = name, bus, %start, "destination created");
                if asked.is_before(start) {
                    warn!(destination = name, bus, %start, "the bus no longer keeps all events since startTime; it begins with the first that is kept");
                }
                self.record(&name, Some(Record { uid: uid.clone(), bus, start_from, start, created: route.created }));
                Ok(Applied::Runs(uid))
            }
            Change::Update { bus, name, uid, route } => match routing::update(of(&bus)?, &bus, &uid, &route).await? {
                Updated::Done => {
                    info!(destination = name, bus, revision = route.rev, "destination changed");
                    Ok(Applied::Runs(uid))
                }
                Updated::Stale | Updated::Gone => Err(Error::Refused(format!("{name} was changed by someone else this very moment"))),
            },
            Change::Delete { bus, name, uid } => {
                let held = routing::delete(of(&bus)?, &bus, &uid, &name).await?;
                info!(destination = name, bus, backlog = held.backlog, dead_letters = held.dead_letters, "destination deleted");
                self.record(&name, None);
                Ok(Applied::Gone)
            }
        }
    }

    /// Without its record a destination would begin anew after a loss of Redis; that is no reason not to deliver now.
    fn record(&mut self, name: &str, record: Option<Record>) {
        if let Err(error) = self.records.set(name, record) {
            warn!(destination = name, %error, "where it began cannot be recorded");
        }
    }

    fn complete_plan(&self, plan: &Plan, uid: String) -> Arc<Plan> {
        let replicas = self.settings.buses.get(&plan.bus).map_or(0, |bus| bus.durability.replicas);
        let unnamed = Plan { id: String::new(), uid, replicas, ..plan.clone() };
        Arc::new(Plan { id: self.identity.plan_id(&unnamed), ..unnamed })
    }

    /// Tells once of each destination why it does not run as the folder says.
    fn tell(&mut self, now: BTreeMap<String, String>) {
        for (name, reason) in now.iter().filter(|(name, reason)| self.told.get(*name) != Some(reason)) {
            warn!(destination = name, reason, "destination does not run as the folder says");
        }
        self.told = now;
    }

    fn publish(&mut self, plans: BTreeMap<String, Arc<Plan>>) {
        let by_uid: BTreeMap<String, Arc<Plan>> = plans.values().map(|plan| (plan.uid.clone(), Arc::clone(plan))).collect();
        self.last = plans;
        self.plans.send_if_modified(|present| {
            let changed = **present != by_uid;
            if changed {
                *present = Arc::new(by_uid);
            }
            changed
        });
    }
}

/// The connection to each Redis that is there.
type Open = PerServer<Option<Link>>;

async fn held_of(link: &Link, bus: &str) -> Result<Held, Error> {
    Ok(Held { names: routing::names(link, bus).await?, routes: routing::routes(link, bus).await? })
}

/// Destinations of the folder by `namespace/name`, or why they cannot run.
type Destinations = BTreeMap<String, Result<Destination, String>>;

fn unresolved(destinations: &Destinations) -> BTreeMap<String, String> {
    let reason = |found: &Result<Destination, String>| match found {
        Ok(destination) => destination.plan.as_ref().err().cloned(),
        Err(reason) => Some(reason.clone()),
    };
    destinations.iter().filter_map(|(name, found)| Some((name.clone(), reason(found)?))).collect()
}

/// Destinations whose dead letters shall be sent on to one that is not there, and what is said of that.
fn without_target(destinations: &Destinations) -> BTreeMap<String, String> {
    let missing = |destination: &Destination| {
        let Wanted { bus, route, .. } = &destination.wanted;
        let target = format!("{}/{}", route.namespace, route.dead_letters_to.as_ref()?);
        let found = destinations.get(&target).and_then(|found| found.as_ref().ok()).is_some_and(|found| found.wanted.bus == *bus);
        let message = format!(
            "spec.delivery.deadLetter.destinationRef: there is no destination {target} on bus {bus}; dead letters are kept, and not sent on"
        );
        (!found).then_some(message)
    };
    destinations.iter().filter_map(|(name, found)| Some((name.clone(), missing(found.as_ref().ok()?)?))).collect()
}

/// What became of a destination.
enum Applied {
    /// Its route is as it shall be; it has this UID.
    Runs(String),
    /// It stays as it was, for this reason.
    Refused(String),
    /// It is deleted.
    Gone,
}

#[cfg(test)]
mod tests;
