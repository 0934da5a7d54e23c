//! How commands find Redis, and the bus in it.

use crate::bus::{Error, Link, RedisUrl, Servers, Supervisor};
use crate::settings::DEFAULT_BUS;
use crate::standalone::{self, data_dir, instance};
use anyhow::{Context as _, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable that names the Redis.
pub const VARIABLE: &str = "POSTHORN_REDIS_URL";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Where Redis is. Flags go before the environment, and a URL before a data directory.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Where Redis is")]
pub struct Connection {
    /// URL of Redis: redis://HOST:PORT, rediss://… (TLS) or unix:///PATH [env: POSTHORN_REDIS_URL]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
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
        if let Some(url) = &self.redis {
            return given(url, "--redis");
        }
        if let Some(dir) = &self.data_dir {
            return of_standalone(dir, &self.bus);
        }
        if let Some(url) = set(VARIABLE) {
            return given(&url, VARIABLE);
        }
        match set(data_dir::VARIABLE) {
            Some(dir) => of_standalone(Path::new(&dir), &self.bus),
            None => of_standalone(&default_dir()?, &self.bus),
        }
    }
}

fn given(url: &str, by: &str) -> anyhow::Result<Place> {
    // the URL itself may hold a password
    let url = url.parse().with_context(|| format!("{by} is wrong"))?;
    Ok(Place { url, folder: None, told: format!("is what {by} says right?") })
}

fn of_standalone(dir: &Path, bus: &str) -> anyhow::Result<Place> {
    let found = match instance::read(dir) {
        Ok(found) => found,
        Err(instance::Error::NotRunning(_)) => bail!(
            "cannot tell where Redis is: no standalone runs on {}. Start one (posthorn standalone DIR), or name its data directory (--data-dir DIR or \
             {}), or say where Redis is (--redis URL or {VARIABLE})",
            dir.display(),
            data_dir::VARIABLE
        ),
        Err(error) => return Err(error.into()),
    };
    let main = found.redis.parse().with_context(|| format!("the standalone of {} left a wrong address", dir.display()))?;
    let settings = standalone::settings_of(&found.folder)?;
    // a bus that is not configured is looked for where most are
    let url = if settings.buses.contains_key(bus) { Servers::new(&main, &settings)?.of(bus).url.clone() } else { main };
    let told = format!("the standalone of {} (process {}) left this address: does it still run?", dir.display(), found.pid);
    Ok(Place { url, folder: Some(found.folder), told })
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
    use crate::standalone::instance::Instance;

    fn connection(redis: Option<&str>, data_dir: Option<&Path>) -> Connection {
        Connection { redis: redis.map(String::from), data_dir: data_dir.map(PathBuf::from), bus: DEFAULT_BUS.into() }
    }

    /// A data directory on which a standalone says that it runs.
    fn standalone(redis: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let listen = String::from("127.0.0.1:1");
        let instance = Instance { pid: 1, redis: redis.into(), listen: listen.clone(), admin_listen: listen, folder: "/f".into() };
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
