//! The commands: the clap tree, and one file for each.

pub mod all;
pub mod ask;
pub mod check;
pub mod completions;
pub mod config;
pub mod confirm;
pub mod connect;
pub mod dead;
pub mod describe;
pub mod dry_run;
pub mod generate;
pub mod get;
pub mod ingest;
pub mod man;
pub mod names;
pub mod operator;
pub mod output;
pub mod pace;
pub mod plugin;
pub mod progress;
pub mod receiver;
pub mod retry;
pub mod role;
pub mod router;
pub mod send;
pub mod setting;
pub mod skip;
pub mod standalone;
pub mod table;
pub mod tail;
pub mod top;
pub mod validate;
pub mod when;
pub mod worker;

use crate::telemetry::LogFormat;
use clap::{Parser, Subcommand};
use plugin::Where;
use std::process::ExitCode;

/// Delivers events to the places that EventDestinations name: durable, in order, at least once.
#[derive(Debug, Parser)]
#[command(name = "posthorn", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Logs for people or for machines
    #[arg(long, global = true, env = "POSTHORN_LOG_FORMAT", value_name = "text|json", default_value = "text")]
    log_format: LogFormat,
    /// What is logged: a level, or levels by module (info, posthorn::worker=debug) [default: info; error for commands]
    #[arg(long, global = true, env = "POSTHORN_LOG", value_name = "FILTER", default_value = "", hide_default_value = true)]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Standalone(standalone::Args),
    Ingest(ingest::Ingest),
    Router(router::Args),
    Worker(worker::Args),
    Operator(operator::Args),
    Get(get::Get),
    Describe(describe::Describe),
    Check(check::Check),
    Top(top::Top),
    Tail(tail::Tail),
    Send(send::Send),
    Dead(dead::Dead),
    Retry(retry::Retry),
    Skip(skip::Skip),
    Validate(validate::Validate),
    DryRun(dry_run::DryRun),
    Receiver(receiver::Args),
    Generate(generate::Generate),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    /// What is logged where nobody asked for something else: a command says itself what went wrong.
    fn log(&self) -> &'static str {
        match self {
            Command::Standalone(_) | Command::Ingest(_) | Command::Router(_) | Command::Worker(_) | Command::Operator(_) => "info",
            _ => "error",
        }
    }
}

impl Cli {
    /// Where it runs as a plugin of kubectl.
    fn runs(&self) -> Where {
        match &self.command {
            Command::Get(args) => args.runs(),
            Command::Describe(args) => args.runs(),
            Command::Check(args) => args.runs(),
            Command::Top(args) => args.runs(),
            Command::Tail(args) => args.runs(),
            Command::Send(args) => args.runs(),
            Command::Dead(args) => args.runs(),
            Command::Retry(args) => args.runs(),
            Command::Skip(args) => args.runs(),
            // they work on files, or print what they know
            Command::Validate(_) | Command::DryRun(_) | Command::Generate(_) | Command::Completions(_) | Command::Man(_) => Where::Here,
            // in a cluster they are Deployments; who calls one wants it here
            Command::Standalone(_) | Command::Ingest(_) | Command::Router(_) | Command::Worker(_) | Command::Operator(_) => Where::Here,
            Command::Receiver(_) => Where::Here,
        }
    }

    /// Runs what was asked for; answers the exit status of the process.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let log = if self.log.is_empty() { self.command.log() } else { &self.log };
        crate::telemetry::init(self.log_format, log)?;
        match self.command {
            Command::Standalone(args) => traced(standalone::run(args)).await,
            Command::Ingest(args) => traced(args.run()).await,
            Command::Router(args) => router::run(args).await,
            Command::Worker(args) => traced(worker::run(args)).await,
            Command::Operator(args) => operator::run(args).await,
            Command::Get(args) => args.run().await,
            Command::Describe(args) => args.run().await,
            Command::Check(args) => args.run().await,
            Command::Top(args) => args.run().await,
            Command::Tail(args) => args.run().await,
            Command::Send(args) => args.run().await,
            Command::Dead(args) => args.run().await,
            Command::Retry(args) => args.run().await,
            Command::Skip(args) => args.run().await,
            Command::Validate(args) => args.run().await,
            Command::DryRun(args) => args.run().await,
            Command::Receiver(args) => receiver::run(args).await,
            Command::Generate(args) => args.run().await,
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}

/// Runs a role that has spans to export.
async fn traced(role: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let exporting = crate::traces::init()?;
    let result = role.await;
    exporting.end().await;
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_well_formed() {
        super::Cli::command().debug_assert();
    }
}
