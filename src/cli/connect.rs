//! How commands find Redis, and the bus in it.

use super::plugin::Where;
use crate::bus::servers::BadServer;
use crate::bus::{Error, Link, RedisUrl, Servers, Supervisor};
use crate::settings::{DEFAULT_BUS, Settings};
use crate::standalone::instance::Instance;
use crate::standalone::{self, data_dir, instance};
use anyhow::{Context as _, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable that names the Redis.
pub const VARIABLE: &str = "POSTHORN_REDIS_URL";
/// The one that names the file with the authorities that certify it.
const CA_VARIABLE: &str = "POSTHORN_REDIS_CA";
/// The one that names the settings, where a bus may have a Redis of its own.
const CONFIG_VARIABLE: &str = "POSTHORN_CONFIG";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Where Redis is. Flags go before the environment, and a URL before a data directory.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Where Redis is")]
pub struct Connection {
    /// URL of Redis: redis://HOST:PORT, rediss://… (TLS) or unix:///PATH [env: POSTHORN_REDIS_URL]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Authorities (PEM) that certify Redis where it is rediss:// [env: POSTHORN_REDIS_CA] [default: the system's]
    #[arg(long, value_name = "FILE")]
    redis_ca: Option<PathBuf>,
    /// Data directory of the running standalone [env: POSTHORN_DATA_DIR] [default: ~/.local/state/posthorn]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Name of the bus
    #[arg(long, value_name = "NAME", default_value = DEFAULT_BUS)]
    bus: String,
}

/// A bus that can be reached.
pub struct Bus {
    /// Its name.
    pub name: String,
    /// Where its Redis is.
    pub url: RedisUrl,
    /// The folder of the standalone that runs on it, where one told.
    pub folder: Option<PathBuf>,
    supervisor: Supervisor,
    told: String,
}

/// Where Redis is.
struct Place {
    url: RedisUrl,
    folder: Option<PathBuf>,
    /// Who told it, for the message when nobody answers there.
    told: String,
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("data_dir", &self.data_dir).field("bus", &self.bus).finish_non_exhaustive()
    }
}

impl Connection {
    /// Finds Redis, connects to it, and checks that it holds the bus.
    ///
    /// # Errors
    /// Where nothing says where Redis is, where it does not answer, and for a bus that nobody ever used.
    pub async fn open(&self) -> anyhow::Result<Bus> {
        let Place { url, folder, told } = self.find(|name| std::env::var(name).ok(), data_dir::default_path)?;
        let supervisor = Supervisor::start(url.clone(), "command");
        let bus = Bus { name: self.bus.clone(), url, folder, supervisor, told };
        // bus `default` always exists, even before its first use
        if bus.name != DEFAULT_BUS && !bus.link().await?.has_bus(&bus.name).await? {
            bail!("Redis at {} holds no bus `{}`; name the bus by --bus, as the roles that run there do", bus.url, bus.name);
        }
        Ok(bus)
    }

    /// Where a command with this connection runs as a plugin of kubectl: `inside` the cluster, unless it was told where Redis is.
    pub fn runs(&self, inside: Where) -> Where {
        let told = self.redis.is_some() || self.data_dir.is_some() || std::env::var_os(VARIABLE).is_some_and(|url| !url.is_empty());
        if told { Where::Here } else { inside }
    }

    /// The name of the bus.
    pub fn bus(&self) -> &str {
        &self.bus
    }

    /// The same for another bus, where one is named.
    pub fn on(self, bus: Option<String>) -> Connection {
        Connection { bus: bus.unwrap_or(self.bus), ..self }
    }

    fn find(
        &self,
        env: impl Fn(&str) -> Option<String>,
        default_dir: impl FnOnce() -> Result<PathBuf, data_dir::Error>,
    ) -> anyhow::Result<Place> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let place = if let Some(url) = &self.redis {
            let url = given(url, "--redis")?;
            at(self.trusting(url, &set)?, "is what --redis says right?")
        } else if let Some(dir) = &self.data_dir {
            self.of_standalone(dir)?
        } else if let Some(url) = set(VARIABLE) {
            let main = self.trusting(given(&url, VARIABLE)?, &set)?;
            match set(CONFIG_VARIABLE) {
                Some(file) => {
                    at(self.of_bus(main, &Settings::read(Path::new(&file))?)?, "is what POSTHORN_REDIS_URL and POSTHORN_CONFIG say right?")
                }
                None => at(main, "is what POSTHORN_REDIS_URL says right?"),
            }
        } else {
            match set(data_dir::VARIABLE) {
                Some(dir) => self.of_standalone(Path::new(&dir))?,
                None => self.of_standalone(&default_dir()?)?,
            }
        };
        if self.redis_ca.is_some() && !place.url.is_tls() {
            bail!(BadServer::UnusedAuthorities);
        }
        Ok(place)
    }

    fn trusting(&self, url: RedisUrl, set: &impl Fn(&str) -> Option<String>) -> anyhow::Result<RedisUrl> {
        let authorities = self.redis_ca.clone().or_else(|| set(CA_VARIABLE).map(PathBuf::from));
        url.trusting(authorities.as_deref()).context("--redis-ca")
    }

    /// The Redis of the bus, where the settings give it one. A bus that is not configured is looked for where most are.
    fn of_bus(&self, main: RedisUrl, settings: &Settings) -> anyhow::Result<RedisUrl> {
        match settings.buses.contains_key(&self.bus) {
            true => Ok(Servers::new(&main, settings)?.of(&self.bus).url.clone()),
            false => Ok(main),
        }
    }

    fn of_standalone(&self, dir: &Path) -> anyhow::Result<Place> {
        let found = instance(dir)?;
        let main: RedisUrl = found.redis.parse().with_context(|| format!("the standalone of {} left a wrong address", dir.display()))?;
        let main = main.trusting(self.redis_ca.as_deref().or(found.redis_ca.as_deref())).context("--redis-ca")?;
        let url = self.of_bus(main, &standalone::settings_of(&found.folder)?)?;
        let told = format!("the standalone of {} (process {}) left this address: does it still run?", dir.display(), found.pid);
        Ok(Place { url, folder: Some(found.folder), told })
    }
}

fn at(url: RedisUrl, told: &str) -> Place {
    Place { url, folder: None, told: told.to_owned() }
}

fn given(url: &str, by: &str) -> anyhow::Result<RedisUrl> {
    // the URL itself may hold a password
    url.parse().with_context(|| format!("{by} is wrong"))
}

fn instance(dir: &Path) -> anyhow::Result<Instance> {
    match instance::read(dir) {
        Ok(found) => Ok(found),
        Err(instance::Error::NotRunning(_)) => bail!(
            "cannot tell where Redis is: no standalone runs on {}. Start one (posthorn standalone DIR), or name its data directory (--data-dir DIR or \
             {}), or say where Redis is (--redis URL or {VARIABLE})",
            dir.display(),
            data_dir::VARIABLE
        ),
        Err(error) => Err(error.into()),
    }
}

impl Bus {
    /// The present connection, without waiting.
    ///
    /// # Errors
    /// Where there is none.
    pub fn current(&self) -> Result<Link, Error> {
        self.supervisor.current()
    }

    /// A connection, waited for within bounds.
    ///
    /// # Errors
    /// Where there is none, with what to look at.
    pub async fn link(&self) -> anyhow::Result<Link> {
        match tokio::time::timeout(CONNECT, self.supervisor.link()).await {
            Ok(link) => Ok(link),
            Err(_) => {
                let why = match self.supervisor.current() {
                    Ok(link) => return Ok(link),
                    Err(Error::Unavailable(why)) => why,
                    Err(other) => other.to_string(),
                };
                // said once is enough
                let why = why.trim_start_matches("no connection to redis: ");
                bail!("no connection to Redis at {} ({why}); {}", self.url, self.told)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standalone::data_dir::DataDir;

    fn connection(redis: Option<&str>, data_dir: Option<&Path>) -> Connection {
        Connection { redis: redis.map(String::from), redis_ca: None, data_dir: data_dir.map(PathBuf::from), bus: DEFAULT_BUS.into() }
    }

    /// A data directory on which a standalone says that it runs.
    fn standalone(redis: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let listen = String::from("127.0.0.1:1");
        let instance =
            Instance { pid: 1, redis: redis.into(), redis_ca: None, listen: listen.clone(), admin_listen: listen, folder: "/f".into() };
        instance::write(&data_dir, &instance).unwrap();
        dir
    }

    fn found(connection: &Connection, env: &[(&str, &str)], default: &Path) -> String {
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        match connection.find(env, || Ok(default.to_owned())) {
            Ok(place) => place.url.to_string(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_default() {
        let (flag, env, default) = (standalone("redis://flag"), standalone("redis://env"), standalone("redis://default"));
        let both = [(VARIABLE, "redis://url"), (data_dir::VARIABLE, env.path().to_str().unwrap())];
        let cases = [
            (connection(Some("redis://given"), Some(flag.path())), &both[..], "redis://given"),
            (connection(None, Some(flag.path())), &both[..], "redis://flag"),
            (connection(None, None), &both[..], "redis://url"),
            (connection(None, None), &both[1..], "redis://env"),
            (connection(None, None), &[(VARIABLE, ""), (data_dir::VARIABLE, "")][..], "redis://default"),
        ];
        for (connection, env, expected) in cases {
            assert_eq!(found(&connection, env, default.path()), expected);
        }
    }

    #[test]
    fn a_bus_with_a_redis_of_its_own_is_found_by_the_environment_of_a_role() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("posthorn.yaml");
        std::fs::write(&file, "buses: {orders: {redis: {url: 'redis://orders'}}}").unwrap();
        let env = [(VARIABLE, "redis://main"), (CONFIG_VARIABLE, file.to_str().unwrap())];
        for (bus, expected) in [("default", "redis://main"), ("orders", "redis://orders"), ("unknown", "redis://main")] {
            assert_eq!(found(&connection(None, None).on(Some(bus.to_owned())), &env, dir.path()), expected);
        }
        assert_eq!(found(&connection(Some("redis://given"), None).on(Some("orders".to_owned())), &env, dir.path()), "redis://given");
    }

    #[test]
    fn authorities_are_for_tls_and_a_flag_goes_before_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let authority = rcgen::generate_simple_self_signed(vec!["redis".to_owned()]).unwrap();
        let files = ["flag.pem", "env.pem"].map(|name| dir.path().join(name));
        for file in &files {
            std::fs::write(file, authority.cert.pem()).unwrap();
        }
        let [flag, env] = files.each_ref().map(|file| file.to_str().unwrap());
        let trusted = |redis: &str, flag: Option<&str>| {
            let connection = Connection { redis_ca: flag.map(PathBuf::from), ..connection(Some(redis), None) };
            let place = connection.find(|name| (name == CA_VARIABLE).then(|| env.to_owned()), || Ok(dir.path().to_owned()));
            place.map(|place| place.url.authorities().map(Path::to_owned)).map_err(|error| error.to_string())
        };
        assert_eq!(trusted("rediss://r", Some(flag)), Ok(Some(flag.into())));
        assert_eq!(trusted("rediss://r", None), Ok(Some(env.into())));
        assert_eq!(trusted("redis://r", Some(flag)), Err(BadServer::UnusedAuthorities.to_string()));
        assert!(trusted("redis://r", None).is_ok(), "a bus beside one with TLS");
    }

    #[test]
    fn where_nothing_runs_the_error_names_every_way() {
        let empty = tempfile::tempdir().unwrap();
        let error = found(&connection(None, None), &[], empty.path());
        for way in ["posthorn standalone", "--redis", VARIABLE, "--data-dir", data_dir::VARIABLE, empty.path().to_str().unwrap()] {
            assert!(error.contains(way), "{way}: {error}");
        }
    }

    #[test]
    fn a_wrong_url_is_not_repeated() {
        let error = found(&connection(Some("redis//:canary@host"), None), &[], Path::new("/"));
        assert!(error.contains("--redis") && error.contains("redis://host:6379") && !error.contains("canary"), "{error}");
    }
}
