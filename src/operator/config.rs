//! What the cluster admin configures.

use crate::api::spec::Isolation;
use crate::bus::{RedisUrl, Servers};
use crate::settings::Settings;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use std::sync::Arc;

/// What an operator needs.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// The release namespace: where workers, plan Secrets and the lease are.
    pub namespace: String,
    /// Where Redis is that holds every bus without one of its own.
    pub redis: RedisUrl,
    /// Where each bus is.
    pub servers: Servers,
    /// The buses.
    pub settings: Arc<Settings>,
    /// How workers are run.
    pub workers: WorkersConfig,
    /// Name of this process as a holder of the lease: the pod's name.
    pub identity: String,
    /// Most writes of statuses per second. Default 50.
    pub status_writes_per_second: u32,
}

/// How workers are run.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// Image of the worker's container: the operator's own.
    pub image: String,
    /// What the admin gives for the pods: resources, node selector, environment, … Ours is laid over it: the container `worker` with command, plans,
    /// tokens, probes; security settings only where it has none.
    pub template: PodTemplateSpec,
    /// Which isolations destinations may ask for; not empty.
    pub allowed: Vec<Isolation>,
    /// What a destination gets that asks for none.
    pub default: Isolation,
    /// Whether a destination may accept any certificate (`tls.insecureSkipVerify`).
    pub allow_insecure_tls: bool,
}
