//! What a standalone lives on: a folder of destinations and a data directory.

use super::pieces::address;
use super::process::{Posthorn, kill_by_pid_file, ready};
use super::redis::Redis;
use super::stored::{Stored, settled, stored};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Folder and data directory. When dropped, a private redis-server that was left behind is ended.
pub struct Home {
    folder: TempDir,
    data: TempDir,
    addresses: Option<(SocketAddr, SocketAddr)>,
}

/// A running standalone.
pub struct Standalone {
    /// The process.
    pub process: Posthorn,
    /// Where it takes events.
    pub addr: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

impl Home {
    /// An empty folder and an empty data directory.
    pub fn new() -> Home {
        let dir = |what| TempDir::with_prefix(format!("posthorn-{what}-")).unwrap();
        Home { folder: dir("folder"), data: dir("data"), addresses: None }
    }

    /// With this text in `destinations.yaml`.
    pub fn with(text: &str) -> Home {
        let home = Home::new();
        home.write("destinations.yaml", text);
        home
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Writes a file of the folder, as a whole.
    pub fn write(&self, file: &str, text: &str) {
        let new = self.folder().join(format!(".{file}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder().join(file)).unwrap();
    }

    /// Removes a file of the folder.
    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder().join(file)).unwrap();
    }

    /// Starts a standalone with these flags; the second time on the same ports as the first.
    pub fn begin(&self, flags: &[&str]) -> Posthorn {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listen, admin) = self.addresses.unwrap_or((any, any));
        let (folder, data) = (self.folder().display().to_string(), self.data().display().to_string());
        let (listen, admin) = (listen.to_string(), admin.to_string());
        let mut args = vec!["standalone", &folder, "--data-dir", &data, "--listen", &listen, "--admin-listen", &admin];
        args.extend(flags);
        Posthorn::start(&args)
    }

    /// The same, and waits until it is ready.
    pub async fn start(&mut self, flags: &[&str]) -> Standalone {
        let mut process = self.begin(flags);
        let line = process.line("running listen=").await;
        let (addr, admin) = (address(&line, "listen"), address(&line, "admin_listen"));
        self.addresses = Some((addr, admin));
        ready(admin, "/readyz").await;
        Standalone { process, addr, admin }
    }

    /// Its private Redis.
    pub fn redis(&self) -> Redis {
        Redis::at(self.data().join("redis/redis.sock"))
    }

    /// Ends the private redis-server at once.
    pub fn kill9_redis(&self) {
        kill_by_pid_file(&self.redis_pid());
    }

    /// What the private Redis holds of a destination of namespace `default`.
    pub fn stored(&self, name: &str) -> Stored {
        stored(&self.redis(), "default", &format!("default/{name}"))
    }

    /// The same, once it owes nothing.
    pub async fn settled(&self, name: &str) -> Stored {
        settled(&self.redis(), "default", &format!("default/{name}")).await
    }

    fn redis_pid(&self) -> PathBuf {
        self.data().join("redis/redis.pid")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        kill_by_pid_file(&self.redis_pid());
    }
}

/// A destination that tries for ever, soon again; `more` are further lines of its spec, indented by two.
pub fn destination(name: &str, url: &str, more: &str) -> String {
    format!(
        "---\napiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata:\n  name: {name}\nspec:\n  sink:\n    http:\n      uri: {url}\n  \
         delivery: {{retry: -1, backoffPolicy: Constant, backoffDelay: 100ms, timeout: 2s}}\n{more}"
    )
}
