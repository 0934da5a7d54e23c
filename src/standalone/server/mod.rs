//! The private `redis-server` (or `valkey-server`) of a standalone: started, adopted, watched, stopped.
//!
//! It listens on a Unix socket only and acknowledges nothing before it is on the disk. One server at most works on a data directory:
//! each holds a lock on it for as long as it lives (as its standard input), so one that a killed standalone left behind is found and
//! adopted, and one that dies is started again.

mod config;
mod find;
mod resp;

use super::data_dir;
use crate::shutdown::Shutdown;
use config::Files;
use resp::{Reply, ask};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long one question to the server may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a server that was left behind may be silent before it is given up.
const ADOPTION: Duration = Duration::from_secs(30);
/// How long `SHUTDOWN`, and then SIGTERM, may take.
const ENDING: Duration = Duration::from_secs(10);
/// How often it is looked whether the server lives.
const POLL: Duration = Duration::from_millis(100);
/// Pauses before a server that died is started again: doubled from the first to the longest, and back to the first once one lived this long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How the private server is to be.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The program; `None` to search the PATH.
    pub program: Option<PathBuf>,
    /// `maxmemory`, bytes; `None` for no limit of its own (75 % of the machine then counts as full).
    pub max_memory: Option<u64>,
}

/// Why there is no private server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No program to start.
    #[error(transparent)]
    Find(#[from] find::Error),
    /// Its directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    /// Something else that the operating system refused.
    #[error("private redis in {}: {source}", directory.display())]
    Io {
        /// The server's directory.
        directory: PathBuf,
        /// What was refused.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("the private redis-server ended at its start: {0}")]
    Ended(String),
    /// Another server holds the files and cannot be taken over.
    #[error(
        "a redis-server of an earlier run still holds {} but {reason}; stop it (its pid is in redis.pid there) and start again",
        directory.display()
    )]
    NotAdopted {
        /// The server's directory.
        directory: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It does not end.
    #[error("the private redis-server ({0}) does not end; the next standalone on this data directory will adopt it")]
    Stuck(String),
}

/// The private server, kept running until [`PrivateServer::stop`].
#[derive(Debug)]
pub struct PrivateServer {
    socket: PathBuf,
    end: CancellationToken,
    keeper: JoinHandle<Server>,
}

/// One server process and what it needs to be started again.
#[derive(Debug)]
struct Server {
    program: PathBuf,
    files: Files,
    socket: PathBuf,
    max_memory: Option<u64>,
    pid: Option<u32>,
    /// `None` for one that was adopted.
    child: Option<Child>,
}

impl PrivateServer {
    /// Starts a server on the data directory, or adopts the one that runs on it, and waits until it has loaded its data or `shutdown`.
    ///
    /// # Errors
    /// If there is no program, it ends at once, or one that runs already cannot be adopted.
    pub async fn start(data_dir: &Path, options: ServerOptions, shutdown: &Shutdown) -> Result<PrivateServer, Error> {
        let mut server = Server::obtain(find::program(options.program.as_deref())?, Files::prepare(data_dir)?, options.max_memory).await?;
        tokio::select! {
            ready = server.ready() => ready?,
            () = shutdown.begun() => {}
        }
        info!(pid = server.pid, socket = %server.socket.display(), adopted = server.child.is_none(), "private redis is ready");
        let end = CancellationToken::new();
        let socket = server.socket.clone();
        let keeper = tokio::spawn(server.keep(end.clone()));
        Ok(PrivateServer { socket, end, keeper })
    }

    /// Its URL, `unix:///…`.
    pub fn url(&self) -> String {
        let file = url::Url::from_file_path(&self.socket).expect("the path of the socket is absolute");
        format!("unix://{}", file.path())
    }

    /// Asks one command.
    #[cfg(test)]
    pub(in crate::standalone) async fn command(&self, words: &[&str]) {
        ask(&self.socket, words, ANSWER).await.expect("it runs");
    }

    /// Stops the server: `SHUTDOWN`, SIGTERM if that does not help.
    ///
    /// # Errors
    /// [`Error::Stuck`] if it lives on.
    pub async fn stop(self) -> Result<(), Error> {
        self.end.cancel();
        let server = self.keeper.await.map_err(|error| Error::Stuck(error.to_string()))?;
        server.shut_down().await
    }
}

impl Server {
    async fn obtain(program: PathBuf, files: Files, max_memory: Option<u64>) -> Result<Server, Error> {
        let begin = Instant::now();
        let mut server = Server { program, socket: PathBuf::new(), max_memory, pid: None, child: None, files };
        loop {
            if let Some(lock) = server.files.try_lock().map_err(|source| server.io(source))? {
                server.socket = server.files.choose_socket().map_err(|source| server.io(source))?;
                server.launch(lock)?;
                return Ok(server);
            }
            match server.adopt().await {
                Ok(()) => return Ok(server),
                Err(reason) if begin.elapsed() > ADOPTION => {
                    return Err(Error::NotAdopted { directory: server.files.directory().to_owned(), reason });
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Starts the program with the lock as its standard input, in a process group of its own: Ctrl-C is for us.
    fn launch(&mut self, lock: File) -> Result<(), Error> {
        let config = self.files.write_config(&self.socket, self.max_memory).map_err(|source| self.io(source))?;
        let log = File::options().append(true).create(true).open(self.files.log()).map_err(|source| self.io(source))?;
        let child = Command::new(&self.program)
            .arg(config)
            .current_dir(self.files.directory())
            .stdin(Stdio::from(lock))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .process_group(0)
            // A test that fails leaves no server behind.
            .kill_on_drop(cfg!(test))
            .spawn()
            .map_err(|source| self.io(source))?;
        self.pid = child.id();
        self.child = Some(child);
        Ok(())
    }

    /// Takes over the server that holds the lock, if it answers and works in this directory.
    async fn adopt(&mut self) -> Result<(), String> {
        let socket = self.files.recorded_socket().map_err(|error| format!("where its socket is was not recorded ({error})"))?;
        let question = |command: &'static [&'static str]| question(&socket, command);
        let directory = match question(&["CONFIG", "GET", "dir"]).await? {
            Reply::List(pair) if pair.len() == 2 => PathBuf::from(&pair[1]),
            other => return Err(format!("answers {other:?} to CONFIG GET dir")),
        };
        if directory != self.files.directory() {
            return Err(format!("the server at {} works in {}", socket.display(), directory.display()));
        }
        self.pid = match question(&["INFO", "server"]).await? {
            Reply::Text(info) => info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok()),
            other => return Err(format!("answers {other:?} to INFO")),
        };
        let limit = self.max_memory.unwrap_or(0).to_string();
        ask(&socket, &["CONFIG", "SET", "maxmemory", &limit], ANSWER).await.map_err(|error| silent(&socket, &error))?;
        self.socket = socket;
        Ok(())
    }

    /// Waits until it answers with its data loaded.
    async fn ready(&mut self) -> Result<(), Error> {
        let mut told = Instant::now();
        loop {
            let waits_for = match ask(&self.socket, &["PING"], ANSWER).await {
                Ok(Reply::Error(text)) if text.starts_with("LOADING") => "it loads its data",
                Ok(_) => return Ok(()),
                Err(_) => "it does not answer yet",
            };
            if self.files.try_lock().map_err(|source| self.io(source))?.is_some() {
                return Err(Error::Ended(self.last_words().await));
            }
            if told.elapsed() > Duration::from_secs(5) {
                info!(reason = waits_for, "waiting for the private redis");
                told = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it again whenever it ends, until it shall end.
    async fn keep(mut self, end: CancellationToken) -> Server {
        let mut pause = FIRST_PAUSE;
        loop {
            let begin = Instant::now();
            let Some(lock) = end.run_until_cancelled(self.ended()).await else {
                return self;
            };
            let reason = self.last_words().await;
            error!(reason, "the private redis ended; starting it again");
            pause = if begin.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { pause };
            if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return self;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.launch(lock) {
                Ok(()) => info!(pid = self.pid, "private redis started again"),
                Err(error) => error!(%error, "private redis could not be started again"),
            }
        }
    }

    /// Waits until no server holds the lock; returns the lock.
    async fn ended(&mut self) -> File {
        loop {
            // An error (no file descriptor left, say) says nothing of the server: look again.
            if let Ok(Some(lock)) = self.files.try_lock() {
                return lock;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How a server that ended did so: its exit status and the end of its log.
    async fn last_words(&mut self) -> String {
        self.pid = None;
        let status = match self.child.take() {
            Some(mut child) => match tokio::time::timeout(ANSWER, child.wait()).await {
                Ok(Ok(status)) => status.to_string(),
                _ => "status unknown".to_owned(),
            },
            None => "adopted, status unknown".to_owned(),
        };
        format!("{status}; {}: {}", self.files.log().display(), tail(&self.files.log()))
    }

    async fn shut_down(mut self) -> Result<(), Error> {
        match ask(&self.socket, &["SHUTDOWN"], ANSWER).await {
            // Nobody listens: it has ended, or has not yet begun to.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            _ => {
                if tokio::time::timeout(ENDING, self.ended()).await.is_ok() {
                    return self.leave().await;
                }
            }
        }
        if let Some(pid) = self.pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            warn!(pid = self.pid, "private redis does not follow SHUTDOWN; sending SIGTERM");
            // An error is a process that is gone; whether it is, the lock tells.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        match tokio::time::timeout(ENDING, self.ended()).await {
            Ok(_) => self.leave().await,
            Err(_) => Err(Error::Stuck(self.pid.map_or_else(|| "pid unknown".to_owned(), |pid| format!("pid {pid}")))),
        }
    }

    /// Tidies up after a server that has ended.
    async fn leave(mut self) -> Result<(), Error> {
        if let Some(mut child) = self.child.take() {
            // Only to leave no zombie; the lock has told that it ended.
            let _ = tokio::time::timeout(ANSWER, child.wait()).await;
        }
        if let Some(parent) = self.socket.parent().filter(|parent| *parent != self.files.directory()) {
            let _ = std::fs::remove_file(&self.socket);
            let _ = std::fs::remove_dir(parent);
        }
        info!("private redis stopped");
        Ok(())
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { directory: self.files.directory().to_owned(), source }
    }
}

async fn question(socket: &Path, command: &[&str]) -> Result<Reply, String> {
    ask(socket, command, ANSWER).await.map_err(|error| silent(socket, &error))
}

fn silent(socket: &Path, error: &io::Error) -> String {
    format!("does not answer on {} ({error})", socket.display())
}

/// The last lines of a log, in one line.
fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

#[cfg(test)]
mod tests;
