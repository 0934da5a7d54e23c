//! What the router knows of the destinations: their routes, and which of them are behind the cursor.

use crate::bus::cursor::{Loaded, Target};
use crate::event::{Attributes, Sequence};
use crate::filter::{self, Filter};
use crate::plan::{BacklogLimit, RouteState};
use std::collections::BTreeMap;
use std::time::Duration;

/// All destinations of a bus, as of one generation.
#[derive(Debug, Default)]
pub struct Table {
    /// The generation.
    pub generation: u64,
    live: BTreeMap<String, Live>,
}

/// One destination.
#[derive(Debug)]
pub struct Live {
    start: Sequence,
    filters: Vec<Filter>,
    open: bool,
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
            filters: route.filters,
            open: route.state == RouteState::Open,
            name: (route.namespace, route.name),
            limit: route.limit,
            dead_letter_max_age: route.dead_letter_max_age,
            fill: target.fill,
            is_full: false,
        })
    }

    /// Whether its filters take an event.
    pub fn wants(&self, attributes: &Attributes) -> bool {
        self.open && filter::all_match(&self.filters, attributes)
    }

    /// Whether an event is not older than the destination's start.
    pub fn is_above_start(&self, sequence: Sequence) -> bool {
        sequence > self.start
    }
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
