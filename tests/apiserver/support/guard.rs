//! Processes and a folder that do not outlive the test, even if that is killed.
//!
//! A shell watches over them: it reads a pipe of the test process, whose end is the end of that process, however it came.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Each line it reads is the list of all processes at that moment. It outlives a Ctrl-C, which ends the test.
const SHELL: &str = r#"trap '' INT TERM HUP
while read -r line; do pids=$line; done
[ -z "$pids" ] || kill -KILL $pids 2>/dev/null
rm -rf "$1""#;

/// A folder, and the processes that live on it. When dropped, all are gone.
pub struct Guard {
    folder: PathBuf,
    watched: Mutex<Watched>,
    shell: Mutex<Child>,
}

struct Watched {
    pids: BTreeSet<u32>,
    shell: Option<ChildStdin>,
}

impl Guard {
    /// With an empty folder, in memory where the system has such a place.
    pub fn new(prefix: &str) -> Arc<Guard> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = TempDir::with_prefix_in(prefix, parent).unwrap().keep();
        let mut shell = Command::new("sh").args(["-c", SHELL, "guard"]).arg(&folder).stdin(Stdio::piped()).spawn().unwrap();
        let watched = Mutex::new(Watched { pids: BTreeSet::new(), shell: shell.stdin.take() });
        Arc::new(Guard { folder, watched, shell: Mutex::new(shell) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a process; what it prints goes into a file of the folder.
    pub fn spawn(self: &Arc<Guard>, command: &mut Command, log: &str) -> Process {
        let out = std::fs::File::options().create(true).append(true).open(self.file(log)).unwrap();
        let child = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {}: {error}", command.get_program().display()));
        self.tell(|pids| pids.insert(child.id()));
        Process { child, ended: None, guard: Arc::clone(self), log: self.file(log) }
    }

    fn tell(&self, change: impl FnOnce(&mut BTreeSet<u32>) -> bool) {
        let mut watched = self.watched.lock().unwrap();
        change(&mut watched.pids);
        let line: Vec<String> = watched.pids.iter().map(u32::to_string).collect();
        let shell = watched.shell.as_mut().expect("it is closed last");
        writeln!(shell, "{}", line.join(" ")).unwrap();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watched.lock().unwrap().shell = None;
        self.shell.lock().unwrap().wait().unwrap();
    }
}

/// A process under guard. Killed when dropped.
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    guard: Arc<Guard>,
    log: PathBuf,
}

impl Process {
    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
            if self.ended.is_some() {
                self.guard.tell(|pids| pids.remove(&self.child.id()));
            }
        }
        self.ended
    }

    /// Sends it a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }
    }

    /// Asks it to end (SIGTERM), and kills it if it has not after this long.
    pub fn terminate(&mut self, grace: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < grace {
            if let Some(status) = self.ended() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill9()
    }

    /// Ends it at once (SIGKILL).
    pub fn kill9(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// `exit code` of a process as Kubernetes would show it: 128 and the signal, if one ended it.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
