//! Supervised connections.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Where Redis is: `redis://[user:password@]host:port/db`, `rediss://…` or `unix:///path`. Its `Debug` and `Display` hide the password.
#[derive(Clone)]
pub struct RedisUrl(String);

/// One connection that was checked and is alive; ends as a whole.
#[derive(Clone)]
pub struct Link(Arc<()>);

/// Keeps one [`Link`] open: opens a new one, after a growing pause, when the last one ended.
#[derive(Clone)]
pub struct Supervisor(Arc<()>);

impl Supervisor {
    /// Starts supervising; returns at once.
    pub fn start(_url: RedisUrl, _name: &str) -> Supervisor {
        unimplemented!()
    }

    /// The present connection, if there is one.
    pub fn current(&self) -> Option<Link> {
        unimplemented!()
    }

    /// Waits for a connection.
    pub async fn link(&self) -> Link {
        unimplemented!()
    }
}

impl Link {
    /// Whether this connection has ended; a new one is had from its [`Supervisor`].
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
}

/// What a call to Redis can come to, other than its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis refused for want of memory; nothing was changed. The connection stays.
    #[error("redis is full (maxmemory): {0}")]
    Full(String),
    /// Redis said no before doing anything (READONLY, LOADING, MISCONF, NOREPLICAS …); nothing was changed. The connection ended.
    #[error("redis refused: {0}")]
    Refused(String),
    /// There is no connection; nothing was sent.
    #[error("no connection to redis: {0}")]
    Unavailable(String),
    /// A time-out or reset after the command was sent: done or not, nobody knows. The connection ended.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// An answer that this version does not understand.
    #[error("unexpected answer of redis: {0}")]
    Protocol(String),
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<RedisUrl, String> {
        Ok(RedisUrl(text.to_owned()))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
