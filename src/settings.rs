//! What the cluster admin configures: buses and who may publish to them (`posthorn.yaml`). Pure.

mod units;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The bus that always exists.
pub const DEFAULT_BUS: &str = "default";

/// All buses, by name; `default` is always among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name → settings.
    pub buses: BTreeMap<String, BusSettings>,
}

/// What is wrong with a settings file, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    file: Option<PathBuf>,
    line: Option<u64>,
    field: String,
    detail: String,
}

impl Settings {
    /// Reads a settings file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// If the file cannot be read, or says something that is unknown, of a wrong type or out of bounds.
    pub fn read(file: &Path) -> Result<Settings, Error> {
        let base = file.parent().unwrap_or(Path::new(""));
        let text = std::fs::read_to_string(file).map_err(|error| Error::at(None, "", format!("cannot be read: {error}")));
        text.and_then(|text| Settings::parse(&text, base)).map_err(|error| Error { file: Some(file.to_owned()), ..error })
    }

    /// Reads the text of a settings file. Relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn parse(text: &str, base: &Path) -> Result<Settings, Error> {
        yaml::parse(text, base)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { buses: BTreeMap::from([(DEFAULT_BUS.to_owned(), BusSettings::default())]) }
    }
}

impl Default for BusSettings {
    fn default() -> BusSettings {
        BusSettings {
            retention_age: Duration::from_secs(24 * 3600),
            retention_bytes: Size::Percent(10),
            backlog_quota: Size::Percent(25),
            watermark: 85,
            when_full: WhenFull::Shed,
            dedupe_window: Duration::from_secs(600),
            max_event_bytes: 1 << 20,
            durability: Durability { fsync: Fsync::Always, replicas: 0 },
            allowed_namespaces: None,
            producers: Vec::new(),
            redis: None,
        }
    }
}

impl Size {
    /// The number of bytes, where `maxmemory` is `max` bytes.
    pub fn of(self, max: u64) -> u64 {
        match self {
            Size::Bytes(bytes) => bytes,
            Size::Percent(share) => max / 100 * u64::from(share) + max % 100 * u64::from(share) / 100,
        }
    }
}

impl Error {
    fn at(line: Option<u64>, field: &str, detail: impl Into<String>) -> Error {
        Error { file: None, line, field: field.to_owned(), detail: detail.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => write!(f, "settings")?,
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ", {}", self.field)?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl std::error::Error for Error {}

/// A number of bytes, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Percent of `maxmemory`, 1 to 100.
    Percent(u8),
}

/// One bus.
#[derive(Clone, Debug, PartialEq)]
pub struct BusSettings {
    /// How long accepted events are kept for destinations that start in the past. Default 24 h.
    pub retention_age: Duration,
    /// How many bytes of them. Default 10 % of `maxmemory`.
    pub retention_bytes: Size,
    /// Most bytes that one destination may hold. Default 25 % of `maxmemory`.
    pub backlog_quota: Size,
    /// Share of `maxmemory` above which space is made and ingest refuses, percent. Default 85.
    pub watermark: u8,
    /// What happens above the watermark.
    pub when_full: WhenFull,
    /// How long a repeated (source, id) is recognised. Default 10 min.
    pub dedupe_window: Duration,
    /// Largest event, bytes. Default 1 MiB.
    pub max_event_bytes: u64,
    /// What Redis must do before an event counts as accepted.
    pub durability: Durability,
    /// Namespaces whose destinations may read this bus; `None` for all.
    pub allowed_namespaces: Option<Vec<String>>,
    /// Who may publish; empty for everyone who reaches the port.
    pub producers: Vec<Producer>,
    /// A Redis of its own; `None` for that of the installation.
    pub redis: Option<OwnRedis>,
}

/// The Redis of one bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRedis {
    /// Where it is.
    pub address: RedisAddress,
    /// File with the authorities (PEM) that certify it; `None` for those of the installation.
    pub ca_file: Option<PathBuf>,
}

/// Where the Redis of a bus is.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisAddress {
    /// A URL, in clear.
    Url(String),
    /// A file with the URL, which may hold a password.
    File(PathBuf),
}

/// Without the URL, which may hold a password all the same.
impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisAddress::Url(_) => f.write_str("Url(…)"),
            RedisAddress::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What happens above the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The largest backlogs lose their newest events, counted; ingest goes on.
    Shed,
    /// Ingest refuses; nothing is shed.
    Refuse,
}

/// When an event counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// The fsync policy that the admin declares for Redis.
    pub fsync: Fsync,
    /// Replicas that must have confirmed. Default 0.
    pub replicas: u32,
}

/// Redis' `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// `always`.
    Always,
    /// `everysec`.
    EverySecond,
}

/// Someone who may publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// Shown in logs and metrics.
    pub name: String,
    /// File with a bearer token; one token a line, so that two are valid while one replaces the other.
    pub bearer_token_file: Option<PathBuf>,
    /// File with a Standard Webhooks secret (`whsec_…`), one a line, for signed requests.
    pub signing_secret_file: Option<PathBuf>,
    /// Prefixes that `source` must begin with one of; empty for any.
    pub source_prefixes: Vec<String>,
    /// Most events in a period; `None` for no limit.
    pub rate: Option<(u32, Duration)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_maxmemory() {
        assert_eq!(Size::Percent(25).of(1000), 250);
        assert_eq!(Size::Percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(Size::Bytes(7).of(1000), 7);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let said = Settings::read(Path::new("/nowhere/posthorn.yaml")).unwrap_err().to_string();
        assert!(said.starts_with("/nowhere/posthorn.yaml: cannot be read"), "{said}");
    }
}
