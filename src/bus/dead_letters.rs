//! Dead letters: read, and removed for good.

use super::connection::{Error, Link};
use super::entry::{BadEntry, Entry};
use super::keys;
use super::scripts::Script;
use crate::event::{Event, Sequence};
use redis::Value;

/// An event that was given up, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its own ID among the dead letters.
    pub id: Sequence,
    /// Its place in the queue that it came from.
    pub sequence: Sequence,
    /// The event, if it can be read.
    pub event: Result<Event, BadEntry>,
    /// Attempts made.
    pub attempts: u32,
    /// Class of the last failure, or why it was given up.
    pub class: String,
    /// HTTP status of the last answer.
    pub code: Option<u16>,
    /// Last failure for a person.
    pub message: String,
    /// First attempt, milliseconds since the epoch.
    pub first: Option<u64>,
    /// When it was given up, milliseconds since the epoch.
    pub at: u64,
}

/// What is chosen by, of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Its own ID among the dead letters.
    pub id: Sequence,
    /// Its place in the queue that it came from.
    pub sequence: Sequence,
    /// CloudEvents `id`; empty if the event cannot be read.
    pub event_id: String,
    /// Class of the last failure, or why it was given up.
    pub class: String,
    /// When it was given up, milliseconds since the epoch.
    pub at: u64,
}

/// Reads dead letters above `after`, oldest first, at most `count`. XRANGE.
pub async fn list(link: &Link, bus: &str, uid: &str, after: Sequence, count: usize) -> Result<Vec<DeadLetter>, Error> {
    let mut command = redis::cmd("XRANGE");
    command.arg(keys::dead_letters(bus, uid)).arg(after.next().to_string()).arg("+").arg("COUNT").arg(count);
    match link.send(&command).await? {
        Value::Array(entries) => entries.into_iter().map(|value| Entry::from_value(value).map(dead_letter)).collect(),
        other => Err(Error::Protocol(format!("XRANGE answered {other:?}"))),
    }
}

/// Reads dead letters above `after`, oldest first, until about so many bytes. Script `letters`.
pub async fn page(link: &Link, bus: &str, uid: &str, after: Sequence, bytes: usize) -> Result<Vec<DeadLetter>, Error> {
    Ok(letters(link, bus, uid, after, (usize::MAX, bytes), false).await?.into_iter().map(dead_letter).collect())
}

/// Reads what dead letters above `after` are chosen by, oldest first, at most `count`. Script `letters`.
pub async fn briefs(link: &Link, bus: &str, uid: &str, after: Sequence, count: usize) -> Result<Vec<Brief>, Error> {
    let brief = |entry: Entry| {
        let event_id = entry.attributes().id().to_owned();
        let DeadLetter { id, sequence, class, at, .. } = dead_letter(entry);
        Brief { id, sequence, event_id, class, at }
    };
    Ok(letters(link, bus, uid, after, (count, PAGE_BYTES), true).await?.into_iter().map(brief).collect())
}

/// Bytes of attributes read at once.
const PAGE_BYTES: usize = 1 << 20;

async fn letters(link: &Link, bus: &str, uid: &str, after: Sequence, most: (usize, usize), bare: bool) -> Result<Vec<Entry>, Error> {
    let call = link.script(Script::Letters, bus).arg(uid).arg(after.to_string());
    let mut answer = call.arg(most.0.min(1 << 20)).arg(most.1).arg(u8::from(bare)).run().await?;
    let mut entries = Vec::new();
    while let Some(value) = answer.value() {
        entries.push(Entry::from_value(value)?);
    }
    Ok(entries)
}

/// Removes dead letters by their own IDs; answers how many were there, `None` if there is no such destination. Script `purge`.
pub async fn purge(link: &Link, bus: &str, uid: &str, ids: &[Sequence]) -> Result<Option<u64>, Error> {
    let mut call = link.script(Script::Purge, bus).arg(uid);
    ids.iter().for_each(|id| call.push(id.to_string()));
    let mut answer = call.run().await?;
    match answer.text()?.as_str() {
        "OK" => Ok(Some(answer.parse()?)),
        "GONE" => Ok(None),
        other => Err(answer.unexpected(other)),
    }
}

/// Reads one dead letter, by its own ID or by its place in the queue that it came from.
pub async fn find(link: &Link, bus: &str, uid: &str, id: Sequence) -> Result<Option<DeadLetter>, Error> {
    let mut after = Sequence::ZERO;
    loop {
        let page = list(link, bus, uid, after, 100).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = last.id;
        if let Some(found) = page.into_iter().find(|letter| letter.id == id || letter.sequence == id) {
            return Ok(Some(found));
        }
    }
}

fn dead_letter(entry: Entry) -> DeadLetter {
    let number = |name: &str| -> Option<u64> { entry.text(name).and_then(|text| text.parse().ok()) };
    let word = |name: &str| entry.text(name).unwrap_or_default().to_owned();
    DeadLetter {
        id: entry.sequence,
        sequence: entry.text("orig").and_then(|text| text.parse().ok()).unwrap_or_default(),
        event: entry.event(),
        attempts: number("n").unwrap_or(0) as u32,
        class: word("class"),
        code: number("code").map(|code| code as u16),
        message: word("msg"),
        first: number("first"),
        at: number("at").unwrap_or(0),
    }
}
