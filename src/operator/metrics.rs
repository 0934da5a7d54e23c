//! What the operator measures. Every label is an enum; every value is there from the start.

use super::board::{Safety, Storage};
use super::error::Class;
use super::workers::Kind;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::hash::Hash;

/// Bounds of the durations of a reconcile, seconds.
const DURATIONS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// What became of a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReconcileResult {
    /// Redis and the cluster hold what it wants.
    Applied,
    /// Its spec is not accepted.
    Rejected,
    /// It is paused by its annotation.
    Paused,
    /// It was deleted, and everything of it was removed.
    Deleted,
    /// Something could not be written; see the failures by class.
    Failed,
}

impl ReconcileResult {
    const ALL: [ReconcileResult; 5] =
        [ReconcileResult::Applied, ReconcileResult::Rejected, ReconcileResult::Paused, ReconcileResult::Deleted, ReconcileResult::Failed];
}

/// What objects are counted by: the reason of their condition Delivering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs, reason = "each is a reason of the condition Delivering, see `api::status`")]
pub enum ObjectState {
    Idle,
    Active,
    RateLimited,
    Draining,
    Retrying,
    Halted,
    Blocked,
    Suspended,
    Pending,
    NoWorker,
    RedisUnavailable,
    /// Any other, of a worker of another version.
    Other,
}

impl ObjectState {
    /// Every state.
    pub const ALL: [ObjectState; 12] = [
        ObjectState::Idle,
        ObjectState::Active,
        ObjectState::RateLimited,
        ObjectState::Draining,
        ObjectState::Retrying,
        ObjectState::Halted,
        ObjectState::Blocked,
        ObjectState::Suspended,
        ObjectState::Pending,
        ObjectState::NoWorker,
        ObjectState::RedisUnavailable,
        ObjectState::Other,
    ];

    /// Of a reason of the condition Delivering.
    pub fn of(reason: &str) -> ObjectState {
        ObjectState::ALL.into_iter().find(|state| format!("{state:?}") == reason).unwrap_or(ObjectState::Other)
    }
}

/// Whether the Redis of a bus keeps what it accepts, as far as the operator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum StorageState {
    /// Nothing is known yet.
    Unknown,
    /// It does.
    Safe,
    /// It does not tell.
    Unverified,
    /// Accepted events may be lost.
    Unsafe,
    /// It has not answered for a while.
    Unreachable,
}

impl StorageState {
    const ALL: [StorageState; 5] =
        [StorageState::Unknown, StorageState::Safe, StorageState::Unverified, StorageState::Unsafe, StorageState::Unreachable];

    /// Of what was found.
    pub fn of(storage: &Storage) -> StorageState {
        match storage {
            Storage::Unknown | Storage::Reachable { safety: None, .. } => StorageState::Unknown,
            Storage::Reachable { safety: Some(Safety::Safe), .. } => StorageState::Safe,
            Storage::Reachable { safety: Some(Safety::Unverified { .. }), .. } => StorageState::Unverified,
            Storage::Reachable { safety: Some(Safety::Unsafe { .. }), .. } => StorageState::Unsafe,
            Storage::Unreachable { .. } => StorageState::Unreachable,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StorageLabels {
    bus: String,
    state: StorageState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: ReconcileResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: Class,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: ObjectState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Kind,
}

/// What the operator measures. Cheap to clone. The default is registered nowhere.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    /// 1 while this process leads.
    pub leader: Gauge,
    /// Duration of a reconcile, seconds.
    pub reconcile_duration: Histogram,
    /// Destinations looked at in Redis.
    pub looks: Counter,
    /// Statuses written.
    pub status_writes: Counter,
    /// Kubernetes Events told.
    pub events: Counter,
    /// Kubernetes Events that could not be told.
    pub event_failures: Counter,
    /// Annotations written on worker pods, so that their kubelet looks at a changed plan at once.
    pub nudges: Counter,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_failures: Family<ClassLabel, Counter>,
    status_failures: Family<ClassLabel, Counter>,
    lease_failures: Family<ClassLabel, Counter>,
    nudge_failures: Family<ClassLabel, Counter>,
    pool_failures: Family<ClassLabel, Counter>,
    repairs: Family<KindLabel, Counter>,
    objects: Family<StateLabel, Gauge>,
    storage: Family<StorageLabels, Gauge>,
}

impl Default for OperatorMetrics {
    fn default() -> OperatorMetrics {
        let metrics = OperatorMetrics {
            leader: Gauge::default(),
            reconcile_duration: Histogram::new(DURATIONS),
            looks: Counter::default(),
            status_writes: Counter::default(),
            events: Counter::default(),
            event_failures: Counter::default(),
            nudges: Counter::default(),
            reconciles: Family::default(),
            reconcile_failures: Family::default(),
            status_failures: Family::default(),
            lease_failures: Family::default(),
            nudge_failures: Family::default(),
            pool_failures: Family::default(),
            repairs: Family::default(),
            objects: Family::default(),
            storage: Family::default(),
        };
        ReconcileResult::ALL.into_iter().for_each(|result| drop(metrics.reconciles.get_or_create(&ResultLabel { result })));
        ObjectState::ALL.into_iter().for_each(|state| drop(metrics.objects.get_or_create(&StateLabel { state })));
        Kind::ALL.into_iter().for_each(|kind| drop(metrics.repairs.get_or_create(&KindLabel { kind })));
        let OperatorMetrics { reconcile_failures, status_failures, lease_failures, nudge_failures, pool_failures, .. } = &metrics;
        for family in [reconcile_failures, status_failures, lease_failures, nudge_failures, pool_failures] {
            Class::ALL.into_iter().for_each(|class| drop(family.get_or_create(&ClassLabel { class })));
        }
        metrics
    }
}

impl OperatorMetrics {
    /// Registers everything; for [`crate::admin::Metrics::with`].
    pub fn register(registry: &mut Registry) -> OperatorMetrics {
        let metrics = OperatorMetrics::default();
        // a field that is not registered is not seen
        let OperatorMetrics {
            leader,
            reconcile_duration,
            looks,
            status_writes,
            events,
            event_failures,
            nudges,
            reconciles,
            reconcile_failures,
            status_failures,
            lease_failures,
            nudge_failures,
            pool_failures,
            repairs,
            objects,
            storage,
        } = metrics.clone();
        registry.register("operator_leader", "1 while this operator leads", leader);
        registry.register("operator_reconciles", "Reconciles of destinations, by what became of them", reconciles);
        registry.register("operator_reconcile_failures", "Reconciles that failed, by kind of failure", reconcile_failures);
        registry.register("operator_reconcile_duration_seconds", "Duration of a reconcile", reconcile_duration);
        registry.register("operator_objects", "Destinations, by the reason of their condition Delivering", objects);
        registry.register("operator_storage", "1 for what is known of the Redis of a bus, 0 for all else", storage);
        registry.register("operator_looks", "Looks at a destination in Redis", looks);
        registry.register("operator_status_writes", "Statuses written", status_writes);
        registry.register("operator_events", "Kubernetes Events told", events);
        registry.register("operator_event_failures", "Kubernetes Events that could not be told", event_failures);
        registry.register("operator_status_failures", "Statuses that could not be written, by kind of failure", status_failures);
        registry.register("operator_lease_failures", "Looks at the lease and renewals that failed, by kind of failure", lease_failures);
        registry.register("operator_nudges", "Annotations of worker pods that make their kubelet look at a changed plan", nudges);
        registry.register(
            "operator_nudge_failures",
            "Times that pods could not be told of a changed plan, by kind of failure",
            nudge_failures,
        );
        registry.register("operator_pool_failures", "Writes of pools that failed, by kind of failure", pool_failures);
        registry.register("operator_repairs", "Objects of workers that someone else changed or deleted, made again", repairs);
        metrics
    }

    /// Counts a reconcile that did not fail.
    pub fn reconciled(&self, result: ReconcileResult) {
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a reconcile that failed.
    pub fn reconcile_failed(&self, class: Class) {
        self.reconciled(ReconcileResult::Failed);
        self.reconcile_failures.get_or_create(&ClassLabel { class }).inc();
    }

    /// Counts a status that could not be written.
    pub fn status_failed(&self, class: Class) {
        self.status_failures.get_or_create(&ClassLabel { class }).inc();
    }

    /// Counts a look at the lease or a renewal that failed.
    pub fn lease_failed(&self, class: Class) {
        self.lease_failures.get_or_create(&ClassLabel { class }).inc();
    }

    /// Counts pods that could not be told of a changed plan.
    pub fn nudge_failed(&self, class: Class) {
        self.nudge_failures.get_or_create(&ClassLabel { class }).inc();
    }

    /// Counts a write of a pool that failed.
    pub fn pool_failed(&self, class: Class) {
        self.pool_failures.get_or_create(&ClassLabel { class }).inc();
    }

    /// Counts an object of a worker that someone else changed or deleted.
    pub fn repaired(&self, kind: Kind) {
        self.repairs.get_or_create(&KindLabel { kind }).inc();
    }

    /// Says how many destinations are in each state; those not named have none.
    pub fn set_objects(&self, states: impl IntoIterator<Item = ObjectState>) {
        let states: Vec<ObjectState> = states.into_iter().collect();
        for state in ObjectState::ALL {
            let count = states.iter().filter(|other| **other == state).count();
            self.objects.get_or_create(&StateLabel { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Says what is known of the Redis of a bus.
    pub fn set_storage(&self, bus: &str, present: StorageState) {
        for state in StorageState::ALL {
            self.storage.get_or_create(&StorageLabels { bus: bus.to_owned(), state }).set((state == present).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Metrics;
    use jiff::Timestamp;

    #[test]
    fn zero_values_are_there_from_the_start() {
        let (metrics, _operator) = Metrics::with(OperatorMetrics::register);
        let page = metrics.encode();
        for line in [
            "posthorn_operator_leader 0",
            "posthorn_operator_reconciles_total{result=\"Applied\"} 0",
            "posthorn_operator_reconcile_failures_total{class=\"Forbidden\"} 0",
            "posthorn_operator_reconcile_duration_seconds_count 0",
            "posthorn_operator_objects{state=\"Halted\"} 0",
            "posthorn_operator_status_writes_total 0",
            "posthorn_operator_status_failures_total{class=\"Conflict\"} 0",
            "posthorn_operator_lease_failures_total{class=\"Unavailable\"} 0",
            "posthorn_operator_nudges_total 0",
            "posthorn_operator_nudge_failures_total{class=\"Forbidden\"} 0",
            "posthorn_operator_pool_failures_total{class=\"Unavailable\"} 0",
            "posthorn_operator_repairs_total{kind=\"Secret\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_failed_reconcile_counts_as_one() {
        let (metrics, operator) = Metrics::with(OperatorMetrics::register);
        operator.reconcile_failed(Class::Redis);
        let page = metrics.encode();
        assert!(page.contains("posthorn_operator_reconciles_total{result=\"Failed\"} 1\n"), "{page}");
        assert!(page.contains("posthorn_operator_reconcile_failures_total{class=\"Redis\"} 1\n"), "{page}");
    }

    #[test]
    fn objects_are_counted_by_the_reason_of_delivering() {
        let (metrics, operator) = Metrics::with(OperatorMetrics::register);
        operator.set_objects(["Idle", "Halted", "Idle", "Snoozing"].map(ObjectState::of));
        operator.set_objects(["Idle", "Active", "Snoozing"].map(ObjectState::of));
        let page = metrics.encode();
        for (state, count) in [("Idle", 1), ("Active", 1), ("Halted", 0), ("Other", 1)] {
            assert!(page.contains(&format!("posthorn_operator_objects{{state=\"{state}\"}} {count}\n")), "{state}\n{page}");
        }
    }

    #[test]
    fn the_storage_of_a_bus_is_in_one_state() {
        let (metrics, operator) = Metrics::with(OperatorMetrics::register);
        let reachable = |safety| Storage::Reachable { safety, since: Timestamp::UNIX_EPOCH };
        for (storage, state) in [
            (Storage::Unknown, "Unknown"),
            (reachable(None), "Unknown"),
            (reachable(Some(Safety::Safe)), "Safe"),
            (reachable(Some(Safety::Unverified { message: "?".into() })), "Unverified"),
            (reachable(Some(Safety::Unsafe { reason: "NoAppendOnlyFile", message: "!".into() })), "Unsafe"),
            (Storage::Unreachable { message: "gone".into(), since: Timestamp::UNIX_EPOCH }, "Unreachable"),
        ] {
            operator.set_storage("default", StorageState::of(&storage));
            let page = metrics.encode();
            let present = page.lines().filter(|line| line.starts_with("posthorn_operator_storage{") && line.ends_with(" 1"));
            let expected = format!("posthorn_operator_storage{{bus=\"default\",state=\"{state}\"}} 1");
            assert_eq!(present.collect::<Vec<_>>(), [expected], "{page}");
        }
    }
}
