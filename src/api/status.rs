//! `status` of an `EventDestination`. The doc comments are what `kubectl explain` prints.

use super::spec::Isolation;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Posthorn found and did. Written by the operator.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventDestinationStatus {
    /// metadata.generation that the operator has acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready: configured and able to deliver; False while halted or blocked. Accepted: the spec is valid and allowed on its bus. Resolved:
    /// everything referred to was found. Routed: matching events are being queued. WorkerAvailable: a worker runs it, or none is wanted.
    /// KeepingUp: False while the queue is at its quota and later events wait in the bus. Delivering: the reason is the present state:
    /// Idle, Active, RateLimited, Retrying, Halted, Blocked, Suspended, Draining, NoWorker or Pending. StorageSafe: Redis keeps what it
    /// accepts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Address that events are sent to, without query and without secrets.
    #[serde(rename = "sinkURI", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub sink_uri: Option<String>,
    /// Which worker delivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStatus>,
    /// Events that matched and are neither delivered nor given up. Exact when written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub backlog: Option<i64>,
    /// When the oldest of them was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_time: Option<Time>,
    /// The oldest event that waits; absent if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Attempts that repeated an earlier one, since creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub retries: Option<i64>,
    /// Events answered with 2xx, since creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub delivered: Option<i64>,
    /// Events given up and kept as dead letters, since creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub dead_lettered: Option<i64>,
    /// Events dropped since creation: by onExhausted: Drop, by limits.backlog, or because they waited longer than the bus keeps events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub dropped: Option<i64>,
    /// Events that the filters took, since creation. 0 for long means that the filters are wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub matched: Option<i64>,
    /// Events that were in the queue when someone removed it from Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lost: Option<i64>,
    /// Where the bus is read from, fixed at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub start_sequence: Option<String>,
    /// Dead letters kept now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub dead_letters: Option<i64>,
    /// When an event was last delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery_time: Option<Time>,
    /// When the filters last took an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_match_time: Option<Time>,
}

/// One aspect of the present state.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Aspect, in CamelCase.
    #[schemars(
        length(max = 316),
        extend("pattern" = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$")
    )]
    pub r#type: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// metadata.generation that this condition was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When status last changed.
    pub last_transition_time: Time,
    /// Why, as one word in CamelCase.
    #[schemars(length(min = 1, max = 1024), extend("pattern" = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// Why, for a person. May be empty.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet, or no longer.
    Unknown,
}

/// Which worker delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerStatus {
    /// Dedicated or Shared, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Deployment in the namespace of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
}

/// The oldest event that waits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Head {
    /// Its place in the order; sent to receivers as ce-sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sequence: Option<String>,
    /// CloudEvents id, cut to 256 characters.
    #[serde(rename = "eventID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub event_id: Option<String>,
    /// CloudEvents type, cut to 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub event_type: Option<String>,
    /// Attempts made so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempts: Option<i32>,
    /// When it was first tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_attempt_time: Option<Time>,
    /// When it will be tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// HTTP status of the last answer, if there was one. From 100 to 599.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub last_status_code: Option<i32>,
    /// Class of the last failure, in CamelCase, such as ConnectionRefused or ServerError.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_reason: Option<String>,
    /// Last failure for a person; no payload, no credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_message: Option<String>,
}
