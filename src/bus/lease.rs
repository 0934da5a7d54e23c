//! Who may work on a queue: the scripts `lease renew release`, and the tokens that they compare.
//!
//! A token is 128 random bits, new for each tenure: after a failover a counter could be given out twice. Before it stands the identity of its
//! process, 128 random bits of their own: whoever finds the lease held by a token of the same identity takes it over, so a lost reply or a
//! restart never locks its owner out. Whether a change is allowed is decided by the whole token.

use super::connection::{Error, Link};
use super::scripts::{Script, pairs};
use crate::bus::routing::Ask;
use crate::event::Sequence;
use base64::Engine;
use std::collections::HashMap;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a lease holds without renewal.
pub const TTL: Duration = Duration::from_secs(6);
/// How often it is renewed.
pub const RENEW: Duration = Duration::from_secs(2);
/// How long before its end it is given up.
pub const MARGIN: Duration = Duration::from_secs(1);

/// 128 random bits as text.
pub fn random_token() -> String {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Makes the tokens of one process.
#[derive(Debug)]
pub struct Tokens {
    identity: String,
    /// The lock on the directory: a second process must not take the first one's queues.
    _lock: Option<std::fs::File>,
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be opened or read.
    #[error("cannot use the token file {path}: {source}; give a directory that this process may write")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds it.
    #[error("the token file {path} is in use by another process; give each process a directory of its own")]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

impl Tokens {
    /// An identity that a restart forgets: a new process waits until the old lease has ended, 6 s at most.
    pub fn in_memory() -> Tokens {
        Tokens { identity: random_token(), _lock: None }
    }

    /// The identity kept in `directory/identity.token`, locked for this process; with it a restarted process goes on at once.
    ///
    /// # Errors
    /// If the file cannot be written or another process holds it.
    pub fn open(directory: &Path) -> Result<Tokens, TokenFileError> {
        let path = directory.join("identity.token");
        let io = |source| TokenFileError::Io { path: path.clone(), source };
        let mut file = std::fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => TokenFileError::Locked { path: path.clone() },
            other => io(other.into()),
        })?;
        let mut identity = String::new();
        file.read_to_string(&mut identity).map_err(io)?;
        if identity.len() != random_token().len() {
            // new, or cut short when the machine crashed: leases of before that have ended
            identity = random_token();
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(identity.as_bytes())).map_err(io)?;
        }
        Ok(Tokens { identity, _lock: Some(file) })
    }

    /// A new token.
    pub fn next(&self) -> String {
        format!("{}.{}", self.identity, random_token())
    }
}

/// What came of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// It is ours.
    Held {
        /// Fields of `st`.
        state: HashMap<String, String>,
        /// Clock of Redis, milliseconds since the epoch.
        now: u64,
    },
    /// Somebody else has it.
    Busy,
    /// There is no such destination.
    NoRoute,
}

/// Takes the lease of a queue and heals what is missing of the queue. Script `lease`.
pub async fn lease(link: &Link, bus: &str, uid: &str, tokens: &Tokens) -> Result<(String, Leased), Error> {
    let token = tokens.next();
    let mut answer = link.script(Script::Lease, bus).arg(uid).arg(&token).arg(millis(TTL)).run().await?;
    let leased = match answer.text()?.as_str() {
        "OK" => Leased::Held { state: pairs(&answer.list()?), now: answer.parse()? },
        "BUSY" => Leased::Busy,
        "NOROUTE" => Leased::NoRoute,
        other => return Err(answer.unexpected(other)),
    };
    Ok((token, leased))
}

/// Takes or keeps the lease for routing a bus; false while another process has it. Script `lease_router`.
pub async fn lease_router(link: &Link, bus: &str, token: &str) -> Result<bool, Error> {
    let mut answer = link.script(Script::LeaseRouter, bus).arg(token).arg(millis(TTL)).run().await?;
    Ok(answer.text()? == "OK")
}

/// What a renewal tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// What a person asked for, with the nonce to answer with.
    pub ask: Option<(Ask, String)>,
    /// Why it is halted.
    pub halted: Option<String>,
    /// Events that wait.
    pub backlog: u64,
    /// Clock of Redis, milliseconds since the epoch.
    pub now: u64,
}

/// Prolongs the lease of a queue; `None` if it is lost. Script `renew`.
pub async fn renew(link: &Link, bus: &str, uid: &str, token: &str) -> Result<Option<Renewed>, Error> {
    let mut answer = link.script(Script::Renew, bus).arg(uid).arg(token).arg(millis(TTL)).run().await?;
    match answer.text()?.as_str() {
        "OK" => {}
        "FENCED" => return Ok(None),
        other => return Err(answer.unexpected(other)),
    }
    let (ask, halted) = (answer.text()?, answer.text()?);
    let halted = halted.split_whitespace().next().map(str::to_owned);
    Ok(Some(Renewed { ask: read_ask(&ask), halted, backlog: answer.parse()?, now: answer.parse()? }))
}

/// Gives the lease of a queue, or of routing (`router`), back. Script `release`.
pub async fn release(link: &Link, bus: &str, uid: &str, token: &str) -> Result<(), Error> {
    link.script(Script::Release, bus).arg(uid).arg(token).run().await.map(|_| ())
}

fn read_ask(text: &str) -> Option<(Ask, String)> {
    let mut words = text.split_whitespace();
    let (verb, id, nonce) = (words.next()?, words.next()?, words.next()?);
    let ask = match verb {
        "retry" => Ask::Retry,
        "skip" => Ask::Skip(id.parse::<Sequence>().ok()?),
        _ => return None,
    };
    Some((ask, nonce.to_owned()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
