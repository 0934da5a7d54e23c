//! Whether Redis keeps what it accepts, and how full it is.

use super::connection::{Error, Link, Supervisor, info_field};
use crate::settings::Fsync;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How full Redis is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `used_memory` that counts against the limit, bytes.
    pub used: u64,
    /// `maxmemory`; 75 % of the machine's memory where the server sets none. Bytes.
    pub max: u64,
    /// The server sets no `maxmemory`.
    pub assumed: bool,
    /// Keys that expire by themselves: above all those by which repeated events are recognised.
    pub expiring: u64,
}

/// About how many bytes it takes to recognise the repeat of one event.
pub(super) const SEEN_BYTES: u64 = 200;
/// What recognising repeats may always take, percent of the most that Redis may use.
const SEEN_SHARE: u8 = 10;
/// Memory is ample up to the first share and short from the second, percent; in between the dedupe window shrinks.
const AMPLE: u8 = 50;
const SHORT: u8 = 75;
/// It never shrinks below this: whoever was told that the outcome is unknown asks again sooner.
const LEAST_WINDOW: Duration = Duration::from_secs(30);

impl Memory {
    /// So many percent of the most.
    pub fn share(&self, percent: u8) -> u64 {
        self.max / 100 * u64::from(percent)
    }

    /// Whether more than so many percent are used.
    pub fn is_above(&self, percent: u8) -> bool {
        self.used > self.share(percent)
    }

    /// How long repeats of an event that is stored now are recognised: the dedupe window of its bus, but less when memory runs short and
    /// much of it serves this purpose. Otherwise nothing but time would make room again.
    pub fn dedupe_window(&self, window: Duration) -> Duration {
        if self.used <= self.share(AMPLE) || self.expiring.saturating_mul(SEEN_BYTES) <= self.share(SEEN_SHARE) {
            return window;
        }
        let (left, all) = (self.share(SHORT).saturating_sub(self.used), self.share(SHORT - AMPLE).max(1));
        window.mul_f64((left as f64 / all as f64).min(1.0)).max(window.min(LEAST_WINDOW))
    }
}

/// Reads INFO memory and keyspace.
pub async fn memory(link: &Link) -> Result<Memory, Error> {
    let info: String = link.query(redis::cmd("INFO").arg("memory").arg("keyspace")).await?;
    let number = |name| info_field(&info, name).and_then(|text| text.parse::<u64>().ok());
    let used = number("used_memory").ok_or_else(|| Error::Protocol("INFO memory without used_memory".to_owned()))?;
    // buffers of the append-only file and of replicas, which do not count against the limit
    let used = used.saturating_sub(number("mem_not_counted_for_evict").unwrap_or(0));
    // db0:keys=5,expires=2,avg_ttl=0
    let expires = |line: &str| line.strip_prefix("db")?.split(',').find_map(|part| part.strip_prefix("expires=")?.parse::<u64>().ok());
    let expiring = info.lines().filter_map(expires).sum();
    match number("maxmemory") {
        Some(max) if max > 0 => Ok(Memory { used, max, assumed: false, expiring }),
        _ => {
            let machine =
                number("total_system_memory").ok_or_else(|| Error::Protocol("INFO memory without total_system_memory".to_owned()))?;
            Ok(Memory { used, max: machine / 4 * 3, assumed: true, expiring })
        }
    }
}

/// How often it is read where events are accepted.
const LOOK: Duration = Duration::from_millis(200);

/// A figure, and how many bytes had been sent when it was read.
pub(super) type Reading = Option<(Memory, u64)>;

/// Reads it again and again for as long as somebody looks; `sent` counts the bytes that we send meanwhile.
pub(super) fn watch_memory(links: &Supervisor, sent: Arc<AtomicU64>) -> watch::Receiver<Reading> {
    let (sender, receiver) = watch::channel(None);
    let links = links.clone();
    tokio::spawn(async move {
        while !sender.is_closed() {
            let before = sent.load(Ordering::Relaxed);
            let found = match links.current() {
                Ok(link) => memory(&link).await.ok(),
                Err(_) => None,
            };
            // while Redis is away the last figure stands: it holds what it held
            if let Some(memory) = found {
                sender.send_replace(Some((memory, before)));
            }
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    });
    receiver
}

/// What is wrong with a Redis for this work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// Older than Redis 7.0 or Valkey 7.2.
    TooOld(String),
    /// The append-only file is off: a restart loses everything.
    NoAppendOnlyFile,
    /// A policy other than `noeviction`: whole queues may be evicted.
    Evicts(String),
    /// The admin declared `fsync: Always`, the server runs another policy.
    Fsync {
        /// What the server runs.
        found: String,
    },
    /// The server does not tell its fsync policy (CONFIG is refused); what the admin declared is believed.
    Unverified,
}

impl Concern {
    /// Whether events that were accepted may be lost; the process refuses to run unless told otherwise.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Concern::Unverified)
    }

    /// One word in CamelCase, the reason of the condition StorageSafe.
    pub fn reason(&self) -> &'static str {
        match self {
            Concern::TooOld(_) => "VersionTooOld",
            Concern::NoAppendOnlyFile => "NoAppendOnlyFile",
            Concern::Evicts(_) => "EvictionPolicy",
            Concern::Fsync { .. } => "FsyncPolicy",
            Concern::Unverified => "Unverified",
        }
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Concern::TooOld(version) => write!(f, "redis {version} is too old: Redis 7.0, Valkey 7.2 or newer is needed"),
            Concern::NoAppendOnlyFile => f.write_str("redis keeps no append-only file, a restart loses every event: set appendonly yes"),
            Concern::Evicts(policy) => {
                write!(f, "redis evicts keys when it is full (maxmemory-policy {policy}), which deletes whole queues: set noeviction")
            }
            Concern::Fsync { found } => write!(
                f,
                "redis runs appendfsync {found}, but the bus is configured with durability.fsync Always: set appendfsync always, or \
                 declare EverySecond and accept that a crash may lose the last second"
            ),
            Concern::Unverified => {
                f.write_str("redis does not tell its appendfsync policy (CONFIG GET is refused); the configured one is believed")
            }
        }
    }
}

/// Checks version, persistence, eviction policy and, where the server tells it, the fsync policy.
///
/// # Errors
/// If Redis does not answer.
pub async fn check(link: &Link, declared: Fsync) -> Result<Vec<Concern>, Error> {
    let info: String = link.query(redis::cmd("INFO").arg("server").arg("memory").arg("persistence")).await?;
    let field = |name| info_field(&info, name).unwrap_or_default();
    let mut concerns = Vec::new();
    if let Some(version) = too_old(field("redis_version"), field("valkey_version")) {
        concerns.push(Concern::TooOld(version));
    }
    if field("aof_enabled") != "1" {
        concerns.push(Concern::NoAppendOnlyFile);
    }
    let policy = field("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        concerns.push(Concern::Evicts(policy.to_owned()));
    }
    match link.query::<HashMap<String, String>>(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await {
        Ok(settings) => match (declared, settings.get("appendfsync").map(String::as_str)) {
            (Fsync::Always, Some("always")) | (Fsync::EverySecond, Some("always" | "everysec")) => {}
            (_, Some(found)) => concerns.push(Concern::Fsync { found: found.to_owned() }),
            (_, None) => concerns.push(Concern::Unverified),
        },
        Err(Error::Refused(_) | Error::Protocol(_)) => concerns.push(Concern::Unverified),
        Err(error) => return Err(error),
    }
    Ok(concerns)
}

/// Redis would lose events that were accepted.
#[derive(Debug, thiserror::Error)]
#[error("{0}; mend that, or run all the same with --unsafe-storage")]
pub struct Unsafe(pub(super) String);

/// Warns of the concerns that are borne.
///
/// # Errors
/// The fatal ones, unless `accept_unsafe`.
pub(super) fn judge(concerns: &[Concern], accept_unsafe: bool) -> Result<(), String> {
    let (fatal, bearable): (Vec<_>, Vec<_>) = concerns.iter().partition(|concern| concern.is_fatal() && !accept_unsafe);
    bearable.iter().for_each(|concern| tracing::warn!(reason = concern.reason(), "{concern}"));
    if fatal.is_empty() { Ok(()) } else { Err(fatal.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")) }
}

/// The version, if it is older than Redis 7.0 or Valkey 7.2.
pub(super) fn too_old(redis: &str, valkey: &str) -> Option<String> {
    let (version, least) = if valkey.is_empty() { (redis, (7, 0)) } else { (valkey, (7, 2)) };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (found < least).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dedupe_window_shrinks_when_memory_runs_short_and_it_is_what_takes_it() {
        let window = Duration::from_secs(600);
        let after = |used, expiring| Memory { used, max: 1_000_000, assumed: false, expiring }.dedupe_window(window).as_secs();
        assert_eq!(after(500_000, 2_000), 600, "there is room");
        assert_eq!(after(740_000, 500), 600, "something else takes it");
        assert_eq!(after(625_000, 2_000), 300);
        assert_eq!((after(750_000, 2_000), after(990_000, 5_000)), (30, 30));
        let short = Duration::from_secs(5);
        assert_eq!(Memory { used: 900_000, max: 1_000_000, assumed: false, expiring: 5_000 }.dedupe_window(short), short);
    }

    #[test]
    fn versions_before_redis_7_0_and_valkey_7_2_are_too_old() {
        for (redis, valkey, bad) in [
            ("7.0.0", "", false),
            ("6.2.14", "", true),
            ("8.2.1", "", false),
            ("7.2.4", "7.2.5", false),
            ("7.2.4", "7.0.1", true),
            ("7.2.4", "8.1.0", false),
        ] {
            assert_eq!(too_old(redis, valkey).is_some(), bad, "{redis} {valkey}");
        }
    }
}
