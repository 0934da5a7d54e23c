//! `posthorn standalone` with its own private Redis: killed, mistyped, started twice, searched for secrets.
//!
//! `POSTHORN_SOAK` is how many seconds the soak lasts, `POSTHORN_SEED` what it does.

mod alone;
mod files;
mod forwarded;
mod killed;
#[cfg(target_os = "linux")]
mod ports;
mod refused;
mod secrets;
mod tokens;
mod traces;

use crate::support::client::{self, Post};
use crate::support::eventually::holds;
use crate::support::stored::{self, Stored};
use crate::support::{Client, Posthorn, Redis, eventually, process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A folder, a data directory, and the standalone that works on them. Everything ends at once when it is dropped.
struct Place {
    dir: TempDir,
    standalone: Posthorn,
    /// Where it takes events now: another port after each start.
    listen: watch::Sender<SocketAddr>,
    admin: SocketAddr,
}

impl Place {
    /// Ready, with these objects in the folder, each in a file of its name.
    async fn start(objects: &[Value]) -> Place {
        Place::start_with(objects, &[]).await
    }

    /// The same with environment variables.
    async fn start_with(objects: &[Value], env: &[(&str, &str)]) -> Place {
        let dir = TempDir::with_prefix("posthorn-faults-").unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        for object in objects {
            std::fs::write(file(&dir, object["metadata"]["name"].as_str().unwrap()), object.to_string()).unwrap();
        }
        let standalone = launch(&dir, env);
        let mut place = Place { dir, standalone, listen: watch::channel(nowhere).0, admin: nowhere };
        place.is_ready().await;
        place
    }

    /// Starts it again on the same folder and data directory.
    async fn restart(&mut self) {
        self.standalone = launch(&self.dir, &[]);
        self.is_ready().await;
    }

    async fn is_ready(&mut self) {
        let line = self.standalone.line("running listen=").await;
        self.admin = address(&line, "admin_listen");
        self.listen.send_replace(address(&line, "listen"));
        process::ready(self.admin, "/readyz").await;
    }

    /// The data directory.
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The file of an object.
    fn file(&self, name: &str) -> PathBuf {
        file(&self.dir, name)
    }

    /// Its private Redis.
    fn redis(&self) -> Redis {
        Redis::at(PathBuf::from(std::fs::read_to_string(self.data().join("redis/socket-path")).unwrap()))
    }

    /// The process of its private Redis, once it answers.
    async fn redis_pid(&self) -> Pid {
        eventually("an answer of the private redis", async || {
            let mut connection = self.redis().connection().map_err(|error| error.to_string())?;
            let info: String = redis::cmd("INFO").arg("server").query(&mut connection).map_err(|error| error.to_string())?;
            let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
            Ok(Pid::from_raw(pid.unwrap()).unwrap())
        })
        .await
    }

    /// Ends the private Redis at once.
    async fn kill_redis(&self) {
        kill_process(self.redis_pid().await, Signal::KILL).unwrap();
    }

    /// What is stored of a destination, once everything is routed and it owes nothing.
    async fn settled(&self, name: &str) -> Stored {
        self.redis_pid().await;
        stored::settled(&self.redis(), "default", &format!("default/{name}")).await
    }

    fn uid(&self, name: &str) -> String {
        stored::uid(&self.redis(), "default", &format!("default/{name}")).unwrap()
    }

    /// A page of the admin port.
    async fn page(&self, path: &str) -> String {
        String::from_utf8_lossy(&client::get(self.admin, path).await.unwrap().body).into_owned()
    }

    /// Runs a command on the data directory; both streams.
    fn run(&self, args: &[&str]) -> String {
        let data = self.data();
        let output = Posthorn::run(&[args, &["--data-dir", data.to_str().unwrap()]].concat());
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Waits until a line of the log contains all of these, and returns it.
    async fn line(&self, parts: &[&str]) -> String {
        eventually(&format!("a line with {parts:?}"), async || {
            let log = self.standalone.log();
            let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned).ok_or_else(|| log.clone())
        })
        .await
    }

    /// A client of the present standalone.
    fn client(&self) -> Client {
        Client::new(*self.listen.borrow())
    }

    /// Posts numbered events until the number of the last one is reached or it is stopped, wherever the standalone listens.
    fn load(&self, numbers: std::ops::RangeInclusive<u64>) -> Load {
        let (listen, stop) = (self.listen.subscribe(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut client = Client::new(*listen.borrow());
            for number in numbers.take_while(|_| !stopped.load(Ordering::Relaxed)) {
                post_anywhere(&mut client, &listen, &Post::numbered(number)).await;
            }
            client
        });
        Load { task, stop }
    }
}

/// Posts an event until it is accepted, by a client of its own after each failure: the standalone may listen elsewhere now.
async fn post_anywhere(client: &mut Client, listen: &watch::Receiver<SocketAddr>, post: &Post) {
    while !client.post(post).await.is_ok_and(|answer| answer.status == 202) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = std::mem::replace(client, Client::new(*listen.borrow()));
        (client.accepted, client.uncertain) = (before.accepted, before.uncertain);
    }
}

/// A client that posts.
struct Load {
    task: JoinHandle<Client>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Waits until it has posted all.
    async fn joined(self) -> Client {
        self.task.await.unwrap()
    }

    /// Stops it; every event that it began to post is accepted.
    async fn stopped(self) -> Client {
        self.stop.store(true, Ordering::Relaxed);
        self.joined().await
    }
}

impl Drop for Place {
    /// The Redis first would be started again.
    fn drop(&mut self) {
        self.standalone.kill9();
        process::kill_by_pid_file(&self.data().join("redis/redis.pid"));
    }
}

fn file(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join("folder").join(name).with_extension("yaml")
}

fn launch(dir: &TempDir, env: &[(&str, &str)]) -> Posthorn {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let any = "127.0.0.1:0";
    Posthorn::start_with(
        &["standalone", &path("folder"), "--data-dir", &path("data"), "--listen", any, "--admin-listen", any],
        &[env, &[("NO_COLOR", "1")]].concat(),
    )
}

/// The address in a field of a line of a log.
fn address(line: &str, field: &str) -> SocketAddr {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address {field} in: {line}"))
}

/// Waits until a receiver has got this many requests.
async fn requests(receiver: &posthorn::receiver::Receiver, count: usize) {
    eventually(&format!("{count} requests"), async || holds(receiver.count() >= count, || receiver.count().to_string())).await;
}
