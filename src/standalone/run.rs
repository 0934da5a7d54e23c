//! Start and end of the whole.

use super::control::Control;
use super::data_dir::{self, DataDir};
use super::folder::{self, Kind};
use super::identity::Identity;
use super::instance::{self, Instance};
use super::kept::KeptPlans;
use super::records::Records;
use super::roles::{Ended, Roles};
use super::server::{self, PrivateServer, ServerOptions};
use crate::admin::{self, Admin, Gate, Metrics, Readiness};
use crate::bus::append::Appender;

use crate::bus::lease::{TokenFileError, Tokens};
use crate::bus::safety::Unsafe;
use crate::bus::servers::{self, BadServer};
use crate::bus::{BadAuthorities, BadUrl, Links, RedisUrl, Servers};
use crate::ingest::{self, IngestConfig, Tls};
use crate::router::{self, RouterConfig};
use crate::settings::{self, Settings};
use crate::shutdown::Shutdown;
use crate::worker::guard::Policy;
use crate::worker::sink::SinkContext;
use crate::worker::{self, WorkerConfig};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tracing::info;

/// How a standalone is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of destinations.
    pub folder: PathBuf,
    /// Where events are taken.
    pub listen: SocketAddr,
    /// What is presented there; `None` for no TLS.
    pub tls: Option<Arc<Tls>>,
    /// Where health and metrics are shown.
    pub admin_listen: SocketAddr,
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// URL of a Redis to use; `None` for a private one.
    pub redis: Option<String>,
    /// File with the authorities that certify it; `None` for the system's.
    pub redis_ca: Option<PathBuf>,
    /// How the private one is to be.
    pub server: ServerOptions,
    /// Run although Redis may lose what it accepted.
    pub unsafe_storage: bool,
    /// How often the head of a halted destination is probed. Default 5 min.
    pub halt_probe: Duration,
    /// Whether a destination may accept any certificate of its receiver. Default false.
    pub allow_insecure_tls: bool,
}

/// What is told once it runs.
#[derive(Clone, Debug)]
pub struct Started {
    /// Where events are taken.
    pub listen: SocketAddr,
    /// Whether by TLS.
    pub tls: bool,
    /// Where health and metrics are shown.
    pub admin_listen: SocketAddr,
    /// The folder, absolute.
    pub folder: PathBuf,
    /// The data directory, absolute.
    pub data_dir: PathBuf,
    /// The Redis; without its password.
    pub redis: RedisUrl,
    /// Valid destinations in the folder.
    pub destinations: usize,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be read.
    #[error("folder {}: {source}; give the folder that holds your EventDestinations", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `posthorn.yaml` has an error.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// The commands cannot be told.
    #[error(transparent)]
    Instance(#[from] instance::Error),
    /// The tokens of its leases cannot be kept.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// A port cannot be had.
    #[error("cannot listen on {address}: {source}; choose another address with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The private Redis does not run.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The URL of Redis is none.
    #[error(transparent)]
    Redis(#[from] BadUrl),
    /// Nothing says whom to trust.
    #[error("--redis-ca {0}")]
    RedisCa(#[from] BadAuthorities),
    /// The Redis of a bus cannot be used.
    #[error(transparent)]
    BadServer(#[from] BadServer),
    /// Redis would lose events that were accepted.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// A role ended by itself.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Runs until `shutdown`, then ends in order: ingest drains, the router stops, the worker settles, the private Redis ends.
///
/// # Errors
/// If it cannot start, or a role ended by itself.
pub async fn run(options: Options, shutdown: Shutdown, started: impl FnOnce(&Started)) -> Result<(), Error> {
    let folder = options.folder.canonicalize().map_err(|source| Error::Folder { path: options.folder.clone(), source })?;
    let settings = Arc::new(settings_of(&folder)?);
    let data_dir = DataDir::open(&options.data_dir)?;
    let ports = Ports::open(&options).await?;
    let (server, redis) = match &options.redis {
        Some(url) => (None, url.clone()),
        None => {
            let server = PrivateServer::start(data_dir.path(), options.server.clone(), &shutdown).await?;
            let url = server.url();
            (Some(server), url)
        }
    };
    let outcome = Standalone { options, folder, settings, data_dir: &data_dir, redis, shutdown }.run(ports, started).await;
    instance::remove(&data_dir);
    if let Some(server) = server {
        let stopped = server.stop().await;
        return outcome.and(stopped.map_err(Error::from));
    }
    outcome
}

/// The settings of a folder; defaults if it has none.
///
/// # Errors
/// If they cannot be read, or are wrong.
pub fn settings_of(folder: &Path) -> Result<Settings, settings::Error> {
    let file = folder.join(folder::read::SETTINGS_FILE);
    if file.symlink_metadata().is_ok() { Settings::read(&file) } else { Ok(Settings::default()) }
}

/// The ports, taken before anything is started: most of what goes wrong at a start is a port that is in use.
struct Ports {
    events: TcpListener,
    admin: TcpListener,
}

impl Ports {
    async fn open(options: &Options) -> Result<Ports, Error> {
        let events = listen(options.listen, "--listen").await?;
        Ok(Ports { events, admin: listen(options.admin_listen, "--admin-listen").await? })
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, Error> {
    ingest::listen(address).map_err(|source| Error::Listen { address, source, flag })
}

struct Standalone<'a> {
    options: Options,
    folder: PathBuf,
    settings: Arc<Settings>,
    data_dir: &'a DataDir,
    redis: String,
    shutdown: Shutdown,
}

impl Standalone<'_> {
    async fn run(self, ports: Ports, started: impl FnOnce(&Started)) -> Result<(), Error> {
        let redis = self.redis.parse::<RedisUrl>()?.trusting(self.options.redis_ca.as_deref())?;
        let servers = Servers::new(&redis, &self.settings)?.checked(&self.settings, self.options.unsafe_storage);
        let (listen, admin_listen) = (local(&ports.events), local(&ports.admin));
        let admin = Admin { readiness: Readiness::default(), metrics: Metrics::new() };
        // All from the beginning: a gate that is made later would let readiness through before it.
        for gate in ["storage", "redis", "destinations"] {
            admin.readiness.gate(gate);
        }
        // Begins first, to show what the start waits for, and ends last.
        let end_admin = Shutdown::new();
        let admin_task = tokio::spawn(admin::serve(ports.admin, admin.clone(), end_admin.clone()));
        let links = servers.connect("control");
        if !self.wait_until_safe(&servers, &admin.readiness.gate("storage")).await? {
            return Ok(());
        }
        let (mut roles, destinations) = self.start(ports.events, &servers, links, &admin)?;
        roles.start("admin", move || end_admin.begin(), admin_task);
        self.write_instance(listen, admin_listen)?;
        info!(%listen, %admin_listen, folder = %self.folder.display(), data_dir = %self.data_dir.path().display(), %redis, destinations, "running");
        let tls = self.options.tls.is_some();
        started(&Started {
            listen,
            tls,
            admin_listen,
            folder: self.folder,
            data_dir: self.data_dir.path().to_owned(),
            redis,
            destinations,
        });
        Ok(roles.run(&self.shutdown).await?)
    }

    /// Waits for Redis and checks that it keeps what it accepts; false if `shutdown` came first.
    async fn wait_until_safe(&self, servers: &Servers, gate: &Gate) -> Result<bool, Error> {
        gate.set_waiting("no connection to redis yet");
        tokio::select! {
            safe = servers::require(servers) => safe?,
            () = self.shutdown.begun() => return Ok(false),
        }
        gate.set_ready();
        Ok(true)
    }

    /// Starts the roles in the order in which they shall end; also tells how many destinations there are.
    fn start(&self, events: TcpListener, servers: &Servers, links: Links, admin: &Admin) -> Result<(Roles, usize), Error> {
        let tokens = Arc::new(Tokens::open(self.data_dir.path())?);
        let (identity, records) = (Identity::load(self.data_dir)?, Records::load(self.data_dir)?);
        let end_control = Shutdown::new();
        let until = end_control.clone();
        let contents = folder::watch(self.folder.clone(), Arc::clone(&self.settings), until.clone())
            .map_err(|source| Error::Folder { path: self.folder.clone(), source })?;
        let destinations = contents.borrow().objects.keys().filter(|key| key.kind == Kind::EventDestination).count();
        let gate = admin.readiness.gate("destinations");
        let (mut control, plans) =
            Control::new(links, Arc::clone(&self.settings), identity, (records, KeptPlans::of(self.data_dir)), contents, gate);
        let allow_insecure_tls = self.options.allow_insecure_tls;
        control.allow_insecure_tls(allow_insecure_tls);
        let mut roles = Roles::default();
        let end = Shutdown::new();
        let ingest = ingest::serve(
            IngestConfig { tls: self.options.tls.clone(), ..IngestConfig::default() },
            events,
            Arc::clone(&self.settings),
            servers.map(|server| Appender::start(server)),
            Arc::clone(&admin.metrics),
            admin.readiness.clone(),
            end.clone(),
        );
        roles.start("ingest", move || end.begin(), ingest);

        let end = Shutdown::new();
        let config = RouterConfig {
            servers: servers.clone(),
            settings: Arc::clone(&self.settings),
            tokens: Arc::clone(&tokens),
            metrics: Arc::clone(&admin.metrics),
        };
        let router = router::run(config, end.clone());
        roles.start("router", move || end.begin(), endless(router));

        let end = Shutdown::new();
        let config = WorkerConfig {
            servers: servers.clone(),
            plans,
            sink: SinkContext { allow_insecure_tls, ..SinkContext::new(Policy::standalone()) },
            probe: self.options.halt_probe,
            tokens,
            metrics: Arc::clone(&admin.metrics),
        };
        let worker = worker::run(config, end.clone());
        roles.start("worker", move || end.begin(), endless(worker));

        roles.start("control", move || end_control.begin(), endless(control.run(until)));
        Ok((roles, destinations))
    }

    fn write_instance(&self, listen: SocketAddr, admin_listen: SocketAddr) -> Result<(), Error> {
        let instance = Instance {
            pid: std::process::id(),
            redis: self.redis.clone(),
            redis_ca: self.options.redis_ca.as_deref().and_then(|file| std::path::absolute(file).ok()),
            listen: listen.to_string(),
            admin_listen: admin_listen.to_string(),
            folder: self.folder.clone(),
        };
        Ok(instance::write(self.data_dir, &instance)?)
    }
}

/// A role that has no error of its own.
async fn endless(role: impl Future<Output = ()>) -> Result<(), Infallible> {
    role.await;
    Ok(())
}

fn local(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a listener that was bound has an address")
}
