//! `posthorn router`: puts accepted events into the queues of the destinations that match.

use super::role::{RoleArgs, TokenArgs};
use crate::router::{self, RouterConfig};
use std::process::ExitCode;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  posthorn router --redis redis://redis:6379 --config posthorn.yaml

Several may run: one of them routes a bus, the others stand by.";

/// Routes accepted events to the queues of the destinations that match.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
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
    let Some(role) = args.role.start("router").await? else { return Ok(ExitCode::SUCCESS) };
    let (settings, metrics) = (Arc::clone(&role.settings), Arc::clone(&role.admin.metrics));
    let config = RouterConfig { servers: role.servers.clone(), settings, tokens, metrics };
    tokio::select! {
        () = router::run(config, role.shutdown.clone()) => {}
        () = role.follow_redis() => {}
    }
    role.end().await;
    Ok(ExitCode::SUCCESS)
}
