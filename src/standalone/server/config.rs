//! The files of the private server: its configuration, and where its socket is.

use crate::standalone::data_dir;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest path of a Unix socket, bytes: 108 with the closing zero on Linux, 104 on macOS and BSD.
const LONGEST_SOCKET_PATH: usize = 103;

/// The directory `redis` in the data directory.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Makes the directory if it is not there.
    pub fn prepare(data_dir: &Path) -> Result<Files, data_dir::Error> {
        let directory = data_dir.join("redis");
        data_dir::make_private(&directory)?;
        Ok(Files { directory })
    }

    /// Where the server keeps its data.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("redis.log")
    }

    /// Takes the lock that a server holds for as long as it lives; `None` if one does.
    ///
    /// The server gets this open file as its standard input, so no other can be started on the same files, whatever became of us.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(self.directory.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where the socket of the last server was put.
    pub fn recorded_socket(&self) -> io::Result<PathBuf> {
        let path = std::fs::read(self.directory.join("socket-path"))?;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(&path)))
    }

    /// Chooses a place for the socket, in this directory if its path is short enough, and records it.
    pub fn choose_socket(&self) -> io::Result<PathBuf> {
        let socket = if fits(&self.directory) { self.directory.join("redis.sock") } else { self.runtime_directory()?.join("redis.sock") };
        std::fs::write(self.directory.join("socket-path"), socket.as_os_str().as_bytes())?;
        Ok(socket)
    }

    /// Writes the configuration; returns its path.
    pub fn write_config(&self, socket: &Path, max_memory: Option<u64>) -> io::Result<PathBuf> {
        let path = self.directory.join("redis.conf");
        data_dir::replace(&path, &self.config(socket, max_memory))?;
        Ok(path)
    }

    /// Nothing is acknowledged before it is on the disk, nothing is evicted, and nobody but this user can connect.
    fn config(&self, socket: &Path, max_memory: Option<u64>) -> String {
        let (directory, log) = (quoted(&self.directory), quoted(&self.log()));
        let (pid_file, socket) = (quoted(&self.directory.join("redis.pid")), quoted(socket));
        format!(
            "# written by posthorn at each start; changes are lost\n\
             port 0\nunixsocket {socket}\nunixsocketperm 700\n\
             dir {directory}\nlogfile {log}\npidfile {pid_file}\ndaemonize no\n\
             appendonly yes\nappendfsync always\nno-appendfsync-on-rewrite no\nsave \"\"\n\
             maxmemory {}\nmaxmemory-policy noeviction\n",
            max_memory.unwrap_or(0)
        )
    }

    /// A directory with a short path, for this user alone; the same one for the same data directory.
    fn runtime_directory(&self) -> io::Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        self.directory.hash(&mut hasher);
        let name = format!("posthorn-{:016x}", hasher.finish());
        let bases = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(std::env::temp_dir()), Some(PathBuf::from("/tmp"))];
        let usable = |base: &PathBuf| base.is_absolute() && base.is_dir() && fits(&base.join(&name));
        let base = bases.into_iter().flatten().find(usable);
        let directory = base.ok_or_else(|| io::Error::other("no directory with a short path for a socket; set TMPDIR=/tmp"))?.join(name);
        data_dir::make_private(&directory).map_err(io::Error::other)?;
        check_owner(&directory)?;
        Ok(directory)
    }
}

/// Others may write to `/tmp`: the directory must be ours and closed to them, and no symbolic link.
fn check_owner(directory: &Path) -> io::Result<()> {
    let metadata = directory.symlink_metadata()?;
    let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.permissions().mode() & 0o077 == 0;
    if ours {
        return Ok(());
    }
    Err(io::Error::other(format!("{} belongs to someone else or is open to others; remove it", directory.display())))
}

fn fits(directory: &Path) -> bool {
    directory.join("redis.sock").as_os_str().len() <= LONGEST_SOCKET_PATH
}

/// A path as a quoted word of redis.conf.
fn quoted(path: &Path) -> String {
    let mut word = String::from("\"");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' | b'\\' => word.extend(['\\', char::from(byte)]),
            b' '..=b'~' => word.push(char::from(byte)),
            _ => word.push_str(&format!("\\x{byte:02x}")),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_bytes_is_one_word() {
        assert_eq!(quoted(Path::new("/a b/\"c\"/\\é")), r#""/a b/\"c\"/\\\xc3\xa9""#);
    }

    #[test]
    fn a_long_data_directory_gets_its_socket_elsewhere() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let short = Files::prepare(base.path()).expect("writable");
        assert_eq!(short.choose_socket().expect("writable"), base.path().join("redis/redis.sock"));
        let long = Files::prepare(&base.path().join("x".repeat(100))).expect("writable");
        let socket = long.choose_socket().expect("a short place");
        assert!(socket.as_os_str().len() <= LONGEST_SOCKET_PATH);
        assert_eq!(long.recorded_socket().expect("recorded"), socket);
        assert_eq!(long.choose_socket().expect("the same place"), socket);
        std::fs::remove_dir(socket.parent().expect("a directory")).expect("it is empty");
    }

    #[test]
    fn the_lock_is_had_once() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let files = Files::prepare(base.path()).expect("writable");
        let lock = files.try_lock().expect("readable").expect("nobody has it");
        assert!(files.try_lock().expect("readable").is_none());
        drop(lock);
        assert!(files.try_lock().expect("readable").is_some());
    }
}
