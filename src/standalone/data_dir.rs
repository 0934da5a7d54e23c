//! The data directory: what a standalone Posthorn keeps between two runs. One process at a time holds it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The environment variable that names the data directory, for standalone and for every command.
pub const VARIABLE: &str = "POSTHORN_DATA_DIR";

/// A data directory that this process holds; given back when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no home directory to put it into.
    #[error("no place for the data directory: neither XDG_STATE_HOME nor HOME is set; give --data-dir or {VARIABLE}")]
    NoHome,
    /// Another standalone runs on it.
    #[error("another `posthorn standalone` ({holder}) runs on {}; stop it, or give this one another --data-dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// `pid 123`, or `pid unknown`.
        holder: String,
    },
    /// It cannot be made, read or written.
    #[error("data directory {}: {source}", path.display())]
    Io {
        /// What was to be made, read or written.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

/// Where the data directory is unless a flag or `POSTHORN_DATA_DIR` says otherwise: `$XDG_STATE_HOME/posthorn`, else `~/.local/state/posthorn`.
///
/// # Errors
/// [`Error::NoHome`] where neither variable holds an absolute path.
pub fn default_path() -> Result<PathBuf, Error> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("posthorn"))
        .ok_or(Error::NoHome)
}

impl DataDir {
    /// Makes the directory if it is not there, for this user alone, and takes it for this process.
    ///
    /// # Errors
    /// [`Error::InUse`] with the pid of the process that holds it; [`Error::Io`] if it cannot be made or written.
    pub fn open(path: &Path) -> Result<DataDir, Error> {
        make_private(path)?;
        let path = path.canonicalize().map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let lock = take(&path)?;
        Ok(DataDir { path, _lock: lock })
    }

    /// Its absolute path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory and what is missing above it, open to this user alone. One that is there already keeps its mode.
pub(super) fn make_private(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// Replaces a file as a whole, readable by this user alone: who reads it sees the old text or the new one.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// Locks the file `lock` and writes our pid into it, for the message of whoever comes second.
fn take(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let io = |source| Error::Io { path: path.clone(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::InUse { path: directory.to_owned(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id())).map_err(io)?;
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => format!("pid {}", text.trim()),
        _ => "pid unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_the_pid_of_the_first() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let path = base.path().join("a/b");
        let first = DataDir::open(&path).expect("nobody holds it");
        let error = DataDir::open(&path).expect_err("the first holds it").to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        DataDir::open(&path).expect("the first gave it back");
    }
}
