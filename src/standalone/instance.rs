//! What a running standalone tells the commands: the file `instance.json` in its data directory.

use super::data_dir::{self, DataDir};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Where a running standalone is to be found.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// Its process.
    pub pid: u32,
    /// URL of its Redis; may hold a password, so the file is readable by its user alone.
    pub redis: String,
    /// File with the authorities that certify it, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_ca: Option<PathBuf>,
    /// Address where it takes events, `host:port`.
    pub listen: String,
    /// Address of its admin port, `host:port`.
    pub admin_listen: String,
    /// The folder of destinations, absolute.
    pub folder: PathBuf,
}

/// Why no running standalone was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None runs on this data directory.
    #[error(
        "no standalone runs on {}; start one (`posthorn standalone DIR`), or say where Redis is (--redis URL), or name its --data-dir",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is of another version, or damaged.
    #[error("{}: not understood (line {line}); restart the standalone that wrote it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        line: usize,
    },
}

/// Tells the commands about this process.
///
/// # Errors
/// [`Error::Io`] if the data directory cannot be written.
pub fn write(data_dir: &DataDir, instance: &Instance) -> Result<(), Error> {
    let path = file(data_dir.path());
    let text = serde_json::to_string_pretty(instance).expect("strings and numbers are always JSON");
    data_dir::replace(&path, &text).map_err(|source| Error::Io { path, source })
}

/// Finds the standalone that runs on this data directory. One that was killed may be named too: its Redis may still be there.
///
/// # Errors
/// [`Error::NotRunning`] if there is none; the others if the file cannot be read.
pub fn read(data_dir: &Path) -> Result<Instance, Error> {
    let path = file(data_dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotRunning(data_dir.to_owned())),
        Err(source) => return Err(Error::Io { path, source }),
    };
    serde_json::from_str(&text).map_err(|error| Error::Unreadable { path, line: error.line() })
}

/// Takes it back at an orderly end.
pub fn remove(data_dir: &DataDir) {
    // A file that stays is harmless: whoever follows it finds nobody there.
    let _ = std::fs::remove_file(file(data_dir.path()));
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("instance.json")
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("pid", &self.pid)
            .field("listen", &self.listen)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_read_again_by_this_user_alone() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let data_dir = DataDir::open(base.path()).expect("nobody holds it");
        let instance = Instance {
            pid: 7,
            redis: "redis://:canary@localhost".into(),
            redis_ca: Some("/etc/redis/ca.pem".into()),
            listen: "127.0.0.1:8080".into(),
            admin_listen: "127.0.0.1:9090".into(),
            folder: "/etc/destinations".into(),
        };
        assert!(matches!(read(data_dir.path()), Err(Error::NotRunning(_))));
        write(&data_dir, &instance).expect("writable");
        assert_eq!(read(data_dir.path()).expect("just written"), instance);
        let mode = file(data_dir.path()).metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{instance:?}").contains("canary"));
        remove(&data_dir);
        assert!(matches!(read(data_dir.path()), Err(Error::NotRunning(_))));
    }
}
