//! A real redis-server (or valkey-server) in a folder of its own.

use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to load its data.
const LOADS_WITHIN: Duration = Duration::from_secs(30);

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// `appendfsync`; `None` for no AOF at all.
    pub appendfsync: Option<&'static str>,
    /// `maxmemory` in bytes; 0 for none.
    pub maxmemory: u64,
    /// Any other setting, as on the command line.
    pub more: Vec<(&'static str, String)>,
}

impl Default for Options {
    fn default() -> Options {
        Options { appendfsync: Some("always"), maxmemory: 0, more: Vec::new() }
    }
}

/// A running server. Killed, and its files removed, when dropped.
pub struct Redis {
    options: Options,
    dir: TempDir,
    socket: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    /// Starts one with AOF and `appendfsync always`, on a Unix socket and a free port.
    pub fn start() -> Redis {
        Redis::with(Options::default())
    }

    /// Starts one with other options.
    pub fn with(options: Options) -> Redis {
        let dir = TempDir::with_prefix("posthorn-redis-").unwrap();
        let socket = dir.path().join("redis.sock");
        let mut redis = Redis { options, dir, socket, port: free_port(), child: None };
        redis.restart();
        redis
    }

    /// One that somebody else started, to look into.
    pub fn at(socket: PathBuf) -> Redis {
        Redis { options: Options::default(), dir: TempDir::with_prefix("posthorn-redis-").unwrap(), socket, port: 0, child: None }
    }

    /// `unix:///…`, for `--redis`.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its TCP address, for a proxy in front of it.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Starts it (again) on the same files and waits until it answers.
    pub fn restart(&mut self) {
        self.kill9();
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(binary());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--unixsocket"]).arg(self.socket());
        command.arg("--dir").arg(self.dir.path());
        command.args(["--save", "", "--maxmemory-policy", "noeviction", "--maxmemory", &self.options.maxmemory.to_string()]);
        command.args(["--appendonly", if self.options.appendfsync.is_some() { "yes" } else { "no" }]);
        command.args(["--appendfsync", self.options.appendfsync.unwrap_or("no")]);
        for (name, value) in &self.options.more {
            command.arg(format!("--{name}")).arg(value);
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("cannot start {}: {error}: run hack/install.sh", binary())));
        self.wait_ready();
    }

    /// A backup: all that it holds now.
    pub fn backup(&self) -> Vec<u8> {
        self.cli(&["SAVE"]);
        std::fs::read(self.dir.path().join("dump.rdb")).unwrap()
    }

    /// Loses its disk, and starts again with what a backup holds, as `docs/operations.md` says: where no role finds it, until the append-only file
    /// is written.
    pub fn restore(&mut self, backup: &[u8]) {
        self.kill9();
        std::fs::remove_dir_all(self.dir.path().join("appendonlydir")).unwrap();
        std::fs::write(self.dir.path().join("dump.rdb"), backup).unwrap();
        let aside = (self.dir.path().join("aside.sock"), free_port());
        let (socket, port) = (std::mem::replace(&mut self.socket, aside.0), std::mem::replace(&mut self.port, aside.1));
        let appendfsync = self.options.appendfsync.take();
        self.restart();
        self.cli(&["CONFIG", "SET", "appendonly", "yes"]);
        let (begun, written) = (Instant::now(), ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0", "aof_last_bgrewrite_status:ok"]);
        loop {
            let found = self.cli(&["INFO", "persistence"]);
            if written.iter().all(|line| found.contains(line)) {
                break;
            }
            assert!(begun.elapsed() < LOADS_WITHIN, "the append-only file is not written: {found}");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.stop();
        (self.socket, self.port, self.options.appendfsync) = (socket, port, appendfsync);
        self.restart();
    }

    /// Ends it at once, as a power cut of the process.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal(&child, Signal::TERM);
            child.wait().unwrap();
        }
    }

    /// Stops it from answering (SIGSTOP); its connections stay open.
    pub fn freeze(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::STOP);
    }

    /// Lets it answer again (SIGCONT).
    pub fn thaw(&self) {
        signal(self.child.as_ref().expect("it runs"), Signal::CONT);
    }

    /// Runs a command and returns the answer as redis-cli would print it.
    pub fn cli(&self, command: &[&str]) -> String {
        let (name, arguments) = command.split_first().expect("a command has a name");
        show(&self.query(redis::cmd(name).arg(arguments)))
    }

    /// Every key with all that it holds.
    pub fn everything(&self) -> Vec<(String, String)> {
        let read = |key: &str| match self.cli(&["TYPE", key]).as_str() {
            "string" => self.cli(&["GET", key]),
            "hash" => self.cli(&["HGETALL", key]),
            "stream" => self.cli(&["XRANGE", key, "-", "+"]),
            "set" => self.cli(&["SMEMBERS", key]),
            "zset" => self.cli(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
            "list" => self.cli(&["LRANGE", key, "0", "-1"]),
            "none" => String::new(), // it ended meanwhile
            other => panic!("{key} is a {other}"),
        };
        self.cli(&["KEYS", "*"]).lines().map(|key| (key.to_owned(), read(key))).collect()
    }

    /// Runs a command, once a server that was just started has loaded its data. Panics on any other error: whoever expects one uses
    /// [`Redis::connection`].
    pub fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let begun = Instant::now();
        loop {
            match self.connection().and_then(|mut connection| command.query(&mut connection)) {
                Ok(answer) => return answer,
                Err(error) if error.code() == Some("LOADING") && begun.elapsed() < LOADS_WITHIN => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    fn wait_ready(&mut self) {
        let begun = Instant::now();
        while !self.connection().is_ok_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok()) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "{} ended at its start: {}", binary(), log());
            assert!(begun.elapsed() < Duration::from_secs(20), "{} does not answer: {}", binary(), log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The server that tests run on.
pub fn binary() -> String {
    std::env::var("POSTHORN_TEST_REDIS").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let on_path = |name: &str| std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).is_file());
        if on_path("redis-server") { "redis-server".into() } else { "valkey-server".into() }
    })
}

/// A port that nobody listens on now. Below those that the system gives to connections, or one of them could have it before it is used.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id() % 16_000) as u16));
    loop {
        let port = 12_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 16_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn show(value: &redis::Value) -> String {
    match value {
        redis::Value::Nil => String::new(),
        redis::Value::Okay => "OK".into(),
        redis::Value::Int(number) => number.to_string(),
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        redis::Value::Array(values) => values.iter().map(show).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}"),
    }
}
