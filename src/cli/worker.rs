//! `posthorn worker`: delivers what waits for the destinations whose plans it finds in a directory.

use super::role::{RoleArgs, TokenArgs};
use super::setting::{Setting, Time};
use crate::worker::guard::{Cidr, Policy};
use crate::worker::halt::DEFAULT_PROBE;
use crate::worker::sink::SinkContext;
use crate::worker::{self, WorkerConfig, plans};
use clap::builder::FalseyValueParser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  posthorn worker --plans /etc/posthorn/plans --redis redis://redis:6379

Each file of the directory is a plan, as the operator writes it into a Secret. Changes are picked up while it runs.";

/// Delivers to the destinations whose plans are in a directory.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Directory with one plan (JSON) in each file
    #[arg(long, env = "POSTHORN_PLANS", value_name = "DIR")]
    plans: PathBuf,
    /// How often the head of a halted destination is probed (30s, 5m) [default: 5m]
    #[arg(long, env = "POSTHORN_HALT_PROBE", value_name = "TIME", default_value = "", hide_default_value = true)]
    halt_probe: Setting<Time>,
    /// Ranges that may be reached although they are private or special (10.0.0.0/8,fd00::/8)
    #[arg(long, env = "POSTHORN_EGRESS_ALLOW", value_name = "CIDR", value_delimiter = ',')]
    egress_allow: Vec<Cidr>,
    /// Ranges that may not be reached, whatever else is allowed
    #[arg(long, env = "POSTHORN_EGRESS_DENY", value_name = "CIDR", value_delimiter = ',')]
    egress_deny: Vec<Cidr>,
    /// Let destinations accept any certificate of their receiver (tls.insecureSkipVerify)
    #[arg(long, env = "POSTHORN_ALLOW_INSECURE_TLS", value_parser = FalseyValueParser::new())]
    allow_insecure_tls: bool,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    tokens: TokenArgs,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tokens = args.tokens.open()?;
    let Some(role) = args.role.start("worker").await? else { return Ok(ExitCode::SUCCESS) };
    let policy = Policy { allow: args.egress_allow, deny: args.egress_deny, ..Policy::cluster_default() };
    let config = WorkerConfig {
        servers: role.servers.clone(),
        plans: plans::watch(args.plans, role.shutdown.clone())?,
        sink: SinkContext { allow_insecure_tls: args.allow_insecure_tls, ..SinkContext::new(policy) },
        probe: args.halt_probe.0.map_or(DEFAULT_PROBE, |time| time.0),
        tokens,
        metrics: Arc::clone(&role.admin.metrics),
    };
    tokio::select! {
        () = worker::run(config, role.shutdown.clone()) => {}
        () = role.follow_redis() => {}
    }
    role.end().await;
    Ok(ExitCode::SUCCESS)
}
