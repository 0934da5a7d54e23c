//! `posthorn ingest`: takes events over HTTP and stores them.

use super::role::{self, Role, RoleArgs};
use super::setting::{Setting, Time};
use crate::bus::append::Appender;
use crate::ingest::{self, IngestConfig, Tls, TlsFiles};
use anyhow::{Context as _, bail};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;

const EXAMPLES: &str = "\
Examples:
  posthorn ingest --redis redis://redis:6379 --listen 0.0.0.0:8080 --config /etc/posthorn/posthorn.yaml
  curl -i http://127.0.0.1:8080/ -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /me' -H 'ce-type: com.example.hello' -d hello";

/// Takes CloudEvents over HTTP and stores them. Needs Redis, and nothing else.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Ingest {
    #[command(flatten)]
    role: RoleArgs,
    /// Where events are taken [default: 127.0.0.1:8080]
    #[arg(long, env = "POSTHORN_LISTEN", value_name = "ADDR", default_value = "", hide_default_value = true)]
    listen: Setting<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Most connections at once [default: 16384]
    #[arg(long, env = "POSTHORN_MAX_CONNECTIONS", value_name = "NUMBER", default_value = "", hide_default_value = true)]
    max_connections: Setting<NonZeroUsize>,
    /// Most connections of one address [default: three quarters of all]
    #[arg(long, env = "POSTHORN_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER", default_value = "", hide_default_value = true)]
    max_connections_per_address: Setting<NonZeroUsize>,
    /// How long a connection may be idle between two requests [default: 75s]
    #[arg(long, env = "POSTHORN_IDLE_TIMEOUT", value_name = "DURATION", default_value = "", hide_default_value = true)]
    idle_timeout: Setting<Time>,
    /// How long storing may take, before the answer is that the outcome is unknown [default: 5s]
    #[arg(long, env = "POSTHORN_REQUEST_TIMEOUT", value_name = "DURATION", default_value = "", hide_default_value = true)]
    request_timeout: Setting<Time>,
    /// How long requests under way may take when it ends [default: 25s]
    #[arg(long, env = "POSTHORN_GRACE_PERIOD", value_name = "DURATION", default_value = "", hide_default_value = true)]
    grace_period: Setting<Time>,
}

/// The certificate that is presented to clients.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// Certificate for TLS, with those between it and its authority (PEM); read again when it changes [default: no TLS]
    #[arg(long, env = "POSTHORN_TLS_CERT", value_name = "FILE", default_value = "", hide_default_value = true)]
    tls_cert: Setting<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = "POSTHORN_TLS_KEY", value_name = "FILE", default_value = "", hide_default_value = true)]
    tls_key: Setting<PathBuf>,
}

impl TlsArgs {
    /// Reads the files, where they are named.
    ///
    /// # Errors
    /// If only one is named, or they cannot be used.
    pub(super) fn load(self) -> anyhow::Result<Option<Arc<Tls>>> {
        match (self.tls_cert.0, self.tls_key.0) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Tls::load(TlsFiles { certificate, key }).context("--tls-cert, --tls-key")?)),
            (Some(_), None) => bail!("--tls-cert needs --tls-key, the file with its private key"),
            (None, Some(_)) => bail!("--tls-key needs --tls-cert, the file with the certificate"),
        }
    }
}

impl Ingest {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// If it cannot start.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let config = IngestConfig { tls: self.tls.clone().load()?, ..self.config() };
        let address = self.listen.0.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        let listener = ingest::listen(address).with_context(|| role::cannot_listen(address, "--listen"))?;
        let Some(role) = self.role.start("ingest").await? else { return Ok(ExitCode::SUCCESS) };
        let outcome = serve(&role, config, listener).await;
        role.end().await;
        outcome.map(|()| ExitCode::SUCCESS)
    }

    fn config(&self) -> IngestConfig {
        let preset = IngestConfig::default();
        let max_connections = self.max_connections.0.map_or(preset.max_connections, NonZeroUsize::get);
        let quarters = (max_connections / 4 * 3).max(1);
        let span = |setting: &Setting<Time>, preset| setting.0.map_or(preset, |Time(span)| span);
        IngestConfig {
            max_connections,
            max_connections_per_address: self.max_connections_per_address.0.map_or(quarters, NonZeroUsize::get),
            idle_timeout: span(&self.idle_timeout, preset.idle_timeout),
            request_timeout: span(&self.request_timeout, preset.request_timeout),
            grace_period: span(&self.grace_period, preset.grace_period),
            ..preset
        }
    }
}

async fn serve(role: &Role, config: IngestConfig, listener: TcpListener) -> anyhow::Result<()> {
    let appenders = role.servers.map(|server| Appender::start(server));
    let (metrics, readiness) = (Arc::clone(&role.admin.metrics), role.admin.readiness.clone());
    tracing::info!(listen = %listener.local_addr()?, tls = config.tls.is_some(), redis = %role.redis, "ingest is running");
    ingest::serve(config, listener, Arc::clone(&role.settings), appenders, metrics, readiness, role.shutdown.clone()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        ingest: Ingest,
    }

    #[test]
    fn flags_become_bounds_and_what_is_not_set_has_its_default() {
        let config = |args: &[&str]| Command::try_parse_from(args).unwrap().ingest.config();
        let preset = config(&["ingest", "--grace-period", ""]);
        assert_eq!((preset.max_connections, preset.max_connections_per_address), (16_384, 12_288));
        assert_eq!(preset.grace_period, Duration::from_secs(25));
        let chosen = config(&["ingest", "--max-connections", "100", "--grace-period", "3s"]);
        assert_eq!((chosen.max_connections, chosen.max_connections_per_address), (100, 75));
        assert_eq!(chosen.grace_period, Duration::from_secs(3));
        assert!(Command::try_parse_from(["ingest", "--max-connections", "0"]).is_err());
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let refused = |args: &[&str]| Command::try_parse_from(args).unwrap().ingest.tls.load().unwrap_err().to_string();
        assert!(refused(&["ingest", "--tls-cert", "a"]).contains("--tls-key"));
        assert!(refused(&["ingest", "--tls-key", "a"]).contains("--tls-cert"));
        assert!(Command::try_parse_from(["ingest", "--tls-key", "", "--tls-cert", ""]).unwrap().ingest.tls.load().unwrap().is_none());
    }
}
