//! Who may work on a queue: the scripts `lease renew release`, and the tokens that they compare.
//!
//! A token is 128 random bits, new for each tenure: after a failover a counter could be given out twice. The tokens of this process lie in a
//! file, so that a restarted one goes on at once instead of waiting for its own lease to end.

use super::connection::{Error, Link};
use super::scripts::{Script, pairs};
use crate::bus::routing::Ask;
use crate::event::Sequence;
use base64::Engine;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
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

/// Tokens of this process by lease: every one sent since the last answer, newest last. Kept in a file where there is one.
#[derive(Debug)]
pub struct Tokens {
    file: Option<PathBuf>,
    /// The lock on the file: a second process must not take the first one's queues.
    _lock: Option<std::fs::File>,
    sent: Mutex<HashMap<String, Vec<String>>>,
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
    /// Tokens that a restart forgets: a new process waits until the old lease has ended, 6 s at most.
    pub fn in_memory() -> Tokens {
        Tokens { file: None, _lock: None, sent: Mutex::default() }
    }

    /// Tokens kept in `directory/tokens.json`, locked for this process.
    ///
    /// # Errors
    /// If the file cannot be written or another process holds it.
    pub fn open(directory: &Path) -> Result<Tokens, TokenFileError> {
        let path = directory.join("tokens.json");
        let io = |source| TokenFileError::Io { path: path.clone(), source };
        let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("tokens.lock")).map_err(io)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => TokenFileError::Locked { path: path.clone() },
            other => io(other.into()),
        })?;
        let sent = match std::fs::read(&path) {
            // a file cut short by a crash of the machine: its leases are older than that crash
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(io(error)),
        };
        Ok(Tokens { file: Some(path), _lock: Some(lock), sent: Mutex::new(sent) })
    }

    /// A new token for a lease, and the earlier ones that may still hold it.
    pub fn next(&self, lease: &str) -> (String, Vec<String>) {
        let token = random_token();
        let mut sent = self.sent.lock().expect("no panic while held");
        let list = sent.entry(lease.to_owned()).or_default();
        let earlier = list.clone();
        list.push(token.clone());
        self.save(&sent);
        (token, earlier)
    }

    /// The server answered: only this token can hold the lease now.
    pub fn confirm(&self, lease: &str, token: &str) {
        let mut sent = self.sent.lock().expect("no panic while held");
        sent.insert(lease.to_owned(), vec![token.to_owned()]);
        self.save(&sent);
    }

    /// The lease is given back or lost for good.
    pub fn forget(&self, lease: &str) {
        let mut sent = self.sent.lock().expect("no panic while held");
        if sent.remove(lease).is_some() {
            self.save(&sent);
        }
    }

    fn save(&self, sent: &HashMap<String, Vec<String>>) {
        let Some(path) = &self.file else { return };
        let text = serde_json::to_vec(sent).expect("a map of strings");
        let new = path.with_extension("new");
        // without the file a restart waits for the end of its old leases; nothing is lost
        if let Err(error) = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path)) {
            tracing::warn!(file = %path.display(), %error, "cannot write the token file; a restart will pause for one lease");
        }
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
    let name = format!("{bus}/{uid}");
    let (token, earlier) = tokens.next(&name);
    let mut answer = link.script(Script::Lease, bus).arg(uid).arg(&token).arg(millis(TTL)).arg(earlier).run().await?;
    match answer.text()?.as_str() {
        "OK" => {
            tokens.confirm(&name, &token);
            Ok((token, Leased::Held { state: pairs(&answer.list()?), now: answer.parse()? }))
        }
        "BUSY" => {
            tokens.forget(&name);
            Ok((token, Leased::Busy))
        }
        "NOROUTE" => {
            tokens.forget(&name);
            Ok((token, Leased::NoRoute))
        }
        other => Err(answer.unexpected(other)),
    }
}

/// Takes or keeps the lease for routing a bus; false while another router has it. Script `lease_router`.
pub async fn lease_router(link: &Link, bus: &str, token: &str, earlier: &[String]) -> Result<bool, Error> {
    let mut answer = link.script(Script::LeaseRouter, bus).arg(token).arg(millis(TTL)).arg(earlier).run().await?;
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
