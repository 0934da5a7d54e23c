//! The real binary: started, watched by its log, ended by signals.

use super::eventually::{eventually, holds};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_posthorn");

/// How long a process may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A running `posthorn`. When dropped it is asked to end, then killed; if the test fails its log is printed.
pub struct Posthorn {
    name: String,
    child: Child,
    dir: TempDir,
}

impl Posthorn {
    /// Starts it with these arguments. No setting of the caller's environment reaches it.
    pub fn start(args: &[&str]) -> Posthorn {
        Posthorn::start_with(args, &[])
    }

    /// The same with environment variables.
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Posthorn {
        let dir = TempDir::with_prefix("posthorn-test-").unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = command(args, env);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Posthorn { name: args.join(" "), child, dir }
    }

    /// Runs a command to its end.
    pub fn run(args: &[&str]) -> Output {
        command(args, &[]).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn ok(args: &[&str]) -> String {
        let output = Posthorn::run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "posthorn {}: {}: {stderr}", args.join(" "), output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, both streams.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The file that holds its log.
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Waits until a line of its log contains this, and returns the line.
    pub async fn line(&mut self, contains: &str) -> String {
        let what = format!("a line with `{contains}` of posthorn {}", self.name);
        eventually(&what, async || {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(contains)) {
                return Ok(line.to_owned());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: it ended ({}): {log}", ended.unwrap());
            Err(log)
        })
        .await
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal to this process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it at once (SIGKILL).
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it (SIGSTOP) until [`Posthorn::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of posthorn {}", self.name);
        eventually(&what, async || self.child.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned())).await
    }

    /// Ends it in the way that leaves nothing behind: a standalone stops its own redis-server.
    fn end(&mut self) {
        if !self.runs() {
            return;
        }
        self.thaw();
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while self.runs() && begun.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill9();
    }
}

impl Drop for Posthorn {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- log of posthorn {} ---\n{}--- end ---", self.name, self.log());
        }
    }
}

/// Ends the process whose ID this file holds, if there is one: a redis-server whose standalone was killed.
pub fn kill_by_pid_file(file: &Path) {
    let pid = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Waits for an HTTP 200 on a path of the admin port.
pub async fn ready(admin: std::net::SocketAddr, path: &str) {
    eventually(&format!("200 from {path} of {admin}"), async || {
        let answer = super::client::get(admin, path).await.map_err(|error| error.to_string())?;
        holds(answer.status == 200, || format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)))
    })
    .await;
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    let ours = |name: &str| name.starts_with("POSTHORN_") || name.starts_with("OTEL_") || name == "RUST_LOG";
    command.args(args).env_clear().envs(std::env::vars().filter(|(name, _)| !ours(name)));
    command.envs(env.iter().copied());
    command
}
