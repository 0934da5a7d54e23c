//! Finds a Redis or Valkey server on this machine that is new enough.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `--version` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    valkey: bool,
    major: u32,
    minor: u32,
    text: String,
}

/// Why no server can be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none on the PATH.
    #[error("neither redis-server nor valkey-server is on the PATH; install one ({hint}), or use a Redis that runs already (--redis URL)")]
    Missing {
        /// The command that installs one here.
        hint: &'static str,
    },
    /// There are only old ones.
    #[error(
        "{} is {version}, too old: Redis 7.0, Valkey 7.2 or newer is needed; install one ({hint}), or use a Redis that runs already (--redis URL)",
        path.display()
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
        /// The command that installs a newer one here.
        hint: &'static str,
    },
    /// It is there but does not say its version.
    #[error("{} --version: {reason}; is it a redis-server?", path.display())]
    Broken {
        /// The program.
        path: PathBuf,
        /// What happened instead.
        reason: String,
    },
}

/// The program that was asked for, else the first on the PATH that is new enough, `redis-server` before `valkey-server`.
///
/// # Errors
/// If there is none, or only ones that are too old or do not run.
pub fn program(wanted: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = wanted {
        return check(path.to_owned());
    }
    let mut first_error = None;
    for path in candidates(&std::env::var_os("PATH").unwrap_or_default()) {
        match check(path) {
            Ok(path) => return Ok(path),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| Error::Missing { hint: hint() }))
}

fn candidates(search: &std::ffi::OsStr) -> Vec<PathBuf> {
    let directories: Vec<PathBuf> = std::env::split_paths(search).collect();
    let named = |name: &'static str| directories.iter().map(move |directory| directory.join(name));
    named("redis-server").chain(named("valkey-server")).filter(|path| path.is_file()).collect()
}

fn check(path: PathBuf) -> Result<PathBuf, Error> {
    match version(&path) {
        Ok(version) if version.is_enough() => Ok(path),
        Ok(version) => Err(Error::TooOld { path, version, hint: hint() }),
        Err(reason) => Err(Error::Broken { path, reason }),
    }
}

fn version(path: &Path) -> Result<Version, String> {
    let output = Command::new(path).arg("--version").output().map_err(|error: io::Error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Version::parse(&text).ok_or_else(|| format!("answered {:?}", text.lines().next().unwrap_or_default()))
}

impl Version {
    /// Reads `Redis server v=7.0.15 sha=…` or `Valkey server v=8.0.1 sha=…`.
    fn parse(text: &str) -> Option<Version> {
        let (product, rest) = text.trim_start().split_once(" server v=")?;
        let valkey = match product {
            "Redis" => false,
            "Valkey" => true,
            _ => return None,
        };
        let text = rest.split_whitespace().next()?.to_owned();
        let mut numbers = text.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Version { valkey, major, minor, text })
    }

    fn is_enough(&self) -> bool {
        (self.major, self.minor) >= if self.valkey { (7, 2) } else { (7, 0) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.valkey { "Valkey" } else { "Redis" }, self.text)
    }
}

fn hint() -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install redis";
    }
    hint_for(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
}

/// The command for a Linux distribution, by the `ID` and `ID_LIKE` of its os-release file.
fn hint_for(os_release: &str) -> &'static str {
    let ids = os_release.lines().filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")));
    for id in ids.flat_map(|value| value.trim_matches('"').split(' ')) {
        match id {
            "debian" | "ubuntu" => return "sudo apt-get install redis-server",
            "fedora" | "rhel" => return "sudo dnf install valkey",
            "alpine" => return "sudo apk add valkey",
            "arch" => return "sudo pacman -S valkey",
            "suse" | "opensuse" => return "sudo zypper install redis",
            _ => {}
        }
    }
    "Redis 7.0, Valkey 7.2 or newer"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        let table = [
            ("Redis server v=7.0.15 sha=0:0 malloc=jemalloc", Some(true)),
            ("Redis server v=6.2.14 sha=0:0", Some(false)),
            ("Redis server v=8.2.2 sha=0", Some(true)),
            ("Valkey server v=7.2.0 sha=0", Some(true)),
            ("Valkey server v=10.0.0 sha=0", Some(true)),
            ("KeyDB server v=6.3.4", None),
            ("bash: no such thing", None),
        ];
        for (text, enough) in table {
            assert_eq!(Version::parse(text).map(|version| version.is_enough()), enough, "{text}");
        }
    }

    #[test]
    fn the_install_command_fits_the_distribution() {
        let table = [
            ("ID=debian\n", "apt-get"),
            ("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "apt-get"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf"),
            ("ID=alpine\n", "apk"),
            ("ID=nixos\n", "Redis 7.0"),
        ];
        for (text, part) in table {
            assert!(hint_for(text).contains(part), "{text}");
        }
    }

    #[test]
    fn a_program_that_is_no_redis_is_named() {
        let error = program(Some(Path::new("/bin/echo"))).expect_err("echo is no redis-server").to_string();
        assert!(error.contains("/bin/echo --version"), "{error}");
    }
}
