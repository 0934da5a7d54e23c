//! What the roles of the data plane have in common: where Redis is, the settings, the admin port, start and end.

use super::setting::Setting;
use crate::admin::{self, Admin, Metrics, Readiness};
use crate::bus::{RedisUrl, Supervisor, safety};
use crate::settings::{Fsync, Settings};
use crate::shutdown::Shutdown;
use anyhow::{Context as _, bail};
use clap::builder::FalseyValueParser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::warn;

/// Flags of every role.
#[derive(Clone, Debug, clap::Args)]
pub struct RoleArgs {
    /// Where Redis is: redis://host:6379, rediss://… or unix:///path [default: redis://127.0.0.1:6379]
    #[arg(long, env = "POSTHORN_REDIS_URL", hide_env_values = true, value_name = "URL", default_value = "", hide_default_value = true)]
    redis: Setting<String>,
    /// Settings of the buses (posthorn.yaml) [default: a bus `default`, open to everyone who reaches the port]
    #[arg(long, env = "POSTHORN_CONFIG", value_name = "FILE", default_value = "", hide_default_value = true)]
    config: Setting<PathBuf>,
    /// Where /livez, /readyz and /metrics are [default: 127.0.0.1:9090]
    #[arg(long, env = "POSTHORN_ADMIN_LISTEN", value_name = "ADDR", default_value = "", hide_default_value = true)]
    admin_listen: Setting<SocketAddr>,
    /// Run although Redis may lose events that were accepted (no append-only file, eviction, fsync)
    #[arg(long, env = "POSTHORN_UNSAFE_STORAGE", value_parser = FalseyValueParser::new())]
    unsafe_storage: bool,
}

/// A role that is starting: its admin port is served, it ends at SIGTERM.
pub struct Role {
    /// Where Redis is.
    pub redis: RedisUrl,
    /// The settings of the buses.
    pub settings: Arc<Settings>,
    /// What is shown of it.
    pub admin: Admin,
    /// When to end.
    pub shutdown: Shutdown,
    unsafe_storage: bool,
    end_admin: Shutdown,
    admin_task: JoinHandle<()>,
}

impl RoleArgs {
    /// Reads the settings and serves the admin port.
    ///
    /// # Errors
    /// If a flag or the settings are wrong, or the admin port cannot be had.
    pub async fn start(self) -> anyhow::Result<Role> {
        let redis = self.redis.0.as_deref().unwrap_or("redis://127.0.0.1:6379").parse().context("--redis")?;
        let settings = self.config.0.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let address = self.admin_listen.0.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090)));
        let listener = TcpListener::bind(address).await.with_context(|| cannot_listen(address, "--admin-listen"))?;
        let admin = Admin { readiness: Readiness::default(), metrics: Metrics::new() };
        let shutdown = Shutdown::on_signals().context("signal handlers cannot be installed")?;
        let end_admin = Shutdown::new();
        let admin_task = tokio::spawn(admin::serve(listener, admin.clone(), end_admin.clone()));
        let settings = Arc::new(settings);
        Ok(Role { redis, settings, admin, shutdown, unsafe_storage: self.unsafe_storage, end_admin, admin_task })
    }
}

impl Role {
    /// Waits for Redis and checks that it keeps what it accepts; false if shutdown came first. Gate `storage`.
    ///
    /// # Errors
    /// If Redis may lose what it accepted, and `--unsafe-storage` was not given.
    pub async fn wait_until_safe(&self) -> anyhow::Result<bool> {
        let gate = self.admin.readiness.gate("storage");
        gate.set_waiting("no connection to redis yet");
        let supervisor = Supervisor::start(self.redis.clone(), "control");
        loop {
            let link = tokio::select! {
                link = supervisor.link() => link,
                () = self.shutdown.begun() => return Ok(false),
            };
            let Ok(concerns) = safety::check(&link, self.declared()).await else { continue };
            concerns.iter().for_each(|concern| warn!(reason = concern.reason(), "{concern}"));
            let fatal: Vec<_> = concerns.iter().filter(|concern| concern.is_fatal()).map(ToString::to_string).collect();
            if !fatal.is_empty() && !self.unsafe_storage {
                bail!("{} (to run all the same: --unsafe-storage)", fatal.join("; "));
            }
            gate.set_ready();
            return Ok(true);
        }
    }

    /// The strictest fsync policy that a bus declares.
    fn declared(&self) -> Fsync {
        let always = self.settings.buses.values().any(|bus| bus.durability.fsync == Fsync::Always);
        if always { Fsync::Always } else { Fsync::EverySecond }
    }

    /// Ends the admin port, last of all.
    pub async fn end(self) {
        self.end_admin.begin();
        // a panic there was logged already
        let _ = self.admin_task.await;
    }
}

/// What is said when an address cannot be had.
pub(super) fn cannot_listen(address: SocketAddr, flag: &str) -> String {
    format!("cannot listen on {address}; choose another address with {flag}")
}
