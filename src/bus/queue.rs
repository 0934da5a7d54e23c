//! What the owner of a queue does to it: the scripts `read fetch begin fail abort reset settle bury halt unhalt report`.

use super::connection::{Error, Link};
use super::entry::Entry;
use super::lease::{self, Renewed};
use super::scripts::{Answer, Call, Script, text};
use crate::event::Sequence;
use redis::Value;
use serde::Deserialize;
use std::time::Duration;

/// A worker's right to one queue: the destination, the token and the connection. Every change is refused once the token is not the owner's.
#[derive(Clone)]
pub struct Tenure {
    /// The connection; the tenure ends with it.
    pub link: Link,
    /// Bus of the destination.
    pub bus: String,
    /// The destination.
    pub uid: String,
    /// The token.
    pub token: String,
}

/// An answer that every change of a queue may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered<T> {
    /// It was done.
    Done(T),
    /// The token is not the owner's: the tenure is over.
    Fenced,
    /// The event is no longer in the queue: forget it.
    Gone,
}

/// An entry of the queue, with the trouble it had.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    /// The entry.
    pub entry: Entry,
    /// Earlier attempts; `None` if it had no trouble.
    pub trial: Option<Trial>,
    /// It had been read before, by this process or an earlier owner.
    pub pending: bool,
}

/// Attempts of an event in trouble; a field of `try`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Trial {
    /// Attempts made, the open one included.
    pub n: u32,
    /// An attempt began and its end was not recorded.
    pub open: bool,
    /// It was the only such attempt of its process.
    pub solo: bool,
    /// Attempts, alone in their process, that ended with the process.
    pub deaths: u32,
    /// Next attempt, milliseconds since the epoch by the clock of Redis.
    pub next: f64,
    /// Class of the last failure.
    pub class: Option<String>,
    /// HTTP status of the last answer.
    pub code: Option<u16>,
    /// The last failure for a person.
    pub msg: String,
}

/// How an event is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Kept as a dead letter.
    DeadLetter,
    /// Counted and forgotten.
    Drop,
}

/// Which streak a burial belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streak {
    /// Given up because the destination failed.
    Destination,
    /// Given up because the receiver refused the event.
    Event,
    /// Neither: expired, skipped, killed its worker.
    None,
}

/// What came of a burial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buried {
    /// It is gone from the queue.
    Done,
    /// It is gone, and was the last one before the destination is halted; the reason.
    ThenHalted(String),
    /// Too many were given up in a row: it stays, the destination is halted.
    Halted,
}

/// What `bury` is told.
pub struct Burial<'a> {
    /// The event.
    pub id: Sequence,
    /// Where it goes.
    pub fate: Fate,
    /// The streak it belongs to.
    pub streak: Streak,
    /// Class of the failure, or why it is given up.
    pub class: &'a str,
    /// For a person.
    pub message: &'a str,
    /// So many in a row for reasons of the destination halt it.
    pub destination_limit: u32,
    /// So many refused events in a row halt it.
    pub event_limit: u32,
    /// Most dead letters kept.
    pub max_dead_letters: u64,
    /// Namespace and name of a destination of the same bus that a dead letter is sent to as well.
    pub copy_to: Option<(&'a str, &'a str)>,
}

/// An event to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The event.
    pub id: Sequence,
    /// Its size, bytes.
    pub size: usize,
    /// Attempts made.
    pub attempts: u32,
}

impl Tenure {
    fn call(&self, script: Script) -> Call<'_> {
        self.link.script(script, &self.bus).arg(&self.uid).arg(&self.token)
    }

    /// Prolongs the lease; `None` if it is lost.
    pub async fn renew(&self) -> Result<Option<Renewed>, Error> {
        lease::renew(&self.link, &self.bus, &self.uid, &self.token).await
    }

    /// Whether so many replicas have everything that this tenure has done so far; `None` if the lease is lost. A write (`renew`) and WAIT, on
    /// a connection of its own: WAIT counts for the connection that wrote, and blocks it.
    pub async fn barrier(&self, link: &Link, replicas: u32, wait: Duration) -> Result<Option<bool>, Error> {
        if !link.shares_server_with(&self.link) {
            return Ok(Some(false));
        }
        if lease::renew(link, &self.bus, &self.uid, &self.token).await?.is_none() {
            return Ok(None);
        }
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let have: u32 = link.query(redis::cmd("WAIT").arg(replicas).arg(wait)).await?;
        Ok(Some(have >= replicas))
    }

    /// Gives the lease back.
    pub async fn release(&self) -> Result<(), Error> {
        lease::release(&self.link, &self.bus, &self.uid, &self.token).await
    }

    /// Reads entries above `after`, first pending ones, then new ones; `held`: how many the caller has. Script `read`.
    pub async fn read(&self, after: Sequence, max: usize, bytes: usize, held: usize) -> Result<Answered<Vec<Owed>>, Error> {
        let answer = self.call(Script::Read).arg(after.to_string()).arg(max).arg(bytes).arg(held).run().await?;
        done(answer, |answer| answer.list()?.into_iter().map(owed).collect())
    }

    /// Reads entries again that were read before, in the order of their IDs, until so many bytes; and says which are gone. Script `fetch`.
    pub async fn fetch(&self, ids: &[Sequence], bytes: usize) -> Result<Answered<(Vec<Owed>, Vec<Sequence>)>, Error> {
        let ids: Vec<String> = ids.iter().map(Sequence::to_string).collect();
        let answer = self.call(Script::Fetch).arg(bytes).arg(ids).run().await?;
        done(answer, |answer| {
            let entries = answer.list()?.into_iter().map(owed).collect::<Result<_, _>>()?;
            let gone = answer.list()?.iter().filter_map(|id| text(id)?.parse().ok()).collect();
            Ok((entries, gone))
        })
    }

    /// Counts an attempt before it is made; answers how many workers the event has killed while it was tried alone. Script `begin`.
    pub async fn begin(&self, id: Sequence, attempts: u32, solo: bool, mine: bool) -> Result<Answered<u32>, Error> {
        let call = self.call(Script::Begin).arg(id.to_string()).arg(attempts).arg(u8::from(solo)).arg(u8::from(mine));
        done(call.run().await?, Answer::parse)
    }

    /// Records a failed attempt and when the next one is due; `None`: none is planned. Script `fail`.
    pub async fn fail(
        &self,
        id: Sequence,
        attempts: u32,
        class: &str,
        code: Option<u16>,
        message: &str,
        wait: Option<Duration>,
    ) -> Result<Answered<()>, Error> {
        let code = code.map(|code| code.to_string()).unwrap_or_default();
        let wait = wait.map(|wait| wait.as_millis().to_string()).unwrap_or_default();
        let call = self.call(Script::Fail).arg(id.to_string()).arg(attempts).arg(class).arg(code).arg(message).arg(wait);
        done(call.run().await?, |_| Ok(()))
    }

    /// Takes back an attempt that we ended ourselves. Script `abort`.
    pub async fn abort(&self, id: Sequence) -> Result<Answered<()>, Error> {
        done(self.call(Script::Abort).arg(id.to_string()).run().await?, |_| Ok(()))
    }

    /// Gives every event that had trouble all its retries again. Script `reset`.
    pub async fn reset_all(&self) -> Result<Answered<()>, Error> {
        done(self.call(Script::Reset).arg("*").run().await?, |_| Ok(()))
    }

    /// Gives waiting events all their retries again. Script `reset`.
    pub async fn reset(&self, ids: &[Sequence]) -> Result<Answered<()>, Error> {
        let ids: Vec<String> = ids.iter().map(Sequence::to_string).collect();
        done(self.call(Script::Reset).arg(ids).run().await?, |_| Ok(()))
    }

    /// Removes delivered events; answers how many were still there. Script `settle`.
    pub async fn settle(&self, events: &[Settled]) -> Result<Answered<u64>, Error> {
        if events.is_empty() {
            return Ok(Answered::Done(0));
        }
        let mut call = self.call(Script::Settle);
        for event in events {
            call.push(event.id.to_string());
            call.push(event.size);
            call.push(event.attempts);
        }
        done(call.run().await?, Answer::parse)
    }

    /// Gives an event up, or halts the destination where too many were. Script `bury`.
    pub async fn bury(&self, burial: &Burial<'_>) -> Result<Answered<Buried>, Error> {
        let fate = match burial.fate {
            Fate::DeadLetter => "dead",
            Fate::Drop => "drop",
        };
        let streak = match burial.streak {
            Streak::Destination => "destination",
            Streak::Event => "event",
            Streak::None => "other",
        };
        let call = self.call(Script::Bury).arg(burial.id.to_string()).arg(fate).arg(streak).arg(burial.class).arg(burial.message);
        let copy_to = burial.copy_to.map(|(namespace, name)| format!("{namespace}/{name}")).unwrap_or_default();
        let call = call.arg(burial.destination_limit).arg(burial.event_limit).arg(burial.max_dead_letters).arg(copy_to);
        let mut answer = call.run().await?;
        match answer.text()?.as_str() {
            "OK" => Ok(Answered::Done(Buried::Done)),
            "HALTED" => Ok(Answered::Done(Buried::ThenHalted(answer.text()?))),
            "HALT" => Ok(Answered::Done(Buried::Halted)),
            "FENCED" => Ok(Answered::Fenced),
            "GONE" => Ok(Answered::Gone),
            other => Err(answer.unexpected(other)),
        }
    }

    /// Halts the destination. Script `halt`.
    pub async fn halt(&self, reason: &str) -> Result<Answered<()>, Error> {
        done(self.call(Script::Halt).arg(reason).run().await?, |_| Ok(()))
    }

    /// Ends a halt, as if nothing had failed. Script `unhalt`.
    pub async fn unhalt(&self) -> Result<Answered<()>, Error> {
        done(self.call(Script::Unhalt).run().await?, |_| Ok(()))
    }

    /// Says what the worker does, in which order, and which request of a person it has answered. Script `report`.
    pub async fn report(&self, state: &str, reason: &str, plan: &str, order: &str, asked: Option<&str>) -> Result<Answered<()>, Error> {
        let call = self.call(Script::Report).arg(state).arg(reason).arg(plan).arg(order).arg(asked.unwrap_or_default());
        done(call.run().await?, |_| Ok(()))
    }
}

fn done<T>(mut answer: Answer, read: impl FnOnce(&mut Answer) -> Result<T, Error>) -> Result<Answered<T>, Error> {
    match answer.text()?.as_str() {
        "OK" => Ok(Answered::Done(read(&mut answer)?)),
        "FENCED" => Ok(Answered::Fenced),
        "GONE" => Ok(Answered::Gone),
        other => Err(answer.unexpected(other)),
    }
}

fn owed(value: Value) -> Result<Owed, Error> {
    let wrong = || Error::Protocol("script Read answered an entry of another shape".to_owned());
    let Value::Array(items) = value else { return Err(wrong()) };
    let [id, fields, trial, pending]: [Value; 4] = items.try_into().map_err(|_| wrong())?;
    let sequence = text(&id).and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
    let Value::Array(fields) = fields else { return Err(wrong()) };
    let trial = text(&trial).filter(|json| !json.is_empty()).and_then(|json| serde_json::from_str(&json).ok());
    Ok(Owed { entry: Entry::new(sequence, fields), trial, pending: pending == Value::Int(1) })
}
