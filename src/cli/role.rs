//! What the roles have in common when each runs in a process of its own.

use super::setting::Setting;
use crate::admin::{self, Admin, Metrics, Readiness};
use crate::bus::lease::Tokens;
use crate::bus::{Links, RedisUrl, Servers, servers};
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often readiness follows the connection to Redis.
const FOLLOW: Duration = Duration::from_millis(500);

/// Flags of every role.
#[derive(Clone, Debug, clap::Args)]
pub struct RoleArgs {
    /// Where Redis is: redis://host:6379, rediss://… (TLS) or unix:///path [default: redis://127.0.0.1:6379]
    #[arg(long, env = "POSTHORN_REDIS_URL", hide_env_values = true, value_name = "URL", default_value = "", hide_default_value = true)]
    redis: Setting<String>,
    /// Authorities (PEM) that certify Redis where it is rediss://; no others are trusted then [default: the system's]
    #[arg(long, env = "POSTHORN_REDIS_CA", value_name = "FILE", default_value = "", hide_default_value = true)]
    redis_ca: Setting<PathBuf>,
    /// Settings of the buses (posthorn.yaml) [default: one bus, `default`]
    #[arg(long, env = "POSTHORN_CONFIG", value_name = "FILE", default_value = "", hide_default_value = true)]
    config: Setting<PathBuf>,
    /// Where /livez, /readyz and /metrics are [default: 127.0.0.1:9090]
    #[arg(long, env = "POSTHORN_ADMIN_LISTEN", value_name = "ADDR", default_value = "", hide_default_value = true)]
    admin_listen: Setting<SocketAddr>,
    /// Run although Redis may lose events that were accepted (no append-only file, eviction, fsync)
    #[arg(long, env = "POSTHORN_UNSAFE_STORAGE", value_parser = clap::builder::FalseyValueParser::new())]
    unsafe_storage: bool,
}

/// Where a role keeps the tokens of its leases.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Directory for the tokens of its leases, of this process alone: with it a restarted process goes on at once instead of after 6 s
    #[arg(long, env = "POSTHORN_TOKEN_DIR", value_name = "DIR", default_value = "", hide_default_value = true)]
    token_dir: Setting<PathBuf>,
}

/// What a role works with.
pub struct Role {
    /// Where Redis is that holds every bus without one of its own.
    pub redis: RedisUrl,
    /// Where each bus is.
    pub servers: Servers,
    /// The buses.
    pub settings: Arc<Settings>,
    /// What is shown on the admin port.
    pub admin: Admin,
    /// When to end.
    pub shutdown: Shutdown,
    /// A connection to each.
    pub links: Links,
    end_admin: Shutdown,
    admin_task: JoinHandle<()>,
}

impl RoleArgs {
    /// Opens the admin port, then waits for Redis and checks that it keeps what it accepts; `None` if it was told to end meanwhile.
    ///
    /// # Errors
    /// If a flag or the settings are wrong, the port is in use, or Redis would lose events.
    pub async fn start(self, name: &'static str) -> anyhow::Result<Option<Role>> {
        let accept_unsafe = self.unsafe_storage;
        let role = self.open_with(name, Metrics::new(), |servers, settings| servers.checked(settings, accept_unsafe)).await?;
        let (gate, _) = (role.admin.readiness.gate("storage"), role.admin.readiness.gate("redis"));
        // both from the beginning: who is ready waits for neither
        gate.set_waiting("no connection to redis yet");
        tokio::select! {
            safe = servers::require(&role.servers) => safe?,
            () = role.shutdown.begun() => return Ok(None),
        }
        gate.set_ready();
        Ok(Some(role))
    }

    /// Opens the admin port, and looks at Redis no further than to connect to it.
    ///
    /// # Errors
    /// If a flag or the settings are wrong, or the port is in use.
    pub async fn open(self, name: &'static str, metrics: Arc<Metrics>) -> anyhow::Result<Role> {
        self.open_with(name, metrics, |servers, _| servers).await
    }

    async fn open_with(
        self,
        name: &'static str,
        metrics: Arc<Metrics>,
        demand: impl FnOnce(Servers, &Settings) -> Servers,
    ) -> anyhow::Result<Role> {
        let redis: RedisUrl = self.redis.0.as_deref().unwrap_or("redis://127.0.0.1:6379").parse().context("--redis")?;
        let redis = redis.trusting(self.redis_ca.0.as_deref()).context("--redis-ca")?;
        let settings = Arc::new(self.config.0.as_deref().map(Settings::read).transpose()?.unwrap_or_default());
        let servers = demand(Servers::new(&redis, &settings)?, &settings);
        let shutdown = Shutdown::on_signals().context("signal handlers cannot be installed")?;
        let address = self.admin_listen.0.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090)));
        let listener = TcpListener::bind(address).await.with_context(|| cannot_listen(address, "--admin-listen"))?;
        let admin_listen = listener.local_addr().context("the admin port has no address")?;
        let (admin, end_admin) = (Admin { readiness: Readiness::default(), metrics }, Shutdown::new());
        let admin_task = tokio::spawn(admin::serve(listener, admin.clone(), end_admin.clone()));
        let links = servers.connect(name);
        tracing::info!(role = name, %redis, %admin_listen, buses = settings.buses.len(), "running");
        Ok(Role { redis, servers, settings, admin, shutdown, links, end_admin, admin_task })
    }
}

impl Role {
    /// Keeps the gate `redis` as the connections are, for as long as the role runs.
    pub async fn follow_redis(&self) {
        let gate = self.admin.readiness.gate("redis");
        loop {
            gate.set_result(self.links.status().map_err(|error| error.to_string()));
            tokio::time::sleep(FOLLOW).await;
        }
    }

    /// Ends the admin port, last of all.
    pub async fn end(self) {
        self.end_admin.begin();
        // a panic there was logged already
        let _ = self.admin_task.await;
    }
}

impl TokenArgs {
    /// The tokens, kept in the directory if there is one.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub fn open(&self) -> anyhow::Result<Arc<Tokens>> {
        match &self.token_dir.0 {
            Some(directory) => Ok(Arc::new(Tokens::open(directory)?)),
            None => Ok(Arc::new(Tokens::in_memory())),
        }
    }
}

/// What is said when an address cannot be had.
pub(super) fn cannot_listen(address: SocketAddr, flag: &str) -> String {
    format!("cannot listen on {address}; choose another address with {flag}")
}
