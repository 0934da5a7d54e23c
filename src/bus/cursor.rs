//! What the router does to a bus: the scripts `load scan route fill fill_drop detach trim expire oldest`.

use super::connection::{Error, Link};
use super::entry::{ENTRY_VERSION, Entry};
use super::keys;
use super::routing::read_route;
use super::scripts::{Answer, Call, Script};
use crate::event::Sequence;
use crate::plan::{BacklogLimit, OnOverflow, Route};
use redis::Value;
use std::time::Duration;

/// What `load` tells: the cursor, and the destinations that were asked for.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Everything at or below this is routed.
    pub position: Sequence,
    /// The control plane's generation.
    pub generation: u64,
    /// Accepted events at or below this are no longer kept.
    pub trimmed: Sequence,
    /// The destinations.
    pub destinations: Vec<(String, Option<Target>)>,
}

/// One destination as the router sees it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its route; `None` if it cannot be read.
    pub route: Option<Route>,
    /// It wants events above this.
    pub start: Sequence,
    /// Its own position, where it is behind the cursor.
    pub fill: Option<Sequence>,
}

/// What came of a change that only the router may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed<T> {
    /// It was made.
    Done(T),
    /// Another router has the lease.
    Fenced,
    /// The cursor, the routes or the log are not as the caller thinks.
    Stale {
        /// Where the cursor is.
        position: Sequence,
    },
}

/// What `route` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The generation after it.
    pub generation: u64,
    /// Destinations that reached their quota, with the position from which they are filled from the log.
    pub detached: Vec<(String, Sequence)>,
    /// Events that were dropped by the limit of a destination's spec.
    pub dropped: Vec<(String, u64)>,
}

/// What `fill` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Where the destination is now; `None` once it is live.
    pub position: Option<Sequence>,
    /// The generation after it.
    pub generation: u64,
}

/// One call of `route`.
pub struct RouteCall<'a> {
    /// The router's token.
    pub token: &'a str,
    /// Where the cursor must be.
    pub expected: Sequence,
    /// Where it goes.
    pub new: Sequence,
    /// The generation of the routes that decided.
    pub generation: u64,
    /// The last call for these entries: the cursor moves.
    pub last: bool,
    /// Entries that no destination wanted.
    pub unmatched: u64,
    /// The entries that somebody wants, oldest first.
    pub entries: &'a [&'a Entry],
    /// uid, what it may hold, positions in `entries`, rising.
    pub queues: &'a [(&'a str, Room, Vec<usize>)],
    /// Append even if Redis is full.
    pub beyond_memory: bool,
}

/// How much a queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Most bytes, by the bus; what is beyond waits in the log.
    pub quota: u64,
    /// The limit of the destination's spec; what is beyond is dropped.
    pub limit: Option<BacklogLimit>,
}

impl Room {
    /// The limit as the scripts read it.
    fn limit_text(&self) -> String {
        let Some(BacklogLimit { max_events, max_bytes, on_overflow }) = self.limit else { return String::new() };
        let policy = match on_overflow {
            OnOverflow::DropNewest => "DropNewest",
            OnOverflow::DropOldest => "DropOldest",
        };
        let most = |limit: Option<u64>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        format!("{policy} {} {}", most(max_events), most(max_bytes))
    }
}

/// Reads the cursor and the destinations changed since a generation (`None`: all). Script `load`.
pub async fn load(link: &Link, bus: &str, since: Option<u64>) -> Result<Loaded, Error> {
    let since = since.map(|generation| generation.to_string()).unwrap_or_default();
    let mut answer = link.script(Script::Load, bus).arg(since).run().await?;
    let mut loaded = Loaded { position: answer.parse()?, generation: answer.parse()?, trimmed: answer.parse()?, destinations: Vec::new() };
    while let Some(uid) = answer.maybe_text()? {
        let (route, start, fill) = (answer.text()?, answer.parse()?, answer.text()?);
        let target = (!route.is_empty()).then(|| Target { route: read_route(&uid, &route), start, fill: fill.parse().ok() });
        loaded.destinations.push((uid, target));
    }
    Ok(loaded)
}

/// Reads accepted events above `after`, at most so many and about so many bytes. Script `scan`.
pub async fn scan(link: &Link, bus: &str, after: Sequence, max: usize, bytes: usize) -> Result<Vec<Entry>, Error> {
    let mut answer = link.script(Script::Scan, bus).arg(after.to_string()).arg(max).arg(bytes).run().await?;
    let mut entries = Vec::new();
    while let Some(value) = answer.value() {
        entries.push(Entry::from_value(value)?);
    }
    Ok(entries)
}

/// Waits on a connection of its own until an event above `after` is there, at most so long; answers up to 16. XREAD BLOCK.
pub async fn wait(link: &Link, bus: &str, after: Sequence, block: Duration) -> Result<Vec<Entry>, Error> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(16).arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
    command.arg("STREAMS").arg(keys::log(bus)).arg(after.to_string());
    let mut entries = Vec::new();
    let streams = match link.send(&command).await? {
        Value::Map(streams) => streams,
        Value::Nil => Vec::new(),
        other => return Err(Error::Protocol(format!("XREAD answered {other:?}"))),
    };
    for (_, found) in streams {
        for value in redis::from_redis_value::<Vec<Value>>(found).map_err(|error| Error::Protocol(error.to_string()))? {
            entries.push(Entry::from_value(value)?);
        }
    }
    Ok(entries)
}

/// Appends a batch to the queues that want it and moves the cursor. Script `route`; a full Redis refuses it only where it appends something.
pub async fn route(link: &Link, bus: &str, batch: &RouteCall<'_>) -> Result<Routed<Batch>, Error> {
    let script = if batch.beyond_memory || batch.queues.is_empty() { Script::RouteFull } else { Script::Route };
    let mut call = link.script(script, bus).arg(batch.token).arg(batch.expected.to_string()).arg(batch.new.to_string());
    call = call.arg(batch.generation).arg(u8::from(batch.last)).arg(batch.unmatched).arg(batch.entries.len());
    for entry in batch.entries {
        push_entry(&mut call, entry);
    }
    for (uid, room, indices) in batch.queues {
        call.push(uid);
        call.push(room.quota);
        call.push(room.limit_text());
        call.push(indices.len());
        for index in indices {
            call.push(index + 1);
        }
    }
    routed(call.run().await?, |answer| {
        let generation = answer.parse()?;
        let mut done = Batch { generation, detached: Vec::new(), dropped: Vec::new() };
        while let Some(uid) = answer.maybe_text()? {
            let (position, dropped) = (answer.text()?, answer.parse()?);
            if dropped > 0 {
                done.dropped.push((uid.clone(), dropped));
            }
            if let Ok(position) = position.parse() {
                done.detached.push((uid, position));
            }
        }
        Ok(done)
    })
}

fn push_entry(call: &mut Call<'_>, entry: &Entry) {
    call.push(entry.sequence.to_string());
    call.push(entry.flat.len());
    for value in &entry.flat {
        call.push(value.as_ref());
    }
}

fn routed<T>(mut answer: Answer, done: impl FnOnce(&mut Answer) -> Result<T, Error>) -> Result<Routed<T>, Error> {
    match answer.text()?.as_str() {
        "OK" => Ok(Routed::Done(done(&mut answer)?)),
        "FENCED" => Ok(Routed::Fenced),
        "STALE" => Ok(Routed::Stale { position: answer.parse()? }),
        other => Err(answer.unexpected(other)),
    }
}

/// One step of a destination that is behind the cursor.
pub struct FillCall<'a> {
    /// The router's token.
    pub token: &'a str,
    /// The destination.
    pub uid: &'a str,
    /// Where it must be.
    pub expected: Sequence,
    /// Where it goes, if all fits.
    pub new: Sequence,
    /// The generation of the routes that decided.
    pub generation: u64,
    /// The entries that it wants, oldest first.
    pub entries: &'a [&'a Entry],
}

/// Appends entries to the queue of a destination that is behind, as far as there is room; nothing is dropped. Script `fill`.
pub async fn fill(link: &Link, bus: &str, step: &FillCall<'_>, room: Room) -> Result<Routed<Filled>, Error> {
    fill_by(Script::Fill, link, bus, step, room).await
}

/// The same even if Redis is full.
pub async fn fill_beyond_memory(link: &Link, bus: &str, step: &FillCall<'_>, room: Room) -> Result<Routed<Filled>, Error> {
    fill_by(Script::FillFull, link, bus, step, room).await
}

async fn fill_by(script: Script, link: &Link, bus: &str, step: &FillCall<'_>, room: Room) -> Result<Routed<Filled>, Error> {
    let mut call = begin_fill(link, bus, script, step).arg(room.quota).arg(room.limit_text());
    for entry in step.entries {
        push_entry(&mut call, entry);
    }
    finish_fill(call).await
}

/// The same for entries that the bus no longer keeps: each is counted as dropped. Script `fill_drop`.
pub async fn fill_drop(link: &Link, bus: &str, step: &FillCall<'_>) -> Result<Routed<Filled>, Error> {
    let mut call = begin_fill(link, bus, Script::FillDrop, step);
    for entry in step.entries {
        // what is dropped need not be sent: only its ID is used up
        push_entry(&mut call, &Entry { sequence: entry.sequence, flat: vec!["v".into(), ENTRY_VERSION.into()] });
    }
    finish_fill(call).await
}

fn begin_fill<'a>(link: &'a Link, bus: &str, script: Script, step: &FillCall<'_>) -> Call<'a> {
    let call = link.script(script, bus).arg(step.token).arg(step.uid).arg(step.expected.to_string());
    call.arg(step.new.to_string()).arg(step.generation)
}

async fn finish_fill(call: Call<'_>) -> Result<Routed<Filled>, Error> {
    routed(call.run().await?, |answer| {
        let position = answer.text()?;
        Ok(Filled { position: position.parse().ok(), generation: answer.parse()? })
    })
}

/// Detaches a destination: from the cursor on its events wait in the log. Script `detach`.
pub async fn detach(link: &Link, bus: &str, token: &str, uid: &str, generation: u64) -> Result<Routed<Filled>, Error> {
    let answer = link.script(Script::Detach, bus).arg(token).arg(uid).arg(generation).run().await?;
    routed(answer, |answer| Ok(Filled { position: Some(answer.parse()?), generation: answer.parse()? }))
}

/// Forgets accepted events at or below a bound, never past the cursor or a fill; answers the bound that held and how many were removed,
/// about 10,000 at most. Script `trim`.
pub async fn trim(link: &Link, bus: &str, token: &str, bound: Sequence, generation: u64) -> Result<Routed<(Sequence, u64)>, Error> {
    let answer = link.script(Script::Trim, bus).arg(token).arg(bound.to_string()).arg(generation).run().await?;
    routed(answer, |answer| Ok((answer.parse()?, answer.parse()?)))
}

/// A queue that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The destination.
    pub uid: String,
    /// Bytes in it.
    pub bytes: u64,
    /// Events in it.
    pub events: u64,
    /// Events that were ever delivered from it or given up.
    pub done: u64,
}

/// The queues that are not empty, of these destinations (none named: of all). Script `sizes`.
pub async fn sizes(link: &Link, bus: &str, uids: &[&str]) -> Result<Vec<Backlog>, Error> {
    let mut answer = link.script(Script::Sizes, bus).arg(uids).run().await?;
    let mut sizes = Vec::new();
    while let Some(uid) = answer.maybe_text()? {
        sizes.push(Backlog { uid, bytes: answer.parse()?, events: answer.parse()?, done: answer.parse()? });
    }
    Ok(sizes)
}

/// The ID up to which the oldest accepted events above `after` add up to so many bytes; `None` if there are none. Script `oldest`.
pub async fn oldest(link: &Link, bus: &str, after: Sequence, bytes: u64) -> Result<Option<Sequence>, Error> {
    let value = link.script(Script::Oldest, bus).arg(after.to_string()).arg(bytes).value().await?;
    Ok(super::scripts::text(&value).and_then(|id| id.parse().ok()))
}

/// Bytes of memory that the log takes (MEMORY USAGE).
pub async fn log_bytes(link: &Link, bus: &str) -> Result<u64, Error> {
    let usage: Option<u64> = link.query(redis::cmd("MEMORY").arg("USAGE").arg(keys::log(bus))).await?;
    Ok(usage.unwrap_or(0))
}

/// Removes dead letters older than `age`; answers how many. Script `expire`.
pub async fn expire(link: &Link, bus: &str, token: &str, uid: &str, age: Duration) -> Result<Routed<u64>, Error> {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let answer = link.script(Script::Expire, bus).arg(token).arg(uid).arg(age).run().await?;
    routed(answer, Answer::parse)
}

/// Clock of Redis, milliseconds since the epoch (TIME).
pub async fn now(link: &Link) -> Result<u64, Error> {
    let (seconds, micros): (u64, u64) = link.query(&redis::cmd("TIME")).await?;
    Ok(seconds * 1000 + micros / 1000)
}
