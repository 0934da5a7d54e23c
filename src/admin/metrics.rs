//! Every metric, with the prefix `posthorn_`. Labels are words of an enum or bounded names, never free text.
//!
//! Times are in seconds, sizes in bytes. Counters of events and attempts count since the start of the process; the totals since the creation of a
//! destination are in its status.

use super::destination::{DestinationFamilies, DestinationMetrics, RoutedMetrics};
use crate::bus::counters;
use crate::bus::safety::Memory;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// All metrics of one process. Made once, shared.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What ingest counts.
    pub ingest: IngestMetrics,
    routers: RouterFamilies,
    destinations: DestinationFamilies,
}

impl Metrics {
    /// Registers what every role has.
    pub fn new() -> Arc<Metrics> {
        Metrics::with(|_| ()).0
    }

    /// Registers what every role has, and what one has of its own.
    pub fn with<T>(register: impl FnOnce(&mut Registry) -> T) -> (Arc<Metrics>, T) {
        let mut registry = Registry::with_prefix("posthorn");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of this binary", build);
        let ingest = IngestMetrics::register(&mut registry);
        registry.register_collector(Box::new(RedisCollector));
        let routers = RouterFamilies::register(&mut registry);
        let destinations = DestinationFamilies::register(&mut registry);
        let own = register(&mut registry);
        (Arc::new(Metrics { registry, ingest, routers, destinations }), own)
    }

    /// The handles of one bus for its router; every value is there from the first call.
    pub fn router(&self, bus: &str) -> RouterMetrics {
        self.routers.of(bus, self.destinations.routed())
    }

    /// The handles of one destination for its lane; every value is there from the first call. Keep them.
    pub fn destination(&self, namespace: &str, name: &str) -> DestinationMetrics {
        self.destinations.of(namespace, name)
    }

    /// Forgets a destination that is gone.
    pub fn remove_destination(&self, namespace: &str, name: &str) {
        self.destinations.remove(namespace, name);
    }

    /// OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("writing to a string never fails");
        page
    }
}

/// What became of an event at ingest; a refused request counts once, whatever it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs, reason = "each is the type of a problem, see `ingest::problem`")]
pub enum IngestResult {
    Accepted,
    Duplicate,
    Invalid,
    TooLarge,
    UnsupportedMediaType,
    Unauthorized,
    Forbidden,
    NotFound,
    Timeout,
    RateLimited,
    Overloaded,
    StorageFull,
    StorageUnavailable,
    OutcomeUnknown,
}

impl IngestResult {
    const ALL: [IngestResult; 14] = [
        IngestResult::Accepted,
        IngestResult::Duplicate,
        IngestResult::Invalid,
        IngestResult::TooLarge,
        IngestResult::UnsupportedMediaType,
        IngestResult::Unauthorized,
        IngestResult::Forbidden,
        IngestResult::NotFound,
        IngestResult::Timeout,
        IngestResult::RateLimited,
        IngestResult::Overloaded,
        IngestResult::StorageFull,
        IngestResult::StorageUnavailable,
        IngestResult::OutcomeUnknown,
    ];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: IngestResult,
}

/// What ingest counts.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    events: Family<ResultLabel, Counter>,
    /// From the end of the request's head to the answer, seconds.
    pub duration: Histogram,
    /// Open connections.
    pub connections: Gauge,
    /// Connections closed at once because their address had too many.
    pub connections_refused: Counter,
    /// Connections on which no TLS was agreed.
    pub handshakes_failed: Counter,
}

impl IngestMetrics {
    fn register(registry: &mut Registry) -> IngestMetrics {
        let metrics = IngestMetrics {
            events: Family::default(),
            duration: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            handshakes_failed: Counter::default(),
        };
        for result in IngestResult::ALL {
            drop(metrics.events.get_or_create(&ResultLabel { result }));
        }
        registry.register("ingest_events", "Events that were sent to ingest, by what became of them", metrics.events.clone());
        registry.register("ingest_duration_seconds", "From the head of a request to its answer", metrics.duration.clone());
        registry.register("ingest_connections", "Open connections", metrics.connections.clone());
        let help = "Connections closed at once because their address had too many";
        registry.register("ingest_connections_refused", help, metrics.connections_refused.clone());
        let help = "Connections that ended before TLS was agreed on: too slow, not TLS, or the certificate was refused";
        registry.register("ingest_tls_handshakes_failed", help, metrics.handshakes_failed.clone());
        metrics
    }

    /// Counts events.
    pub fn count(&self, result: IngestResult, events: u64) {
        self.events.get_or_create(&ResultLabel { result }).inc_by(events);
    }

    /// How many were counted.
    pub fn counted(&self, result: IngestResult) -> u64 {
        self.events.get_or_create(&ResultLabel { result }).get()
    }
}

/// What the connections to Redis have met; counted there, read at each scrape.
#[derive(Debug)]
struct RedisCollector;

impl Collector for RedisCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counts = counters::counts();
        let mut errors = encoder.encode_descriptor("redis_errors", "Calls to Redis that failed", None, MetricType::Counter)?;
        for (class, count) in counters::CLASSES.iter().zip(counts.errors) {
            ConstCounter::new(count).encode(errors.encode_family(&[("class", *class)])?)?;
        }
        let opened = ConstCounter::new(counts.opened);
        let help = "Connections to Redis opened since the start";
        opened.encode(encoder.encode_descriptor("redis_connections_opened", help, None, opened.metric_type())?)?;
        let open = ConstGauge::new(i64::try_from(counts.open).unwrap_or(i64::MAX));
        open.encode(encoder.encode_descriptor("redis_connections", "Connections to Redis that are open now", None, open.metric_type())?)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BusLabel {
    bus: String,
}

/// Seconds, as a gauge.
pub type Seconds = Gauge<f64, AtomicU64>;

/// What the router of one bus counts.
#[derive(Clone, Debug)]
pub struct RouterMetrics {
    /// Appends to queues.
    pub routed: Counter,
    /// Events that no filter took.
    pub unmatched: Counter,
    /// Ingest time of the last event routed, seconds since the epoch.
    pub position: Seconds,
    /// Age of the oldest event that is not routed yet; 0 when all are.
    pub lag: Seconds,
    /// Queues detached because they were at their quota or more than their share.
    pub detached: Counter,
    leader: Gauge,
    memory_used: Gauge<u64, AtomicU64>,
    memory_max: Gauge<u64, AtomicU64>,
    memory_watermark: Gauge<u64, AtomicU64>,
    /// What is counted of single destinations.
    pub destinations: RoutedMetrics,
}

impl RouterMetrics {
    /// This router holds the lease of the bus.
    pub fn lead(&self) {
        self.leader.set(1);
    }

    /// Another one may lead, and tells how far it is; what was measured here would stand still.
    pub fn stand_by(&self) {
        self.leader.set(0);
        self.lag.set(0.0);
        self.memory(&Memory::default(), 0);
    }

    /// How full the Redis of the bus is; above `watermark` percent ingest refuses.
    pub fn memory(&self, memory: &Memory, watermark: u8) {
        self.memory_used.set(memory.used);
        self.memory_max.set(memory.max);
        self.memory_watermark.set(memory.share(watermark));
    }
}

#[derive(Debug, Default)]
struct RouterFamilies {
    routed: Family<BusLabel, Counter>,
    unmatched: Family<BusLabel, Counter>,
    position: Family<BusLabel, Seconds>,
    lag: Family<BusLabel, Seconds>,
    detached: Family<BusLabel, Counter>,
    leader: Family<BusLabel, Gauge>,
    memory_used: Family<BusLabel, Gauge<u64, AtomicU64>>,
    memory_max: Family<BusLabel, Gauge<u64, AtomicU64>>,
    memory_watermark: Family<BusLabel, Gauge<u64, AtomicU64>>,
}

impl RouterFamilies {
    fn register(registry: &mut Registry) -> RouterFamilies {
        let families = RouterFamilies::default();
        registry.register("routed_events", "Appends to queues of destinations", families.routed.clone());
        registry.register("unmatched_events", "Events that no filter took", families.unmatched.clone());
        registry.register("router_position_timestamp_seconds", "Ingest time of the last event routed", families.position.clone());
        registry.register("router_lag_seconds", "Age of the oldest event that is not routed yet", families.lag.clone());
        registry.register("router_detached_queues", "Queues detached for want of space", families.detached.clone());
        registry.register("router_leader", "1 while this router holds the lease of the bus", families.leader.clone());
        registry.register("redis_memory_used_bytes", "Memory that Redis uses of what it may use", families.memory_used.clone());
        let help = "Memory that Redis may use: maxmemory, or 75 % of its machine's where it sets none";
        registry.register("redis_memory_max_bytes", help, families.memory_max.clone());
        registry.register(
            "redis_memory_watermark_bytes",
            "Used memory above which ingest refuses events",
            families.memory_watermark.clone(),
        );
        families
    }

    fn of(&self, bus: &str, destinations: RoutedMetrics) -> RouterMetrics {
        let label = BusLabel { bus: bus.to_owned() };
        RouterMetrics {
            routed: self.routed.get_or_create_owned(&label),
            unmatched: self.unmatched.get_or_create_owned(&label),
            position: self.position.get_or_create_owned(&label),
            lag: self.lag.get_or_create_owned(&label),
            detached: self.detached.get_or_create_owned(&label),
            leader: self.leader.get_or_create_owned(&label),
            memory_used: self.memory_used.get_or_create_owned(&label),
            memory_max: self.memory_max.get_or_create_owned(&label),
            memory_watermark: self.memory_watermark.get_or_create_owned(&label),
            destinations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_are_there_from_the_start() {
        let page = Metrics::new().encode();
        for line in [
            "posthorn_ingest_events_total{result=\"Accepted\"} 0",
            "posthorn_ingest_events_total{result=\"OutcomeUnknown\"} 0",
            "posthorn_ingest_duration_seconds_count 0",
            concat!("posthorn_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_router_has_its_values_from_the_start() {
        let metrics = Metrics::new();
        let router = metrics.router("default");
        router.routed.inc_by(3);
        let page = metrics.encode();
        assert!(page.contains("posthorn_routed_events_total{bus=\"default\"} 3"), "{page}");
        assert!(page.contains("posthorn_redis_errors_total{class=\"Full\"} "), "{page}");
        assert!(page.contains("posthorn_redis_connections "), "{page}");
        assert!(page.contains("posthorn_router_lag_seconds{bus=\"default\"} 0"), "{page}");
    }

    #[test]
    fn a_router_that_stands_by_tells_neither_lag_nor_memory() {
        let metrics = Metrics::new();
        let router = metrics.router("default");
        router.lead();
        router.lag.set(3.0);
        router.memory(&Memory { used: 300, max: 1_000, assumed: false, expiring: 0 }, 85);
        let told = |page: &str, values: [&str; 5]| {
            let names = [
                "router_leader",
                "router_lag_seconds",
                "redis_memory_used_bytes",
                "redis_memory_max_bytes",
                "redis_memory_watermark_bytes",
            ];
            for (name, value) in names.into_iter().zip(values) {
                let line = format!("posthorn_{name}{{bus=\"default\"}} {value}");
                assert!(page.lines().any(|found| found == line), "{line}\n{page}");
            }
        };
        told(&metrics.encode(), ["1", "3.0", "300", "1000", "850"]);
        router.stand_by();
        told(&metrics.encode(), ["0", "0.0", "0", "0", "0"]);
    }
}
