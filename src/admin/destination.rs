//! What is measured of one destination.

use super::metrics::Seconds;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Bounds of the latency histograms, seconds: from a healthy neighbour to a backlog of a day.
const LATENCIES: [f64; 12] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1_800.0, 14_400.0, 86_400.0];

/// What a worker does with a destination, as it reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs, reason = "each is a status word, see `docs/delivery.md`")]
pub enum DeliveryState {
    Idle,
    Active,
    RateLimited,
    Retrying,
    Halted,
    Blocked,
    KeyBacklogFull,
    Suspended,
}

impl DeliveryState {
    const ALL: [DeliveryState; 8] = [
        DeliveryState::Idle,
        DeliveryState::Active,
        DeliveryState::RateLimited,
        DeliveryState::Retrying,
        DeliveryState::Halted,
        DeliveryState::Blocked,
        DeliveryState::KeyBacklogFull,
        DeliveryState::Suspended,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Idle => "Idle",
            DeliveryState::Active => "Active",
            DeliveryState::RateLimited => "RateLimited",
            DeliveryState::Retrying => "Retrying",
            DeliveryState::Halted => "Halted",
            DeliveryState::Blocked => "Blocked",
            DeliveryState::KeyBacklogFull => "KeyBacklogFull",
            DeliveryState::Suspended => "Suspended",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    destination: String,
}

impl Labels {
    fn of(namespace: &str, name: &str) -> Labels {
        Labels { namespace: namespace.to_owned(), destination: name.to_owned() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    namespace: String,
    destination: String,
    outcome: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    namespace: String,
    destination: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    namespace: String,
    destination: String,
    state: DeliveryState,
}

impl StateLabels {
    fn of(labels: &Labels, state: DeliveryState) -> StateLabels {
        StateLabels { namespace: labels.namespace.clone(), destination: labels.destination.clone(), state }
    }
}

type Latencies = Family<Labels, Histogram, fn() -> Histogram>;

/// The handles of one destination. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DestinationMetrics {
    labels: Labels,
    attempts: Family<AttemptLabels, Counter>,
    dead_lettered: Family<ReasonLabels, Counter>,
    seen: Arc<Mutex<Seen>>,
    states: [Gauge; DeliveryState::ALL.len()],
    /// Events answered with 2xx.
    pub delivered: Counter,
    /// Events dropped by a limit or by `onExhausted: Drop`.
    pub dropped: Counter,
    /// Events that wait (`XLEN` of the queue).
    pub backlog: Gauge,
    /// Age of the oldest event that waits; 0 if there is none.
    pub backlog_oldest: Seconds,
    /// Failed attempts of the event at the head.
    pub head_attempts: Gauge,
    /// From acceptance to the 2xx.
    pub end_to_end_latency: Histogram,
    /// From acceptance to the start of the first attempt.
    pub dispatch_latency: Histogram,
    /// Requests under way.
    pub in_flight: Gauge,
    /// First successful sends below one before them in their lane. Stays 0.
    pub order_violations: Counter,
}

/// Label sets made for one destination, to be removed with it.
#[derive(Debug, Default)]
struct Seen {
    attempts: HashSet<AttemptLabels>,
    reasons: HashSet<ReasonLabels>,
}

impl DestinationMetrics {
    /// Counts an attempt; `outcome` and `class` are the words of enums (`class` is empty for a success).
    pub fn attempt(&self, outcome: &'static str, class: &'static str) {
        let Labels { namespace, destination } = self.labels.clone();
        let labels = AttemptLabels { namespace, destination, outcome, class };
        self.attempts.get_or_create(&labels).inc();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.attempts.insert(labels);
    }

    /// Says what is done with it at present.
    pub fn set_state(&self, present: DeliveryState) {
        for (gauge, state) in self.states.iter().zip(DeliveryState::ALL) {
            gauge.set((state == present).into());
        }
    }

    /// Counts a dead letter; `reason` is the word of an enum.
    pub fn dead_lettered(&self, reason: &'static str) {
        let Labels { namespace, destination } = self.labels.clone();
        let labels = ReasonLabels { namespace, destination, reason };
        self.dead_lettered.get_or_create(&labels).inc();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.reasons.insert(labels);
    }
}

/// What the router counts of destinations; a value is there from the first event on.
#[derive(Clone, Debug)]
pub struct RoutedMetrics {
    dropped: Family<Labels, Counter>,
    filter_errors: Family<Labels, Counter>,
}

impl RoutedMetrics {
    /// Counts events that were dropped.
    pub fn dropped(&self, namespace: &str, name: &str, events: u64) {
        self.dropped.get_or_create(&Labels::of(namespace, name)).inc_by(events);
    }

    /// Counts events for which a filter failed.
    pub fn filter_errors(&self, namespace: &str, name: &str, events: u64) {
        self.filter_errors.get_or_create(&Labels::of(namespace, name)).inc_by(events);
    }

    /// Forgets a destination that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.dropped.remove(&Labels::of(namespace, name));
        self.filter_errors.remove(&Labels::of(namespace, name));
    }
}

/// All destinations of a process.
#[derive(Debug)]
pub(super) struct DestinationFamilies {
    handles: Mutex<Vec<DestinationMetrics>>,
    attempts: Family<AttemptLabels, Counter>,
    delivered: Family<Labels, Counter>,
    dead_lettered: Family<ReasonLabels, Counter>,
    dropped: Family<Labels, Counter>,
    filter_errors: Family<Labels, Counter>,
    backlog: Family<Labels, Gauge>,
    backlog_oldest: Family<Labels, Seconds>,
    head_attempts: Family<Labels, Gauge>,
    end_to_end_latency: Latencies,
    dispatch_latency: Latencies,
    in_flight: Family<Labels, Gauge>,
    order_violations: Family<Labels, Counter>,
    states: Family<StateLabels, Gauge>,
}

impl DestinationFamilies {
    fn new() -> DestinationFamilies {
        let latencies = || Latencies::new_with_constructor(|| Histogram::new(LATENCIES));
        DestinationFamilies {
            handles: Mutex::default(),
            attempts: Family::default(),
            delivered: Family::default(),
            dead_lettered: Family::default(),
            dropped: Family::default(),
            filter_errors: Family::default(),
            backlog: Family::default(),
            backlog_oldest: Family::default(),
            head_attempts: Family::default(),
            end_to_end_latency: latencies(),
            dispatch_latency: latencies(),
            in_flight: Family::default(),
            order_violations: Family::default(),
            states: Family::default(),
        }
    }

    pub(super) fn register(registry: &mut Registry) -> DestinationFamilies {
        let families = DestinationFamilies::new();
        registry.register("delivery_attempts", "Requests to destinations", families.attempts.clone());
        registry.register("delivered_events", "Events answered with 2xx", families.delivered.clone());
        registry.register("dead_lettered_events", "Events moved to the dead letters", families.dead_lettered.clone());
        registry.register("dropped_events", "Events dropped by a limit or by onExhausted", families.dropped.clone());
        registry.register("filter_errors", "Events for which a filter failed, so that it did not match", families.filter_errors.clone());
        registry.register("backlog_events", "Events that wait", families.backlog.clone());
        registry.register("backlog_oldest_seconds", "Age of the oldest event that waits", families.backlog_oldest.clone());
        registry.register("head_attempts", "Failed attempts of the event at the head", families.head_attempts.clone());
        registry.register("end_to_end_latency_seconds", "From acceptance to the 2xx", families.end_to_end_latency.clone());
        registry.register("dispatch_latency_seconds", "From acceptance to the first attempt", families.dispatch_latency.clone());
        registry.register("in_flight", "Requests under way", families.in_flight.clone());
        registry.register("order_violations", "Deliveries out of order; must stay 0", families.order_violations.clone());
        registry.register("delivery_state", "1 for what the worker does with it at present, 0 for all else", families.states.clone());
        families
    }

    pub(super) fn of(&self, namespace: &str, name: &str) -> DestinationMetrics {
        let labels = Labels::of(namespace, name);
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = handles.iter().find(|known| known.labels == labels) {
            return known.clone();
        }
        let made = self.make(labels);
        handles.push(made.clone());
        made
    }

    pub(super) fn routed(&self) -> RoutedMetrics {
        RoutedMetrics { dropped: self.dropped.clone(), filter_errors: self.filter_errors.clone() }
    }

    fn make(&self, labels: Labels) -> DestinationMetrics {
        DestinationMetrics {
            attempts: self.attempts.clone(),
            dead_lettered: self.dead_lettered.clone(),
            seen: Arc::default(),
            states: DeliveryState::ALL.map(|state| self.states.get_or_create_owned(&StateLabels::of(&labels, state))),
            delivered: self.delivered.get_or_create_owned(&labels),
            dropped: self.dropped.get_or_create_owned(&labels),
            backlog: self.backlog.get_or_create_owned(&labels),
            backlog_oldest: self.backlog_oldest.get_or_create_owned(&labels),
            head_attempts: self.head_attempts.get_or_create_owned(&labels),
            end_to_end_latency: self.end_to_end_latency.get_or_create_owned(&labels),
            dispatch_latency: self.dispatch_latency.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            order_violations: self.order_violations.get_or_create_owned(&labels),
            labels,
        }
    }

    pub(super) fn remove(&self, namespace: &str, name: &str) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = handles.iter().position(|known| known.labels.namespace == namespace && known.labels.destination == name) else {
            return;
        };
        let gone = handles.swap_remove(place);
        let seen = gone.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for labels in &seen.attempts {
            self.attempts.remove(labels);
        }
        for labels in &seen.reasons {
            self.dead_lettered.remove(labels);
        }
        self.remove_plain(&gone.labels);
    }

    fn remove_plain(&self, labels: &Labels) {
        self.delivered.remove(labels);
        self.dropped.remove(labels);
        self.backlog.remove(labels);
        self.backlog_oldest.remove(labels);
        self.head_attempts.remove(labels);
        self.end_to_end_latency.remove(labels);
        self.dispatch_latency.remove(labels);
        self.in_flight.remove(labels);
        self.order_violations.remove(labels);
        for state in DeliveryState::ALL {
            self.states.remove(&StateLabels::of(labels, state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Metrics;

    #[test]
    fn a_destination_has_its_values_from_the_start_and_loses_them_when_it_goes() {
        let metrics = Metrics::new();
        let destination = metrics.destination("shop", "billing");
        let page = metrics.encode();
        for name in ["delivered_events_total", "backlog_events", "in_flight", "order_violations_total", "end_to_end_latency_seconds_count"]
        {
            let line = format!("posthorn_{name}{{namespace=\"shop\",destination=\"billing\"}} 0");
            assert!(page.contains(&line), "{line}\n{page}");
        }
        destination.attempt("failed", "Timeout");
        destination.dead_lettered("Timeout");
        destination.set_state(DeliveryState::Active);
        destination.set_state(DeliveryState::Halted);
        metrics.destination("shop", "billing").delivered.inc();
        let page = metrics.encode();
        assert!(page.contains("outcome=\"failed\",class=\"Timeout\"} 1"), "{page}");
        assert!(page.contains("posthorn_delivered_events_total{namespace=\"shop\",destination=\"billing\"} 1"), "{page}");
        for (state, value) in [("Halted", 1), ("Active", 0), ("Suspended", 0)] {
            let line = format!("posthorn_delivery_state{{namespace=\"shop\",destination=\"billing\",state=\"{state}\"}} {value}\n");
            assert!(page.contains(&line), "{line}\n{page}");
        }
        metrics.remove_destination("shop", "billing");
        assert!(!metrics.encode().contains("billing"));
    }
}
