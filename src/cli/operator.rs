//! `posthorn operator`: makes EventDestinations of a cluster true.

use super::role::RoleArgs;
use super::setting::Setting;
use crate::admin::Metrics;
use crate::api::spec::Isolation;
use crate::operator::config::{OperatorConfig, WorkersConfig};
use crate::operator::metrics::OperatorMetrics;
use crate::operator::{self, ApiServer, Surroundings};
use anyhow::{Context as _, bail};
use clap::builder::FalseyValueParser;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  posthorn operator --namespace posthorn --redis redis://redis:6379     (in a pod, or with KUBECONFIG set)

Several may run: one of them leads, the others stand by.";

/// Makes the EventDestinations of a cluster true, and tells on them how they do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Namespace of its workers, plans and lease [default: that of the pod, or of the kubeconfig]
    #[arg(long, env = "POSTHORN_NAMESPACE", value_name = "NAME", default_value = "", hide_default_value = true)]
    namespace: Setting<String>,
    /// Image of the workers; the same as its own [default: posthorn:VERSION]
    #[arg(long, env = "POSTHORN_WORKER_IMAGE", value_name = "IMAGE", default_value = "", hide_default_value = true)]
    worker_image: Setting<String>,
    /// What the pods of workers have besides (a PodTemplateSpec in YAML): resources, node selector, environment, …
    #[arg(long, env = "POSTHORN_WORKER_TEMPLATE", value_name = "FILE", default_value = "", hide_default_value = true)]
    worker_template: Setting<PathBuf>,
    /// Isolation of destinations that ask for none [default: Shared]
    #[arg(long, env = "POSTHORN_ISOLATION", value_name = "Shared|Dedicated", default_value = "", hide_default_value = true)]
    isolation: Setting<IsolationArg>,
    /// Isolations that destinations may ask for [default: both]
    #[arg(long, env = "POSTHORN_ALLOWED_ISOLATION", value_name = "ISOLATION", value_delimiter = ',')]
    allowed_isolation: Vec<IsolationArg>,
    /// Let destinations accept any certificate of their receiver (tls.insecureSkipVerify)
    #[arg(long, env = "POSTHORN_ALLOW_INSECURE_TLS", value_parser = FalseyValueParser::new())]
    allow_insecure_tls: bool,
    /// Most writes of statuses per second
    #[arg(long, env = "POSTHORN_STATUS_WRITES", value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    status_writes: u32,
    /// Name of this process in the lease [default: the host name, which in a pod is the pod's]
    #[arg(long, env = "POSTHORN_POD_NAME", value_name = "NAME", default_value = "", hide_default_value = true)]
    pod_name: Setting<String>,
    #[command(flatten)]
    role: RoleArgs,
}

/// An isolation as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IsolationArg(Isolation);

impl std::str::FromStr for IsolationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<IsolationArg, String> {
        match text {
            "Shared" => Ok(IsolationArg(Isolation::Shared)),
            "Dedicated" => Ok(IsolationArg(Isolation::Dedicated)),
            _ => Err("write Shared or Dedicated".to_owned()),
        }
    }
}

/// Runs until SIGTERM or SIGINT, or until another operator leads.
///
/// # Errors
/// If it cannot start, or has lost the lease.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let identity = args.pod_name.0.unwrap_or_else(host_name);
    let ApiServer { client, namespace } = ApiServer::infer(&identity).await?;
    let default = args.isolation.0.map_or(Isolation::Shared, |isolation| isolation.0);
    let allowed = match args.allowed_isolation.is_empty() {
        true => vec![Isolation::Shared, Isolation::Dedicated],
        false => args.allowed_isolation.iter().map(|isolation| isolation.0).collect(),
    };
    if !allowed.contains(&default) {
        bail!("--isolation {default:?} is not among --allowed-isolation");
    }
    let template = args.worker_template.0.as_deref().map(read_template).transpose()?.unwrap_or_default();
    let image = args.worker_image.0.unwrap_or_else(|| concat!("posthorn:", env!("CARGO_PKG_VERSION")).to_owned());
    let (all_metrics, metrics) = Metrics::with(OperatorMetrics::register);
    let role = args.role.open("operator", all_metrics).await?;
    let config = OperatorConfig {
        namespace: args.namespace.0.unwrap_or(namespace),
        redis: role.redis.clone(),
        servers: role.servers.clone(),
        settings: Arc::clone(&role.settings),
        workers: WorkersConfig { image, template, allowed, default, allow_insecure_tls: args.allow_insecure_tls },
        identity,
        status_writes_per_second: args.status_writes,
    };
    let surroundings = Surroundings {
        client,
        links: role.links.clone(),
        metrics,
        readiness: role.admin.readiness.clone(),
        shutdown: role.shutdown.clone(),
    };
    let result = operator::run(config, surroundings).await;
    role.end().await;
    result?;
    Ok(ExitCode::SUCCESS)
}

fn read_template(path: &Path) -> anyhow::Result<PodTemplateSpec> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--worker-template {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("--worker-template {} is not a PodTemplateSpec", path.display()))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
