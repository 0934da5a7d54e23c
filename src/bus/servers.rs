//! Which Redis holds which bus: the one of the installation, or one of the bus's own. That is how an installation grows past one Redis.

use super::connection::{Error, Supervisor};
use super::safety::{self, Unsafe};
use super::url::{BadAuthorities, BadUrl, RedisUrl};
use crate::settings::{Fsync, OwnRedis, RedisAddress, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Where one server was checked, the others are waited for so long; then those that are away hold up none that is there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether they were checked.
const LOOK: Duration = Duration::from_millis(50);

/// Something for each server that holds a bus.
#[derive(Clone, Debug)]
pub struct PerServer<T> {
    all: Vec<T>,
    of: BTreeMap<String, usize>,
}

/// The servers themselves.
pub type Servers = PerServer<Server>;
/// A command connection to each.
pub type Links = PerServer<Supervisor>;

/// One Redis.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it is.
    pub url: RedisUrl,
    /// The buses that it holds.
    pub buses: Vec<String>,
    /// What it must do before anything else is asked of it; `None`: nothing.
    pub(super) demand: Option<Demand>,
}

/// A server is not used before it was seen to keep what it accepts. Shared by all connections of a process; asked once.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    declared: Fsync,
    accept_unsafe: bool,
    found: Arc<Mutex<Option<Result<(), String>>>>,
}

/// The address of a bus's own Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadServer {
    /// The file cannot be read.
    #[error("buses.{bus}.redis.urlFile {path}: {source}", path = path.display())]
    File {
        /// Name of the bus.
        bus: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is no address. It is not repeated: it may hold a password.
    #[error("buses.{bus}.redis: {source}")]
    Url {
        /// Name of the bus.
        bus: String,
        /// Why not.
        source: BadUrl,
    },
    /// The authorities cannot be had.
    #[error("buses.{bus}.redis.caFile {source}")]
    Authorities {
        /// Name of the bus.
        bus: String,
        /// Why not.
        source: BadAuthorities,
    },
    /// Nothing would be checked by them.
    #[error("buses.{0}.redis.caFile is for rediss:// (TLS), and its address is none; write rediss://, or leave caFile out")]
    NoTls(String),
    /// Nothing would be checked by those of the installation.
    #[error("--redis-ca is for rediss:// (TLS), and no address of Redis is one; write rediss://, or leave --redis-ca out")]
    UnusedAuthorities,
}

impl From<RedisUrl> for Server {
    fn from(url: RedisUrl) -> Server {
        Server { url, buses: Vec::new(), demand: None }
    }
}

impl From<&Server> for Server {
    fn from(server: &Server) -> Server {
        server.clone()
    }
}

impl Servers {
    /// The servers that hold the buses of the settings; `main` holds those that have none of their own.
    ///
    /// # Errors
    /// If a file cannot be read, an address is none, or authorities are given where nothing is certified.
    pub fn new(main: &RedisUrl, settings: &Settings) -> Result<Servers, BadServer> {
        let mut servers = Servers { all: Vec::new(), of: BTreeMap::new() };
        for (bus, settings) in &settings.buses {
            let url = match &settings.redis {
                None => main.clone(),
                Some(redis) => own(bus, redis, main)?,
            };
            servers.add(bus, url);
        }
        if main.authorities().is_some() && !servers.iter().any(|server| server.url.is_tls()) {
            return Err(BadServer::UnusedAuthorities);
        }
        Ok(servers)
    }

    fn add(&mut self, bus: &str, url: RedisUrl) {
        let at = self.all.iter().position(|server| server.url == url).unwrap_or_else(|| {
            self.all.push(Server::from(url));
            self.all.len() - 1
        });
        self.all[at].buses.push(bus.to_owned());
        self.of.insert(bus.to_owned(), at);
    }

    /// No server is used before it was seen to keep what its buses accept, unless `accept_unsafe`; see [`require`].
    #[must_use]
    pub fn checked(self, settings: &Settings, accept_unsafe: bool) -> Servers {
        self.map(|server| {
            let buses = server.buses.iter().filter_map(|bus| settings.buses.get(bus));
            let always = buses.map(|bus| bus.durability.fsync).any(|fsync| fsync == Fsync::Always);
            let declared = if always { Fsync::Always } else { Fsync::EverySecond };
            Server { demand: Some(Demand { declared, accept_unsafe, found: Arc::default() }), ..server.clone() }
        })
    }

    /// Begins to connect to each; `name` is for the logs.
    pub fn connect(&self, name: &'static str) -> Links {
        self.map(|server| Supervisor::start(server, name))
    }
}

impl<T> PerServer<T> {
    /// That of the server that holds a bus. A bus that is not configured is looked for on the first one.
    pub fn of(&self, bus: &str) -> &T {
        &self.all[self.of.get(bus).copied().unwrap_or_default()]
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter()
    }

    /// Whether any passes.
    ///
    /// # Errors
    /// Why the last one did not, where none does.
    pub fn any<E>(&self, check: impl Fn(&T) -> Result<(), E>) -> Result<(), E> {
        let mut outcome = Ok(());
        for one in self.iter() {
            outcome = check(one);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Something else for each.
    pub fn map<U>(&self, make: impl FnMut(&T) -> U) -> PerServer<U> {
        PerServer { all: self.all.iter().map(make).collect(), of: self.of.clone() }
    }
}

impl Links {
    /// Whether any server can be reached: who can serve some buses is ready.
    ///
    /// # Errors
    /// Why none can.
    pub fn status(&self) -> Result<(), Error> {
        self.any(|links| links.current().map(drop))
    }
}

impl Demand {
    /// Asks once of a process what the server does. Concerns that can be borne are told.
    pub(super) async fn ask(&self, link: &super::Link) -> Result<(), Error> {
        if self.found() == Some(Ok(())) {
            return Ok(());
        }
        let concerns = safety::check(link, self.declared).await?;
        // several connections begin at once: one of them judges
        let mut found = self.lock();
        if *found != Some(Ok(())) {
            *found = Some(safety::judge(&concerns, self.accept_unsafe));
        }
        found.clone().unwrap_or(Ok(())).map_err(Error::Unavailable)
    }

    fn found(&self) -> Option<Result<(), String>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Result<(), String>>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the servers were seen to keep what they accept: all of them, or those that answer soon. The others are asked when they come,
/// and used if they do.
///
/// # Errors
/// If one does not.
pub async fn require(servers: &Servers) -> Result<(), Unsafe> {
    let mut since: Option<Instant> = None;
    loop {
        let mut missing = Vec::new();
        for server in servers.iter() {
            match server.demand.as_ref().map_or(Some(Ok(())), Demand::found) {
                Some(Ok(())) => {}
                Some(Err(why)) if servers.all.len() == 1 => return Err(Unsafe(why)),
                Some(Err(why)) => return Err(Unsafe(format!("bus {}: {why}", server.buses.join(", ")))),
                None => missing.push(server),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if missing.len() < servers.all.len() && since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            for server in missing {
                tracing::warn!(buses = server.buses.join(","), redis = %server.url, "the redis of these buses does not answer; beginning without it");
            }
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The Redis of a bus. It is trusted by its own authorities, else by those of the installation.
fn own(bus: &str, redis: &OwnRedis, main: &RedisUrl) -> Result<RedisUrl, BadServer> {
    let url = read(bus, &redis.address)?;
    if redis.ca_file.is_some() && !url.is_tls() {
        return Err(BadServer::NoTls(bus.to_owned()));
    }
    let authorities = redis.ca_file.as_deref().or(main.authorities());
    url.trusting(authorities).map_err(|source| BadServer::Authorities { bus: bus.to_owned(), source })
}

fn read(bus: &str, address: &RedisAddress) -> Result<RedisUrl, BadServer> {
    let text = match address {
        RedisAddress::Url(url) => url.clone(),
        RedisAddress::File(path) => read_file(bus, path)?,
    };
    text.parse().map_err(|source| BadServer::Url { bus: bus.to_owned(), source })
}

fn read_file(bus: &str, path: &Path) -> Result<String, BadServer> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(BadServer::File { bus: bus.to_owned(), path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(yaml: &str, base: &Path) -> Result<Servers, BadServer> {
        let main = "redis://main:6379".parse().unwrap();
        Servers::new(&main, &Settings::parse(yaml, base).unwrap())
    }

    #[test]
    fn buses_of_one_server_share_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("url"), "redis://:canary@orders:6379\n").unwrap();
        let yaml = "buses: {orders: {redis: {urlFile: url}}, bills: {redis: {url: 'redis://:canary@orders:6379'}}, users: }";
        let servers = servers(yaml, dir.path()).unwrap();
        let told: Vec<_> = servers.iter().map(|server| format!("{} {:?}", server.url, server.buses)).collect();
        assert_eq!(told, [r#"redis://…@orders:6379 ["bills", "orders"]"#, r#"redis://main:6379 ["default", "users"]"#]);
        assert_eq!(servers.of("orders").url, servers.of("bills").url);
        assert_eq!(servers.of("users").url.to_string(), "redis://main:6379");
        assert!(!format!("{servers:?}").contains("canary"));
    }

    #[test]
    fn a_server_that_holds_no_bus_is_none() {
        let servers = servers("buses: {default: {redis: {url: 'redis://own:6379'}}}", Path::new("/")).unwrap();
        assert_eq!(servers.iter().map(|server| server.url.to_string()).collect::<Vec<_>>(), ["redis://own:6379"]);
    }

    #[test]
    fn an_address_that_cannot_be_used_is_told_with_its_bus_and_not_repeated() {
        let told = |yaml| servers(yaml, Path::new("/nowhere")).unwrap_err().to_string();
        let wrong = told("buses: {orders: {redis: {url: 'http://:canary@x'}}}");
        assert!(wrong.contains("buses.orders.redis") && wrong.contains("redis://host:6379") && !wrong.contains("canary"), "{wrong}");
        let missing = told("buses: {orders: {redis: {urlFile: url}}}");
        assert!(missing.contains("buses.orders.redis.urlFile /nowhere/url"), "{missing}");
        let missing = told("buses: {orders: {redis: {url: 'rediss://x', caFile: ca.pem}}}");
        assert!(missing.contains("buses.orders.redis.caFile /nowhere/ca.pem: No such file"), "{missing}");
        let plain = told("buses: {orders: {redis: {url: 'redis://x', caFile: ca.pem}}}");
        assert!(plain.contains("buses.orders.redis.caFile is for rediss://"), "{plain}");
    }

    #[test]
    fn a_bus_trusts_its_own_authorities_else_those_of_the_installation() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["main.pem", "own.pem"] {
            let authority = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
            std::fs::write(dir.path().join(name), authority.cert.pem()).unwrap();
        }
        let main = "rediss://main".parse::<RedisUrl>().unwrap().trusting(Some(&dir.path().join("main.pem"))).unwrap();
        let yaml = "buses: {a: {redis: {url: 'rediss://x', caFile: own.pem}}, b: {redis: {url: 'rediss://x'}}, c: }";
        let servers = Servers::new(&main, &Settings::parse(yaml, dir.path()).unwrap()).unwrap();
        let file = |bus| servers.of(bus).url.authorities().and_then(Path::file_name).unwrap().to_owned();
        assert_eq!(["a", "b", "c"].map(file), ["own.pem", "main.pem", "main.pem"]);
        assert_eq!(servers.iter().count(), 3, "who is trusted by others is another server");
    }
}
