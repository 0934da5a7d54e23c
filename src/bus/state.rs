//! What is known of a destination at this moment: the script `status`.

use super::connection::{Error, Link};
use super::scripts::{Script, pairs};
use crate::event::{Attributes, Sequence};
use crate::plan::Route;
use serde::Deserialize;

/// All that Redis holds about one destination, read in one script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Events that wait (`XLEN` of the queue).
    pub backlog: u64,
    /// Dead letters kept (`XLEN`).
    pub dead_letters: u64,
    /// Events ever put into the queue.
    pub routed: u64,
    /// Events answered with 2xx.
    pub settled: u64,
    /// Events moved to the dead letters.
    pub buried: u64,
    /// Events dropped by a limit or by `onExhausted: Drop`.
    pub dropped: u64,
    /// Events of a queue that someone deleted from Redis.
    pub lost: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Attempts that repeated an earlier one.
    pub retried: u64,
    /// Why it is halted, and since when (milliseconds since the epoch).
    pub halted: Option<(String, u64)>,
    /// State that the worker reported, with its reason.
    pub state: Option<String>,
    /// Message that the worker reported with it.
    pub reason: Option<String>,
    /// When it reported this, milliseconds since the epoch.
    pub reported: Option<u64>,
    /// The plan that the worker runs.
    pub plan: Option<String>,
    /// The order in which the worker delivers.
    pub order: Option<String>,
    /// The last request of a person that the worker has answered.
    pub asked: Option<String>,
    /// Whether a worker holds the lease now.
    pub owned: bool,
    /// Last delivery, milliseconds since the epoch.
    pub last_ok: Option<u64>,
    /// Last match, milliseconds since the epoch.
    pub last_match: Option<u64>,
    /// When someone was found to have deleted its queue, milliseconds since the epoch.
    pub data_lost: Option<u64>,
    /// Since when the limit of its spec drops events, milliseconds since the epoch.
    pub overflow: Option<u64>,
    /// Where it should have begun: what lies between that and its start was no longer kept.
    pub gap: Option<Sequence>,
    /// Where it began to read.
    pub start: Option<Sequence>,
    /// Its position where it is behind the cursor.
    pub fill: Option<Sequence>,
    /// The event at the head of the queue.
    pub head: Option<Head>,
    /// Whether the destination is there that its dead letters are sent to as well.
    pub has_dead_letter_target: bool,
    /// Its route; `None` if there is none, or one that this version cannot read.
    pub route: Option<Route>,
    /// Clock of Redis when this was read, milliseconds since the epoch.
    pub now: u64,
}

/// The oldest event that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its place in the order.
    pub sequence: Sequence,
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `type`.
    pub event_type: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// First failed attempt, milliseconds since the epoch.
    pub first: Option<u64>,
    /// Next attempt, milliseconds since the epoch.
    pub next: Option<u64>,
    /// HTTP status of the last answer.
    pub code: Option<u16>,
    /// Class of the last failure.
    pub class: Option<String>,
    /// Last failure for a person.
    pub message: Option<String>,
}

/// Reads one destination. Script `status`.
pub async fn snapshot(link: &Link, bus: &str, uid: &str) -> Result<Snapshot, Error> {
    let mut answer = link.script(Script::Status, bus).arg(uid).run().await?;
    let (now, backlog, dead_letters) = (answer.parse()?, answer.parse()?, answer.parse()?);
    let st = pairs(&answer.list()?);
    let owned = answer.parse::<u8>()? == 1;
    let (fill, _position) = (answer.text()?.parse().ok(), answer.text()?);
    let (id, attributes, trial) = (answer.text()?, answer.lossy_text()?, answer.lossy_text()?);
    let route = answer.lossy_text()?;
    let has_dead_letter_target = answer.parse::<u8>()? == 1;
    let number = |name: &str| st.get(name).and_then(|text| text.parse::<u64>().ok());
    let word = |name: &str| st.get(name).cloned();
    Ok(Snapshot {
        backlog,
        dead_letters,
        routed: number("routed").unwrap_or(0),
        settled: number("settled").unwrap_or(0),
        buried: number("buried").unwrap_or(0),
        dropped: number("dropped").unwrap_or(0),
        lost: number("lost").unwrap_or(0),
        failed: number("failed").unwrap_or(0),
        retried: number("retried").unwrap_or(0),
        halted: st.get("halted").and_then(|text| {
            let (reason, at) = text.split_once(' ')?;
            Some((reason.to_owned(), at.parse().ok()?))
        }),
        state: word("state"),
        reason: word("reason"),
        reported: number("at"),
        plan: word("plan"),
        order: word("order"),
        asked: word("asked"),
        owned,
        last_ok: number("lastOK"),
        last_match: number("lastMatch"),
        data_lost: number("dataLost"),
        overflow: number("overflow"),
        gap: st.get("gap").and_then(|text| text.parse().ok()),
        start: st.get("start").and_then(|text| text.parse().ok()),
        fill,
        head: id.parse().ok().map(|sequence| head(sequence, &attributes, &trial)),
        has_dead_letter_target,
        route: serde_json::from_str(&route).ok(),
        now,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HeadTrial {
    n: f64,
    first: Option<f64>,
    next: Option<f64>,
    code: Option<f64>,
    class: Option<String>,
    msg: Option<String>,
}

fn head(sequence: Sequence, attributes: &str, trial: &str) -> Head {
    let attributes = Attributes::from_json(attributes.as_bytes()).unwrap_or_default();
    let trial: HeadTrial = serde_json::from_str(trial).unwrap_or_default();
    // Lua knows one kind of number; these are whole and not negative
    let whole = |number: f64| number as u64;
    Head {
        sequence,
        id: attributes.get("id").unwrap_or_default().to_owned(),
        event_type: attributes.get("type").unwrap_or_default().to_owned(),
        attempts: trial.n as u32,
        first: trial.first.map(whole),
        next: trial.next.filter(|next| *next > 0.0).map(whole),
        code: trial.code.map(|code| code as u16),
        class: trial.class,
        message: trial.msg,
    }
}
