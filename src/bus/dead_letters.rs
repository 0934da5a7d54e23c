//! Dead letters.

use super::connection::{Error, Link};
use super::entry::{BadEntry, Entry};
use super::keys;
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

/// Reads dead letters above `after`, oldest first, at most `count`. XRANGE.
pub async fn list(link: &Link, bus: &str, uid: &str, after: Sequence, count: usize) -> Result<Vec<DeadLetter>, Error> {
    let mut command = redis::cmd("XRANGE");
    command.arg(keys::dead_letters(bus, uid)).arg(after.next().to_string()).arg("+").arg("COUNT").arg(count);
    match link.send(&command).await? {
        Value::Array(entries) => entries.into_iter().map(|value| Entry::from_value(value).map(dead_letter)).collect(),
        other => Err(Error::Protocol(format!("XRANGE answered {other:?}"))),
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
