//! `spec` of an `EventDestination`. The doc comments are what `kubectl explain` prints.

use super::filter::Filter;
use super::sink::Sink;
use super::status::EventDestinationStatus;
use super::values::{self, Quantity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is to be delivered, where, and how.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "posthorn.dev",
    version = "v1alpha1",
    kind = "EventDestination",
    doc = "Where events of a bus go: which ones, to which receiver, in what order, and what happens when the receiver fails.",
    namespaced,
    status = "EventDestinationStatus",
    schema = "disabled",
    derive = "PartialEq",
    shortname = "evd",
    category = "posthorn",
    selectable = ".spec.bus",
    selectable = ".spec.suspend",
    selectable = ".spec.isolation",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status",
        "description": "Configured and able to deliver"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Delivering\")].reason",
        "description": "Present state of delivery"}"#,
    printcolumn = r#"{"name": "Backlog", "type": "integer", "jsonPath": ".status.backlog", "description": "Events that wait"}"#,
    printcolumn = r#"{"name": "Retries", "type": "integer", "jsonPath": ".status.retries",
        "description": "Attempts that repeated an earlier one, since creation"}"#,
    printcolumn = r#"{"name": "Delivered", "type": "integer", "jsonPath": ".status.delivered",
        "description": "Events delivered since creation"}"#,
    printcolumn = r#"{"name": "Dead", "type": "integer", "jsonPath": ".status.deadLetters", "description": "Dead letters kept now"}"#,
    printcolumn = r#"{"name": "Oldest", "type": "date", "jsonPath": ".status.oldestPendingTime",
        "description": "Age of the oldest event that waits"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Attempt", "type": "integer", "jsonPath": ".status.head.attempts",
        "description": "Attempts made on the head so far", "priority": 1}"#,
    printcolumn = r#"{"name": "Code", "type": "integer", "jsonPath": ".status.head.lastStatusCode",
        "description": "HTTP status of the head's last answer", "priority": 1}"#,
    printcolumn = r#"{"name": "Last-OK", "type": "date", "jsonPath": ".status.lastDeliveryTime",
        "description": "Since the last delivery", "priority": 1}"#,
    printcolumn = r#"{"name": "URL", "type": "string", "jsonPath": ".status.sinkURI",
        "description": "Where events are sent", "priority": 1}"#
)]
pub struct EventDestinationSpec {
    /// The bus (a named log of events) that is read. Cannot be changed. Default: default.
    #[serde(default = "default_bus")]
    #[schemars(length(max = 63))]
    pub bus: String,
    /// Where the bus is read from when the object is created. Latest: events accepted from now on. Earliest: all that the bus still holds.
    /// Time: those accepted since startTime. Cannot be changed. Default: Latest.
    #[serde(default)]
    pub start_from: StartFrom,
    /// With startFrom: Time, the first moment wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Stops delivery; events go on accumulating and no attempt is spent. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// An event is delivered if every filter matches. Without filters every event of the bus is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub filters: Vec<Filter>,
    /// Where events go: exactly one kind of sink.
    pub sink: Sink,
    /// What is delivered in order.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub ordering: Ordering,
    /// How hard a delivery is tried, whatever the kind of sink. With the defaults an event is given up about 14 minutes after its first
    /// attempt (retries after 1s, 2s, 4s … 5m).
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub delivery: Delivery,
    /// Limits that protect the receiver and the bus. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Dedicated: a worker Deployment of its own. Shared: a place in a pool of workers. If left out, what the operator is configured for;
    /// status.worker tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// What happens to events that still wait when this object is deleted. Discard: removed at once. Drain: delivered first, for at most
    /// drainTimeout. Dead letters are removed in both cases. Default: Discard.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// With deletionPolicy: Drain, how long; 5m if left out. What is left then is discarded. From 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub drain_timeout: Option<String>,
}

fn default_bus() -> String {
    "default".into()
}

/// Where a bus is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum StartFrom {
    /// Events accepted from now on.
    #[default]
    Latest,
    /// All that the bus still holds.
    Earliest,
    /// Those accepted since `startTime`.
    Time,
}

/// What is delivered in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ordering {
    /// Strict: the whole destination is one lane; the next event is sent after the one before was delivered or given up. PerKey: one lane
    /// for each value of keyAttribute. Unordered: none; retries that are due go before new events. Default: Strict.
    pub mode: OrderingMode,
    /// PerKey only: the CloudEvents attribute whose value is the key; partitionkey if left out. Events without it share one lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    pub key_attribute: Option<String>,
    /// Most requests in progress at once; 8 if left out. Always 1 in Strict. From 1 to 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_in_flight: Option<i32>,
}

/// How lanes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OrderingMode {
    /// One lane.
    #[default]
    Strict,
    /// One lane for each value of an attribute.
    PerKey,
    /// None.
    Unordered,
}

/// How hard a delivery is tried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delivery {
    /// Retries after the first attempt; 0 for none, -1 for no limit. From -1 to 1000. Default: 10.
    #[schemars(range(min = -1, max = 1000))]
    pub retry: i32,
    /// How the wait grows: doubled each time, by backoffDelay each time, or not at all. Jitter is added. Default: Exponential.
    pub backoff_policy: BackoffPolicy,
    /// Wait before the first retry. From 10ms to 1h. Default: 1s.
    #[schemars(length(max = 24))]
    pub backoff_delay: String,
    /// Longest wait between retries. From 10ms to 24h. Default: 5m.
    #[schemars(length(max = 24))]
    pub backoff_max: String,
    /// Longest duration of one attempt, from connecting to the first line of the answer. From 100ms to 10m. Default: 15s.
    #[schemars(length(max = 24))]
    pub timeout: String,
    /// An event older than this, counted from when it was accepted, is given up instead of tried again. No limit if left out. From 1m to
    /// 8760h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub max_event_age: Option<String>,
    /// What happens to an event that is given up. DeadLetter: kept with the reason, and the next is sent. Block: it stays, nothing
    /// overtakes it until someone acts. Drop: counted and forgotten. Default: DeadLetter.
    pub on_exhausted: OnExhausted,
    /// Where dead letters go and how long they are kept.
    #[schemars(extend("default" = {}))]
    pub dead_letter: DeadLetter,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery {
            retry: 10,
            backoff_policy: BackoffPolicy::default(),
            backoff_delay: "1s".into(),
            backoff_max: "5m".into(),
            timeout: "15s".into(),
            max_event_age: None,
            on_exhausted: OnExhausted::default(),
            dead_letter: DeadLetter::default(),
        }
    }
}

/// How the wait between attempts grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BackoffPolicy {
    /// Doubled each time.
    #[default]
    Exponential,
    /// By the first wait each time.
    Linear,
    /// Not at all.
    Constant,
}

/// What happens to an event that is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnExhausted {
    /// Kept with the reason.
    #[default]
    DeadLetter,
    /// It stays; nothing overtakes it.
    Block,
    /// Counted and forgotten.
    Drop,
}

/// Where dead letters go and how long they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeadLetter {
    /// Dead letters older than this are removed. From 1h to 8760h. Default: 168h.
    #[schemars(length(max = 24))]
    pub max_age: String,
    /// Most dead letters kept; the oldest go first. From 1 to 10000000. Default: 100000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_events: i32,
    /// An EventDestination of the same namespace that dead letters are sent to as well, whatever its filters; it brings its own sink,
    /// credentials and retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ref: Option<DestinationRef>,
}

impl Default for DeadLetter {
    fn default() -> DeadLetter {
        DeadLetter { max_age: "168h".into(), max_events: 100_000, destination_ref: None }
    }
}

/// Another destination of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRef {
    /// Name of the EventDestination.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Limits that protect the receiver and the bus.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Most requests in a period, spread evenly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Most that may wait for this destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<BacklogLimit>,
}

/// Most requests in a period.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Number of requests (a batch is one request). From 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: i32,
    /// The period. From 1s to 1h. Default: 1s.
    #[serde(default = "one_second")]
    #[schemars(length(max = 24))]
    pub per: String,
}

fn one_second() -> String {
    "1s".into()
}

/// Most that may wait for a destination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BacklogLimit {
    /// Most events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_events: Option<i64>,
    /// Most bytes of event data. From 1Ki to 1Ti.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Quantity>,
    /// Which event is dropped, and counted in status.dropped, when the limit is reached. Default: DropNewest.
    #[serde(default)]
    pub on_overflow: OnOverflow,
}

/// `drainTimeout` where none is given.
pub const DRAIN_TIMEOUT: &str = "5m";

impl EventDestinationSpec {
    /// How long it goes on delivering what it has once it is deleted: `deletionPolicy: Drain` and `drainTimeout`, else not at all.
    pub fn drain_timeout(&self) -> Duration {
        match self.deletion_policy {
            DeletionPolicy::Discard => Duration::ZERO,
            DeletionPolicy::Drain => {
                let given = self.drain_timeout.as_deref().and_then(|text| values::duration(text).ok());
                given.unwrap_or_else(|| values::duration(DRAIN_TIMEOUT).expect("it is a duration"))
            }
        }
    }
}

/// Which event is dropped when the backlog limit is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OnOverflow {
    /// The one that comes.
    #[default]
    DropNewest,
    /// The one that waits longest.
    DropOldest,
}

/// Whose worker delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Isolation {
    /// One of its own.
    Dedicated,
    /// One of a pool.
    Shared,
}

/// What happens to events that still wait when the object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Removed at once.
    #[default]
    Discard,
    /// Delivered first.
    Drain,
}
