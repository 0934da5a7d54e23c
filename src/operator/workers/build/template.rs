//! The pod template: the admin's, with ours laid over it.

use super::labels::Worker;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// Name of the container that delivers; the admin's settings for it are in the container of this name.
const CONTAINER: &str = "worker";
const REDIS_URL: &str = "POSTHORN_REDIS_URL";
/// Names the authorities that certify Redis.
const REDIS_CA: &str = "POSTHORN_REDIS_CA";
/// Names the settings of the buses.
const CONFIG: &str = "POSTHORN_CONFIG";
const ADMIN_LISTEN: &str = "POSTHORN_ADMIN_LISTEN";
const ALLOW_INSECURE_TLS: &str = "POSTHORN_ALLOW_INSECURE_TLS";
const ADMIN_PORT: i32 = 9090;
const INSTANCE: &str = "app.kubernetes.io/instance";
const PLANS: (&str, &str) = ("plans", "/etc/posthorn/plans");
const TOKENS: (&str, &str) = ("tokens", "/run/posthorn");
/// Group that the plans belong to, where the admin names none. Any would do: the kubelet puts the container's processes into it.
const GROUP: i64 = 65532;
/// Seconds between SIGTERM and SIGKILL, where the admin gives none: a worker ends within 10.
const GRACE: i64 = 30;

/// The pods would not have what they need for Redis.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IncompleteTemplate {
    /// The operator's own address is no use for them.
    #[error(
        "the address of Redis holds a password, which must not stand in pod specs; give workers theirs from a Secret: in the pod template, container \
         `worker`, env: {{name: POSTHORN_REDIS_URL, valueFrom: {{secretKeyRef: …}}}}"
    )]
    Password,
    /// Some bus has a Redis of its own, and the template no settings.
    #[error(
        "bus {0} has a Redis of its own, but workers have no settings that name it; mount posthorn.yaml in the pod template, container `worker`, and \
         set its env POSTHORN_CONFIG"
    )]
    OfBus(String),
    /// The operator trusts authorities that the workers do not know.
    #[error(
        "--redis-ca is given, but workers would trust the system's authorities; mount the file in the pod template, container `worker`, and set its env \
         POSTHORN_REDIS_CA"
    )]
    Authorities,
}

/// The pod template, complete but for what differs from worker to worker.
#[derive(Clone, Debug)]
pub struct Template(PodTemplateSpec);

impl Template {
    /// Lays ours over what the admin gave. `redis` is the address of Redis for the environment, if it holds no password.
    ///
    /// # Errors
    /// If the template names no address of Redis and there is none to give.
    pub fn new(mut admins: PodTemplateSpec, image: &str, redis: Option<&str>) -> Result<Template, IncompleteTemplate> {
        let spec = admins.spec.get_or_insert_default();
        let container = container(&mut spec.containers);
        container.image = Some(image.to_owned());
        container.command = Some(["posthorn", "worker"].map(String::from).to_vec());
        environment(container.env.get_or_insert_default(), redis)?;
        ports(container.ports.get_or_insert_default());
        probes(container);
        resources(container.resources.get_or_insert_default());
        lock_down(container.security_context.get_or_insert_default());
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.retain(|mount| ![PLANS.1, TOKENS.1].contains(&mount.mount_path.as_str()));
        mounts.extend([mount(PLANS, true), mount(TOKENS, false)]);
        pod(spec);
        Ok(Template(admins))
    }

    /// Checks that the pods know the Redis of a bus that has its own.
    ///
    /// # Errors
    /// If their environment names no settings.
    pub fn require_settings(&self, bus: &str) -> Result<(), IncompleteTemplate> {
        if self.sets(CONFIG) { Ok(()) } else { Err(IncompleteTemplate::OfBus(bus.to_owned())) }
    }

    /// Checks that the pods know authorities of their own for Redis.
    ///
    /// # Errors
    /// If their environment names none.
    pub fn require_authorities(&self) -> Result<(), IncompleteTemplate> {
        if self.sets(REDIS_CA) { Ok(()) } else { Err(IncompleteTemplate::Authorities) }
    }

    fn sets(&self, name: &str) -> bool {
        let containers = self.0.spec.iter().flat_map(|spec| &spec.containers);
        let mut env = containers.filter(|container| container.name == CONTAINER).flat_map(|container| container.env.iter().flatten());
        env.any(|variable| variable.name == name)
    }

    /// The same, for workers that let destinations accept any certificate.
    pub fn with_insecure_tls(mut self) -> Template {
        let env = container(&mut self.0.spec.get_or_insert_default().containers).env.get_or_insert_default();
        env.retain(|variable| variable.name != ALLOW_INSECURE_TLS);
        env.push(variable(ALLOW_INSECURE_TLS, "true"));
        self
    }

    /// The template of one worker's pods.
    pub fn of(&self, worker: &Worker) -> PodTemplateSpec {
        let mut template = self.0.clone();
        template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(worker.labels());
        let spec = template.spec.get_or_insert_default();
        let volumes = spec.volumes.get_or_insert_default();
        volumes.retain(|volume| ![PLANS.0, TOKENS.0].contains(&volume.name.as_str()));
        volumes.extend([plans(worker), tokens()]);
        template
    }

    /// The label that names the release, if the admin set it.
    pub fn instance(&self) -> Option<(String, String)> {
        let labels = self.0.metadata.as_ref()?.labels.as_ref()?;
        labels.get_key_value(INSTANCE).map(|(name, value)| (name.clone(), value.clone()))
    }
}

/// The container that delivers; made if the admin says nothing of it.
fn container(containers: &mut Vec<Container>) -> &mut Container {
    let at = containers.iter().position(|container| container.name == CONTAINER).unwrap_or_else(|| {
        containers.insert(0, Container { name: CONTAINER.to_owned(), ..Container::default() });
        0
    });
    &mut containers[at]
}

fn environment(env: &mut Vec<EnvVar>, redis: Option<&str>) -> Result<(), IncompleteTemplate> {
    let given = |env: &[EnvVar], name: &str| env.iter().any(|variable| variable.name == name);
    if !given(env, REDIS_URL) {
        env.push(variable(REDIS_URL, redis.ok_or(IncompleteTemplate::Password)?));
    }
    // in a cluster of IPv6 alone the admin says [::]:9090
    if !given(env, ADMIN_LISTEN) {
        env.push(variable(ADMIN_LISTEN, &format!("0.0.0.0:{ADMIN_PORT}")));
    }
    for (name, value) in [("POSTHORN_PLANS", PLANS.1), ("POSTHORN_TOKEN_DIR", TOKENS.1)] {
        env.retain(|variable| variable.name != name);
        env.push(variable(name, value));
    }
    Ok(())
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn ports(ports: &mut Vec<ContainerPort>) {
    ports.retain(|port| port.name.as_deref() != Some("admin") && port.container_port != ADMIN_PORT);
    let (name, protocol) = (Some("admin".to_owned()), Some("TCP".to_owned()));
    ports.push(ContainerPort { name, container_port: ADMIN_PORT, protocol, ..ContainerPort::default() });
}

fn probes(container: &mut Container) {
    let probe = |path: &str, period| {
        let http = HTTPGetAction { path: Some(path.to_owned()), port: IntOrString::String("admin".to_owned()), ..HTTPGetAction::default() };
        Probe { http_get: Some(http), period_seconds: Some(period), timeout_seconds: Some(5), ..Probe::default() }
    };
    container.liveness_probe.get_or_insert_with(|| probe("/livez", 10));
    container.readiness_probe.get_or_insert_with(|| probe("/readyz", 3));
}

/// Small requests, so that a worker is scheduled with care; a limit is the admin's to set.
fn resources(resources: &mut ResourceRequirements) {
    if resources.requests.is_none() && resources.limits.is_none() {
        let request = |name: &str, quantity: &str| (name.to_owned(), Quantity(quantity.to_owned()));
        resources.requests = Some(BTreeMap::from([request("cpu", "10m"), request("memory", "32Mi")]));
    }
}

fn lock_down(security: &mut SecurityContext) {
    security.run_as_non_root.get_or_insert(true);
    security.read_only_root_filesystem.get_or_insert(true);
    security.allow_privilege_escalation.get_or_insert(false);
    security.capabilities.get_or_insert_with(|| Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None });
}

fn mount((name, path): (&str, &str), read_only: bool) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: Some(read_only), ..VolumeMount::default() }
}

/// What the pod as a whole has.
fn pod(spec: &mut PodSpec) {
    let security: &mut PodSecurityContext = spec.security_context.get_or_insert_default();
    security.run_as_non_root.get_or_insert(true);
    security.fs_group.get_or_insert(GROUP);
    security.seccomp_profile.get_or_insert_with(|| SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None });
    // a worker has no business with the API server
    spec.automount_service_account_token = Some(false);
    // a Service of the namespace must not become one of our settings
    spec.enable_service_links.get_or_insert(false);
    spec.termination_grace_period_seconds.get_or_insert(GRACE);
    spec.topology_spread_constraints.get_or_insert_with(|| vec![over_nodes()]);
}

/// The workers, one pod each, are spread over the nodes.
fn over_nodes() -> TopologySpreadConstraint {
    let labels = [("app.kubernetes.io/name", "posthorn"), ("app.kubernetes.io/component", "worker")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector { match_labels: Some(labels.into()), ..LabelSelector::default() }),
        ..TopologySpreadConstraint::default()
    }
}

/// The plan Secret, readable by the pod's group alone.
fn plans(worker: &Worker) -> Volume {
    let secret = SecretVolumeSource { secret_name: Some(worker.name()), default_mode: Some(0o440), ..SecretVolumeSource::default() };
    Volume { name: PLANS.0.to_owned(), secret: Some(secret), ..Volume::default() }
}

/// Who this process is, for as long as the pod lives: a restarted container takes its own leases back at once.
fn tokens() -> Volume {
    let memory = EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: Some(Quantity("1Mi".to_owned())) };
    Volume { name: TOKENS.0.to_owned(), empty_dir: Some(memory), ..Volume::default() }
}
