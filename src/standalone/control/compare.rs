//! What must change in Redis for it to hold what the folder wants. Pure.

use crate::bus::routing::Start;
use crate::plan::{Drain, Route, RouteState};
use crate::standalone::identity::OWNER_PREFIX;
use crate::standalone::records::Record;
use std::collections::BTreeMap;

/// A valid destination of the folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The bus it reads.
    pub bus: String,
    /// Where it begins if it is new.
    pub start: Start,
    /// The same, as recorded.
    pub start_from: String,
    /// Its route; `rev`, `created` and `owner` are ours to fill in.
    pub route: Route,
}

/// What Redis holds of one bus.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// `namespace/name` → UID.
    pub names: BTreeMap<String, String>,
    /// UID → route.
    pub routes: BTreeMap<String, Route>,
}

/// All that is compared.
pub struct Comparison<'a> {
    /// What the folder wants, by `namespace/name`.
    pub wanted: &'a BTreeMap<String, Wanted>,
    /// Every destination that the folder is taken to hold, wanted or with an error: none of them is deleted.
    pub present: &'a dyn Fn(&str) -> bool,
    /// Whether what is not in the folder may be deleted.
    pub complete: bool,
    /// What Redis holds, by bus.
    pub held: &'a BTreeMap<String, Held>,
    /// What was recorded when each was created.
    pub records: &'a BTreeMap<String, Record>,
    /// Our mark.
    pub owner: &'a str,
    /// Now (RFC 3339).
    pub now: &'a str,
    /// Now, milliseconds since the epoch.
    pub millis: u64,
}

/// What is to be done about one destination.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `create`: it is missing, or its start was not recorded. Where it turns out to be there already, `update` follows.
    Create {
        /// The bus it reads.
        bus: String,
        /// `namespace/name`.
        name: String,
        /// Its UID.
        uid: String,
        /// Its route.
        route: Route,
        /// Where it begins.
        start: Start,
        /// The same as its spec says it, to be recorded.
        start_from: String,
    },
    /// `update`.
    Update {
        /// The bus it reads.
        bus: String,
        /// `namespace/name`.
        name: String,
        /// Its UID.
        uid: String,
        /// Its route.
        route: Route,
    },
    /// Nothing.
    Keep {
        /// `namespace/name`.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// `update`: the folder does not hold it any more; it takes no new events and delivers what it has.
    Drain {
        /// The bus it reads.
        bus: String,
        /// `namespace/name`.
        name: String,
        /// Its UID.
        uid: String,
        /// Its route, closed.
        route: Route,
    },
    /// `delete` if nothing waits any more, or the time is over.
    Drains {
        /// The bus it reads.
        bus: String,
        /// `namespace/name`.
        name: String,
        /// Its UID.
        uid: String,
        /// Until when, milliseconds since the epoch.
        until: u64,
    },
    /// `delete`: the folder does not hold it any more.
    Delete {
        /// The bus it reads.
        bus: String,
        /// `namespace/name`.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// It cannot be as the folder wants.
    Refuse {
        /// `namespace/name`.
        name: String,
        /// The field that stands against it.
        field: &'static str,
        /// Why, and what to do.
        message: String,
    },
}

impl Change {
    /// `namespace/name`.
    pub fn name(&self) -> &str {
        match self {
            Change::Create { name, .. }
            | Change::Update { name, .. }
            | Change::Keep { name, .. }
            | Change::Drain { name, .. }
            | Change::Drains { name, .. }
            | Change::Delete { name, .. }
            | Change::Refuse { name, .. } => name,
        }
    }
}

impl Comparison<'_> {
    /// Every change, deletions first.
    pub fn changes(&self, new_uid: impl Fn() -> String) -> Vec<Change> {
        let wanted = self.wanted.iter().map(|(name, wanted)| self.change(name, wanted, &new_uid));
        self.deletions().into_iter().chain(wanted).collect()
    }

    fn deletions(&self) -> Vec<Change> {
        let mut deletions = Vec::new();
        for (bus, held) in self.held.iter().filter(|_| self.complete) {
            for (name, uid) in &held.names {
                let ours = held.routes.get(uid).filter(|route| route.owner == self.owner);
                if let Some(route) = ours.filter(|_| !(self.present)(name)) {
                    deletions.push(self.deletion(bus.clone(), name.clone(), uid.clone(), route));
                }
            }
        }
        deletions.extend(
            self.records
                .iter()
                .filter(|(name, record)| self.complete && self.is_forgotten(name, record))
                .map(|(name, record)| Change::Delete { bus: record.bus.clone(), name: name.clone(), uid: record.uid.clone() }),
        );
        deletions
    }

    fn deletion(&self, bus: String, name: String, uid: String, route: &Route) -> Change {
        match route.drain {
            None => Change::Delete { bus, name, uid },
            Some(Drain { timeout: _, until: Some(until) }) => Change::Drains { bus, name, uid, until },
            Some(Drain { timeout, until: None }) => {
                let until = self.millis.saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
                let drain = Some(Drain { timeout, until: Some(until) });
                Change::Drain { bus, name, uid, route: Route { rev: route.rev + 1, state: RouteState::Closed, drain, ..route.clone() } }
            }
        }
    }

    /// Whether a record is of a destination that neither the folder nor Redis holds.
    fn is_forgotten(&self, name: &str, record: &Record) -> bool {
        !(self.present)(name) && self.held.get(&record.bus).is_none_or(|held| !held.names.contains_key(name))
    }

    fn change(&self, name: &str, wanted: &Wanted, new_uid: impl Fn() -> String) -> Change {
        let record = self.records.get(name);
        if let Some((field, message)) = self.refusal(name, wanted, record) {
            return Change::Refuse { name: name.to_owned(), field, message };
        }
        let held = self.held.get(&wanted.bus);
        let known = held.and_then(|held| held.names.get(name)).or(record.map(|record| &record.uid));
        let Some(uid) = known.cloned() else { return self.create(name, new_uid(), wanted, None) };
        match (held.and_then(|held| held.routes.get(&uid)), record) {
            (Some(route), Some(record)) if record.uid == uid => self.update(name, uid, wanted, route),
            _ => self.create(name, uid, wanted, record),
        }
    }

    fn create(&self, name: &str, uid: String, wanted: &Wanted, record: Option<&Record>) -> Change {
        let record = record.filter(|record| record.uid == uid);
        let held = self.held.get(&wanted.bus).and_then(|held| held.routes.get(&uid));
        let created = held.map(|route| &route.created).or(record.map(|record| &record.created));
        let created = created.map_or(self.now, String::as_str).to_owned();
        let rev = held.map_or(1, |route| route.rev + 1);
        let route = Route { rev, owner: self.owner.to_owned(), created, ..wanted.route.clone() };
        let start = record.map_or(wanted.start, |record| Start::Recorded(record.start));
        Change::Create { bus: wanted.bus.clone(), name: name.to_owned(), uid, route, start, start_from: wanted.start_from.clone() }
    }

    fn update(&self, name: &str, uid: String, wanted: &Wanted, held: &Route) -> Change {
        // Another standalone with the same folder may stand by: its mark alone is no reason to write, or both would for ever.
        let same = Route { rev: held.rev, owner: held.owner.clone(), created: held.created.clone(), ..wanted.route.clone() };
        if same == *held {
            return Change::Keep { name: name.to_owned(), uid };
        }
        let route = Route { rev: held.rev + 1, owner: self.owner.to_owned(), ..same };
        Change::Update { bus: wanted.bus.clone(), name: name.to_owned(), uid, route }
    }

    /// Why a destination cannot be as the folder wants it.
    fn refusal(&self, name: &str, wanted: &Wanted, record: Option<&Record>) -> Option<(&'static str, String)> {
        let elsewhere = self.held.iter().find(|(bus, held)| **bus != wanted.bus && held.names.contains_key(name)).map(|(bus, _)| bus);
        let bus = elsewhere.or(record.map(|record| &record.bus)).filter(|bus| **bus != wanted.bus);
        if let Some(bus) = bus {
            let why = "the events that wait belong to it; create another EventDestination";
            return Some(("spec.bus", format!("bus cannot be changed (it is {bus}): {why}")));
        }
        if let Some(record) = record.filter(|record| record.start_from != wanted.start_from) {
            let why = "it only counts when the EventDestination is created; create another one";
            return Some(("spec.startFrom", format!("startFrom cannot be changed (it was {}): {why}", record.start_from)));
        }
        let held = self.held.get(&wanted.bus)?;
        let owner = &held.routes.get(held.names.get(name)?)?.owner;
        let foreign = !owner.is_empty() && !owner.starts_with(OWNER_PREFIX);
        foreign.then(|| ("metadata.name", format!("{name} of bus {} belongs to {owner}; give it another name", wanted.bus)))
    }
}

#[cfg(test)]
mod tests;
