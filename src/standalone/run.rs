//! Start and end of the whole.

use super::control::Control;
use super::data_dir::{self, DataDir};
use super::folder::{self, Kind};
use super::identity::Identity;
use super::instance::{self, Instance};
use super::records::Records;
use super::roles::{Ended, Roles};
use super::server::{self, PrivateServer, ServerOptions};
use crate::admin::{self, Admin, Metrics, Readiness};
use crate::bus::append::Appender;
use crate::bus::connection::BadUrl;
use crate::bus::lease::{TokenFileError, Tokens};
use crate::bus::{RedisUrl, Supervisor, safety};
use crate::ingest::{self, IngestConfig};
use crate::router::{self, RouterConfig};
use crate::settings::{self, Fsync, Settings};
use crate::shutdown::Shutdown;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How a standalone is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of destinations.
    pub folder: PathBuf,
    /// Where events are taken.
    pub listen: SocketAddr,
    /// Where health and metrics are shown.
    pub admin_listen: SocketAddr,
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// URL of a Redis to use; `None` for a private one.
    pub redis: Option<String>,
    /// How the private one is to be.
    pub server: ServerOptions,
    /// Run although Redis may lose what it accepted.
    pub unsafe_storage: bool,
}

/// What is told once it runs.
#[derive(Clone, Debug)]
pub struct Started {
    /// Where events are taken.
    pub listen: SocketAddr,
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
    /// Redis would lose events that were accepted.
    #[error("{0} (to run all the same: --unsafe-storage)")]
    Unsafe(String),
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
    let settings = Arc::new(read_settings(&folder)?);
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

/// The settings of the folder; defaults if it has none.
fn read_settings(folder: &Path) -> Result<Settings, settings::Error> {
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
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source, flag })
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
        let redis: RedisUrl = self.redis.parse()?;
        let (listen, admin_listen) = (local(&ports.events), local(&ports.admin));
        let admin = Admin { readiness: Readiness::default(), metrics: Metrics::new() };
        let mut roles = Roles::default();
        let waiting = self.serve_admin(ports.admin, &admin);
        let supervisor = Supervisor::start(redis.clone(), "control");
        if !self.is_safe(&supervisor, &admin).await? {
            return Ok(());
        }
        instance::write(self.data_dir, &self.instance(listen, admin_listen))?;
        let destinations = self.start_roles(&mut roles, ports.events, redis.clone(), supervisor, &admin)?;
        roles.0_placeholder();
        Ok(())
    }
}
