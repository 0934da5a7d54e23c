//! A bus as a whole, and what does not belong into it: for whoever looks after it. Changes nothing.

use super::connection::{Error, Link, info_field};
use super::keys;
use super::scripts::Script;
use crate::event::Sequence;
use std::collections::{BTreeMap, BTreeSet};

/// A bus at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Clock of Redis, milliseconds since the epoch.
    pub now: u64,
    /// Everything at or below this is routed.
    pub position: Sequence,
    /// Accepted events at or below this are no longer kept.
    pub trimmed: Sequence,
    /// Events ever accepted.
    pub accepted: u64,
    /// Events that no destination wanted.
    pub unmatched: u64,
    /// Accepted events kept.
    pub kept: u64,
    /// The last ID given to an accepted event.
    pub last: Sequence,
    /// Whether a router holds the lease.
    pub is_routed: bool,
    /// The oldest event that is not routed yet.
    pub unrouted: Option<Sequence>,
    /// How many are not, [`MOST_UNROUTED`] at most.
    pub behind: u64,
}

/// More events than this are not counted.
pub const MOST_UNROUTED: u64 = 100;

/// Reads it. Script `overview`.
pub async fn overview(link: &Link, bus: &str) -> Result<Overview, Error> {
    let mut answer = link.script(Script::Overview, bus).run().await?;
    Ok(Overview {
        now: answer.parse()?,
        position: answer.parse()?,
        trimmed: answer.parse()?,
        accepted: answer.parse()?,
        unmatched: answer.parse()?,
        kept: answer.parse()?,
        last: answer.parse()?,
        is_routed: answer.parse::<i64>()? >= 0,
        unrouted: answer.text()?.parse().ok(),
        behind: answer.parse()?,
    })
}

/// What a queue should not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// The queue or its group is not there; the next worker makes it again.
    Missing,
    /// A consumer that is not ours, with so many events that it has not acknowledged.
    Consumer(String, u64),
}

/// uid and oddity of every queue that has one. Script `consumers`.
pub async fn oddities(link: &Link, bus: &str) -> Result<Vec<(String, Oddity)>, Error> {
    let mut answer = link.script(Script::Consumers, bus).run().await?;
    let mut found = Vec::new();
    while let Some(uid) = answer.maybe_text()? {
        let (name, pending) = (answer.lossy_text()?, answer.parse()?);
        found.push((uid, if name.is_empty() { Oddity::Missing } else { Oddity::Consumer(name, pending) }));
    }
    Ok(found)
}

/// What belongs to no destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Keys of destinations that are not there.
    pub keys: BTreeSet<String>,
    /// Names whose destination is not there.
    pub names: BTreeSet<String>,
    /// uids whose route no name leads to.
    pub unnamed: BTreeSet<String>,
    /// uids that are to be filled and are not there.
    pub fills: BTreeSet<String>,
}

/// Keys looked at in one call.
const SCAN: usize = 1000;

/// Finds it. SCAN over all keys.
pub async fn orphans(link: &Link, bus: &str) -> Result<Orphans, Error> {
    let prefix = keys::cursor(bus).strip_suffix("cursor").unwrap_or_default().to_owned();
    let mut of_destinations = BTreeSet::new();
    let mut cursor = String::from("0");
    loop {
        let mut scan = redis::cmd("SCAN");
        // `{` and `}` are no wildcards, and a bus has none in its name
        scan.arg(&cursor).arg("MATCH").arg(format!("{prefix}[qstod]*:*")).arg("COUNT").arg(SCAN);
        let (next, found): (String, Vec<String>) = link.query(&scan).await?;
        of_destinations.extend(found.into_iter().filter_map(|key| uid_of(&prefix, &key).map(|uid| (uid.to_owned(), key.clone()))));
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    // after the keys: what is made meanwhile is in both
    let routes: BTreeSet<String> = link.query(redis::cmd("HKEYS").arg(keys::routes(bus))).await?;
    let names: BTreeMap<String, String> = link.query(redis::cmd("HGETALL").arg(keys::names(bus))).await?;
    let fills: BTreeSet<String> = link.query(redis::cmd("HKEYS").arg(keys::fills(bus))).await?;
    let unnamed = routes.iter().filter(|uid| !names.values().any(|named| named == *uid)).cloned().collect();
    let is_gone = |uid: &String| !routes.contains(uid);
    Ok(Orphans {
        keys: of_destinations.into_iter().filter(|(uid, _)| is_gone(uid)).map(|(_, key)| key).collect(),
        names: names.into_iter().filter(|(_, uid)| is_gone(uid)).map(|(name, _)| name).collect(),
        unnamed,
        fills: fills.into_iter().filter(is_gone).collect(),
    })
}

/// The uid in a key of a destination.
fn uid_of<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    let (kind, uid) = key.strip_prefix(prefix)?.split_once(':')?;
    (matches!(kind, "q" | "st" | "try" | "dead") || (kind == "own" && uid != "router")).then_some(uid)
}

/// Name and version of the server, as it tells them.
pub async fn version(link: &Link) -> Result<String, Error> {
    let info: String = link.query(redis::cmd("INFO").arg("server")).await?;
    let valkey = info_field(&info, "valkey_version").map(|version| format!("Valkey {version}"));
    Ok(valkey.unwrap_or_else(|| format!("Redis {}", info_field(&info, "redis_version").unwrap_or("of unknown version"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_destinations_have_a_uid() {
        let prefix = "ph:{b}:";
        let of = |key: &str| uid_of(prefix, key).map(str::to_owned);
        for (key, uid) in [("q:u", "u"), ("st:u", "u"), ("try:u", "u"), ("dead:u-1", "u-1"), ("own:u", "u")] {
            assert_eq!(of(&format!("{prefix}{key}")).as_deref(), Some(uid), "{key}");
        }
        for key in ["ph:{b}:own:router", "ph:{b}:in", "ph:{b}:seen:x", "ph:{c}:q:u", "q:u"] {
            assert_eq!(of(key), None, "{key}");
        }
    }
}
