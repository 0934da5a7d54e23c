//! What the cluster admin configures: buses and who may publish to them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// All buses, by name; `default` is always among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name → settings.
    pub buses: BTreeMap<String, BusSettings>,
}

/// A number of bytes, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Percent of `maxmemory`, 1 to 100.
    Percent(u8),
}

/// One bus.
#[derive(Clone, Debug, PartialEq)]
pub struct BusSettings {
    /// How long accepted events are kept for destinations that start in the past. Default 24 h.
    pub retention_age: Duration,
    /// How many bytes of them. Default 10 % of `maxmemory`.
    pub retention_bytes: Size,
    /// Most bytes that one destination may hold. Default 25 % of `maxmemory`.
    pub backlog_quota: Size,
    /// Share of `maxmemory` above which space is made and ingest refuses, percent. Default 85.
    pub watermark: u8,
    /// What happens above the watermark.
    pub when_full: WhenFull,
    /// How long a repeated (source, id) is recognised. Default 10 min.
    pub dedupe_window: Duration,
    /// Largest event, bytes. Default 1 MiB.
    pub max_event_bytes: u64,
    /// What Redis must do before an event counts as accepted.
    pub durability: Durability,
    /// Namespaces whose destinations may read this bus; `None` for all.
    pub allowed_namespaces: Option<Vec<String>>,
    /// Who may publish; empty for everyone who reaches the port.
    pub producers: Vec<Producer>,
}

/// What happens above the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The largest backlogs lose their newest events, counted; ingest goes on.
    Shed,
    /// Ingest refuses; nothing is shed.
    Refuse,
}

/// When an event counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// The fsync policy that the admin declares for Redis.
    pub fsync: Fsync,
    /// Replicas that must have confirmed. Default 0.
    pub replicas: u32,
}

/// Redis' `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// `always`.
    Always,
    /// `everysec`.
    EverySecond,
}

/// Someone who may publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// Shown in logs and metrics.
    pub name: String,
    /// File with a bearer token; one token a line, so that two are valid while one replaces the other.
    pub bearer_token_file: Option<std::path::PathBuf>,
    /// File with a Standard Webhooks secret (`whsec_…`), one a line, for signed requests.
    pub signing_secret_file: Option<std::path::PathBuf>,
    /// Prefixes that `source` must begin with one of; empty for any.
    pub source_prefixes: Vec<String>,
    /// Most events in a period; `None` for no limit.
    pub rate: Option<(u32, Duration)>,
}
