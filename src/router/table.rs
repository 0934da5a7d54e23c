//! What the router knows of the destinations: their routes, and which of them are behind the cursor.

use crate::bus::cursor::{Loaded, Target};
use crate::event::Sequence;
use crate::filter::cel::Failure;
use crate::filter::{Filters, Invalid, Subject};
use crate::plan::{BacklogLimit, Route, RouteState};
use crate::telemetry::Throttle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The failures of the filters of one destination are told once in this time.
const TELL: Duration = Duration::from_secs(60);

/// All destinations of a bus, as of one generation.
#[derive(Debug, Default)]
pub struct Table {
    /// The generation.
    pub generation: u64,
    live: BTreeMap<String, Live>,
}

/// Events for which filters of a destination failed.
#[derive(Debug)]
struct Failures {
    count: AtomicU64,
    last: Mutex<String>,
    told: Throttle,
}

impl Default for Failures {
    fn default() -> Failures {
        Failures { count: AtomicU64::default(), last: Mutex::default(), told: Throttle::new(TELL) }
    }
}

/// Failures of one destination since the last look.
pub struct Failed {
    /// Events for which a filter of it failed.
    pub events: u64,
    /// How the last one failed, as one word.
    pub reason: String,
    /// It is time to tell of it.
    pub is_told: bool,
}

impl Failures {
    fn count(&self, failure: Failure) {
        self.note(&failure.to_string());
    }

    /// Counts an event that no filter was asked about; it is not wanted.
    fn count_unusable(&self) -> bool {
        self.note("Unusable");
        false
    }

    fn note(&self, failure: &str) {
        self.count.fetch_add(1, Relaxed);
        failure.clone_into(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn take(&self) -> Option<Failed> {
        let events = self.count.swap(0, Relaxed);
        let reason = || self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (events > 0).then(|| Failed { events, reason: reason(), is_told: self.told.pass().is_some() })
    }
}

/// One destination.
#[derive(Debug)]
pub struct Live {
    start: Sequence,
    /// `None`: an expression among them cannot be used. It was valid where the route was made, so that was another version.
    filters: Option<Filters>,
    open: bool,
    failures: Failures,
    /// Its namespace and name.
    pub name: (String, String),
    /// Most that may wait, by its spec.
    pub limit: Option<BacklogLimit>,
    /// How long its dead letters are kept.
    pub dead_letter_max_age: Duration,
    /// Its own position, where it is behind the cursor.
    pub fill: Option<Sequence>,
    /// Its queue was full at the last look; it is filled again once there is room.
    pub is_full: bool,
}

impl Live {
    fn new(target: Target) -> Option<Live> {
        let route = target.route?;
        Some(Live {
            start: target.start,
            filters: compile(&route),
            open: route.state == RouteState::Open,
            failures: Failures::default(),
            name: (route.namespace, route.name),
            limit: route.limit,
            dead_letter_max_age: route.dead_letter_max_age,
            fill: target.fill,
            is_full: false,
        })
    }

    /// Whether its filters take an event. An expression that has no answer does not match, and is counted.
    pub fn wants(&self, event: &Subject) -> bool {
        let matches = |filters: &Filters| filters.match_event(event, &mut |failure| self.failures.count(failure));
        self.open && self.filters.as_ref().map_or_else(|| self.failures.count_unusable(), matches)
    }

    /// What was counted since the last time.
    pub fn take_failures(&self) -> Option<Failed> {
        self.failures.take()
    }

    /// Whether an event is not older than the destination's start.
    pub fn is_above_start(&self, sequence: Sequence) -> bool {
        sequence > self.start
    }
}

fn compile(route: &Route) -> Option<Filters> {
    let told = |error: &Invalid| {
        let (namespace, destination) = (&route.namespace, &route.name);
        tracing::warn!(namespace, destination, %error, "a filter cannot be used; the destination gets no events until it is changed");
    };
    Filters::compile(&route.filters).inspect_err(told).ok()
}

impl Table {
    /// Takes over what changed; answers the uids.
    pub fn apply(&mut self, loaded: Loaded) -> Vec<String> {
        self.generation = loaded.generation;
        let mut changed = Vec::with_capacity(loaded.destinations.len());
        for (uid, target) in loaded.destinations {
            changed.push(uid.clone());
            match target.and_then(Live::new) {
                Some(live) => self.live.insert(uid, live),
                None => self.live.remove(&uid),
            };
        }
        changed
    }

    /// All destinations.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Live)> {
        self.live.iter().map(|(uid, live)| (uid.as_str(), live))
    }

    /// A destination that follows the cursor.
    pub fn live(&self, uid: &str) -> Option<&Live> {
        self.live.get(uid).filter(|live| live.fill.is_none())
    }

    /// A destination, wherever it is.
    pub fn get_mut(&mut self, uid: &str) -> Option<&mut Live> {
        self.live.get_mut(uid)
    }

    /// A destination, wherever it is.
    pub fn get(&self, uid: &str) -> Option<&Live> {
        self.live.get(uid)
    }

    /// Destinations behind the cursor, with their positions.
    pub fn fills(&self) -> impl Iterator<Item = (&str, Sequence, &Live)> {
        self.live.iter().filter_map(|(uid, live)| Some((uid.as_str(), live.fill?, live)))
    }

    /// A destination went behind the cursor, or caught up (`None`).
    pub fn set_fill(&mut self, uid: &str, fill: Option<Sequence>, generation: u64) {
        self.generation = generation;
        if let Some(live) = self.live.get_mut(uid) {
            live.fill = fill;
        }
    }
}
