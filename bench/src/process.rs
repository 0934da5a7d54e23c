//! Processes of a round: started on given cores, ended with it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends its process when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary to measure: `$POSTHORN`, or the release build of this repository.
pub fn posthorn() -> PathBuf {
    std::env::var_os("POSTHORN").map(PathBuf::from).expect("POSTHORN names the release build of posthorn; `make bench` sets it")
}

/// This program again, in another role.
pub fn own() -> PathBuf {
    std::env::current_exe().expect("a path")
}

/// A command on given cores (`0`, `1`, `0,1`).
pub fn on(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cores).arg(program).stdin(Stdio::null());
    command
}

pub fn start(mut command: Command) -> Running {
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"))
}

/// Runs to its end; its output as a number.
pub fn number(mut command: Command) -> f64 {
    let output = command.stdout(Stdio::piped()).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
}

pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

pub fn wait_for(address: SocketAddr) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "{address} does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An empty directory for one round.
pub fn scratch() -> PathBuf {
    let path = std::env::temp_dir().join(format!("posthorn-bench-{}-{}", std::process::id(), free().port()));
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

/// A Redis on given cores, with the append-only file synced every second; its URL.
pub fn redis(cores: &str, fsync: &str, directory: &Path) -> (Running, String) {
    let socket = directory.join("redis.sock");
    let mut command = on(cores, Path::new("redis-server"));
    command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", fsync]);
    command.arg("--unixsocket").arg(&socket).arg("--dir").arg(directory);
    let running = start(command);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    (running, format!("unix://{}", socket.display()))
}

/// A standalone on given cores with that folder.
pub fn standalone(cores: &str, folder: &Path, redis: &str, directory: &Path) -> (Running, SocketAddr) {
    let (listen, admin) = (free(), free());
    let mut command = on(cores, &posthorn());
    command.arg("standalone").arg(folder).args(["--redis", redis, "--listen", &listen.to_string(), "--admin-listen", &admin.to_string()]);
    command.arg("--data-dir").arg(directory.join("data"));
    let running = start(command);
    wait_for(listen);
    wait_ready(admin);
    (running, listen)
}

/// The ingest role alone, with those settings.
pub fn ingest(cores: &str, config: &Path, redis: &str) -> (Running, SocketAddr) {
    let (listen, admin) = (free(), free());
    let mut command = on(cores, &posthorn());
    command.args(["ingest", "--redis", redis, "--listen", &listen.to_string(), "--admin-listen", &admin.to_string(), "--config"]).arg(config);
    let running = start(command);
    wait_for(listen);
    wait_ready(admin);
    (running, listen)
}

fn wait_ready(admin: SocketAddr) {
    use std::io::{Read, Write};
    let started = Instant::now();
    loop {
        let mut page = String::new();
        if let Ok(mut stream) = TcpStream::connect(admin) {
            let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
            let _ = stream.read_to_string(&mut page);
        }
        if page.starts_with("HTTP/1.1 200") {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "not ready: {page}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
