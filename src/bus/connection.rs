//! Supervised connections.
//!
//! A [`Link`] is one connection that was checked (a primary, all scripts loaded) and is alive. A time-out, a reset or an answer that tells of
//! a demoted, loading or ailing server ends it with all that came through it; its [`Supervisor`] opens a new one after a growing pause.
//! redis-rs' own manager would stay on a demoted primary and on a black-holed connection for ever.

use super::counters;
use super::keys;
use super::safety::{Concern, too_old};
use super::scripts::{self, Answer, Script};
use super::servers::Server;
use super::url::RedisUrl;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Longest wait for an answer of the server; longer means that the connection is dead.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// First pause after a connection ended; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often a connection looks whether its server is still the same primary.
const ROLE_CHECK: Duration = Duration::from_secs(2);

/// What a call to Redis can come to, other than its answer.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// An answer that this version does not understand, or a key of another kind. The connection stays.
    #[error("unexpected answer of redis: {0}")]
    Protocol(String),
    /// The bus was written by a newer version.
    #[error("bus {bus} was written by a newer version (format {version}); run that version or a later one")]
    TooNew {
        /// Name of the bus.
        bus: String,
        /// Its version mark.
        version: String,
    },
}

/// One connection that was checked and is alive; ends as a whole.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("history", &self.0.history).finish_non_exhaustive()
    }
}

struct Inner {
    connection: MultiplexedConnection,
    shas: Vec<String>,
    /// `run_id:master_replid`: changes with every restart and promotion.
    history: String,
    greeted: Mutex<HashSet<String>>,
    closed: CancellationToken,
    _open: counters::Open,
}

impl Link {
    async fn open(server: &Server, timeout: Duration) -> Result<Link, Error> {
        let Server { url, buses: _, demand } = server;
        let closed = CancellationToken::new();
        let mut connection = connect(url, timeout, closed.clone()).await.map_err(|error| Error::Unavailable(url.explain(&error)))?;
        let wrong = |error: RedisError| Error::Unavailable(error.to_string());
        modern(&mut connection).await?;
        let history = primary(&mut connection).await?;
        let mut shas = Vec::with_capacity(scripts::ALL.len());
        for (_, source) in scripts::ALL {
            shas.push(redis::cmd("SCRIPT").arg("LOAD").arg(source).query_async(&mut connection).await.map_err(wrong)?);
        }
        let inner = Inner { connection, shas, history, greeted: Mutex::default(), closed, _open: counters::Open::new() };
        let link = Link(Arc::new(inner));
        if let Some(demand) = demand {
            demand.ask(&link).await?;
        }
        Ok(link)
    }

    /// Whether this connection has ended; a new one is had from its [`Supervisor`].
    pub fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Resolves when this connection has ended.
    pub async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Link) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both talk to the same server, not restarted nor promoted between the two.
    pub(super) fn shares_server_with(&self, other: &Link) -> bool {
        self.0.history == other.0.history
    }

    pub(super) fn sha(&self, script: Script) -> &str {
        &self.0.shas[script as usize]
    }

    /// Says hello to a bus once on this connection: makes its cursor, and notices a restart or promotion. Script `hello`.
    ///
    /// # Errors
    /// [`Error::TooNew`] if a newer version wrote it.
    pub async fn hello(&self, bus: &str) -> Result<(), Error> {
        if self.0.greeted.lock().expect("no panic while held").contains(bus) {
            return Ok(());
        }
        self.hello_again(bus).await
    }

    /// The same for a bus that has lost its cursor since.
    pub(super) async fn hello_again(&self, bus: &str) -> Result<(), Error> {
        let mut answer: Answer = self.script(Script::Hello, bus).arg(&self.0.history).run().await?;
        match answer.text()?.as_str() {
            "OK" => {
                self.0.greeted.lock().expect("no panic while held").insert(bus.to_owned());
                Ok(())
            }
            "VERSION" => Err(Error::TooNew { bus: bus.to_owned(), version: answer.text()? }),
            other => Err(answer.unexpected(other)),
        }
    }

    /// Sends one command and awaits its answer; a failure that tells of a sick connection ends it.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Error> {
        if self.is_closed() {
            return Err(Error::Unavailable("the connection has ended".to_owned()));
        }
        let mut connection = self.0.connection.clone();
        let sent = tokio::select! {
            biased;
            sent = connection.send_packed_command(command) => sent,
            () = self.0.closed.cancelled() => return Err(Error::Unknown("the connection has ended".to_owned())),
        };
        match sent.and_then(Value::extract_error) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.judge(&error)),
        }
    }

    /// What an error means for this connection and for the command that met it.
    fn judge(&self, error: &RedisError) -> Error {
        let text = error.to_string();
        let (verdict, ends) = match (error.kind(), error.code()) {
            (_, Some("OOM")) => (Error::Full(text), false),
            (ErrorKind::Server(ServerErrorKind::TryAgain), _) | (_, Some("NOREPLICAS" | "NOPERM" | "BUSY")) => {
                (Error::Refused(text), false)
            }
            (
                ErrorKind::Server(
                    ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::NoScript
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::ExecAbort,
                ),
                _,
            )
            | (_, Some("MISCONF" | "NOAUTH" | "WRONGPASS")) => (Error::Refused(text), true),
            (ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType, _) => (Error::Protocol(text), false),
            (ErrorKind::Client | ErrorKind::InvalidClientConfig | ErrorKind::AuthenticationFailed, _) => (Error::Unavailable(text), true),
            _ => (Error::Unknown(text), true),
        };
        counters::failed(&verdict);
        if ends {
            self.end(&verdict.to_string());
        }
        verdict
    }

    fn end(&self, why: &str) {
        close(&self.0.closed, why);
    }

    /// Ends the connection if its server is no longer the primary that it was.
    async fn watch_role(&self) {
        while !self.is_closed() {
            tokio::select! {
                () = tokio::time::sleep(ROLE_CHECK) => {}
                () = self.closed() => return,
            }
            let mut connection = self.0.connection.clone();
            match primary(&mut connection).await {
                Ok(history) if history == self.0.history => {}
                Ok(_) => self.end("the server was restarted or promoted"),
                Err(error) => self.end(&error.to_string()),
            }
        }
    }

    /// Runs a plain command, for the few reads that need no script.
    pub(super) async fn query<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let value = self.send(command).await?;
        redis::from_redis_value(value).map_err(|error| Error::Protocol(error.to_string()))
    }

    /// Events that were accepted on a bus and the cursor's position, for tools.
    pub async fn has_bus(&self, bus: &str) -> Result<bool, Error> {
        self.query(redis::cmd("EXISTS").arg(keys::cursor(bus))).await
    }
}

fn close(closed: &CancellationToken, why: &str) {
    if !closed.is_cancelled() {
        tracing::warn!(reason = why, "connection to redis ended");
        closed.cancel();
    }
}

/// Connects; `closed` is cancelled as soon as the connection is lost, also while nothing is sent.
async fn connect(url: &RedisUrl, response_timeout: Duration, closed: CancellationToken) -> Result<MultiplexedConnection, RedisError> {
    let pushed = move |push: PushInfo| -> Result<(), SendError> {
        if push.kind == PushKind::Disconnection {
            close(&closed, "the server closed it");
        }
        Ok(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(response_timeout))
        .set_pipeline_buffer_size(1024)
        .set_push_sender(pushed);
    url.client()?.get_multiplexed_async_connection_with_config(&config).await
}

/// Checks that the server knows what the scripts need; an older one would only say that it cannot read them.
async fn modern(connection: &mut MultiplexedConnection) -> Result<(), Error> {
    let info: String =
        redis::cmd("INFO").arg("server").query_async(connection).await.map_err(|error| Error::Unavailable(error.to_string()))?;
    let field = |name| info_field(&info, name).unwrap_or_default();
    match too_old(field("redis_version"), field("valkey_version")) {
        Some(version) => Err(Error::Unavailable(Concern::TooOld(version).to_string())),
        None => Ok(()),
    }
}

/// Checks that the server is a primary; answers its history.
async fn primary(connection: &mut MultiplexedConnection) -> Result<String, Error> {
    let wrong = |error: RedisError| Error::Unavailable(error.to_string());
    let info: String = redis::cmd("INFO").arg("server").arg("replication").query_async(connection).await.map_err(wrong)?;
    let field = |name| info_field(&info, name).unwrap_or_default();
    match field("role") {
        "master" => Ok(format!("{}:{}", field("run_id"), field("master_replid"))),
        role => Err(Error::Unavailable(format!("the server is not a primary (role {role})"))),
    }
}

/// A field of the answer to INFO.
pub(super) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Keeps one [`Link`] open: opens a new one, after a growing pause, when the last one ended. Ends with its last clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    links: watch::Receiver<Result<Link, String>>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Supervisor {
    /// Starts supervising; returns at once. `name` is for the logs.
    pub fn start(server: impl Into<Server>, name: &'static str) -> Supervisor {
        Supervisor::start_with(server.into(), name, RESPONSE_TIMEOUT)
    }

    /// The same for reads that block on the server for at most `block`.
    pub fn start_blocking(server: impl Into<Server>, name: &'static str, block: Duration) -> Supervisor {
        Supervisor::start_with(server.into(), name, block + RESPONSE_TIMEOUT)
    }

    fn start_with(server: Server, name: &'static str, timeout: Duration) -> Supervisor {
        let (sender, links) = watch::channel(Err("not connected yet".to_owned()));
        let task = tokio::spawn(supervise(server, name, timeout, sender));
        Supervisor { links, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// The present connection, or why there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the last failure.
    pub fn current(&self) -> Result<Link, Error> {
        match &*self.links.borrow() {
            Ok(link) if !link.is_closed() => Ok(link.clone()),
            Ok(_) => Err(Error::Unavailable("the connection has ended".to_owned())),
            Err(why) => Err(Error::Unavailable(why.clone())),
        }
    }

    /// Waits for a connection.
    pub async fn link(&self) -> Link {
        let mut links = self.links.clone();
        let found = match links.wait_for(|state| matches!(state, Ok(link) if !link.is_closed())).await {
            Ok(state) => state.as_ref().ok().cloned(),
            Err(_) => None,
        };
        match found {
            Some(link) => link,
            // the task lives as long as this clone of the supervisor
            None => std::future::pending().await,
        }
    }
}

async fn supervise(server: Server, name: &'static str, timeout: Duration, links: watch::Sender<Result<Link, String>>) {
    let (mut pause, url) = (PAUSE_MIN, server.url.clone());
    loop {
        match Link::open(&server, timeout).await {
            Ok(link) => {
                tracing::debug!(connection = name, redis = %url, "connected");
                let _ = links.send_replace(Ok(link.clone()));
                let opened = tokio::time::Instant::now();
                link.watch_role().await;
                let _ = links.send_replace(Err("the connection has ended".to_owned()));
                if opened.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
            }
            Err(error) => {
                let why = match error {
                    Error::Unavailable(why) => why,
                    other => other.to_string(),
                };
                if links.borrow().as_ref().err() != Some(&why) {
                    tracing::warn!(connection = name, redis = %url, error = why, "cannot connect to redis; trying again");
                }
                let _ = links.send_replace(Err(why));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
