//! Who we are to a Redis that others may use as well, kept in the data directory.

use super::data_dir::{self, DataDir};
use crate::plan::Plan;
use aws_lc_rs::{hmac, rand};
use std::fmt::Write;
use std::io;

/// Bytes of the owner mark, and of the key for plan names after it.
const MARK: usize = 16;
const KEY: usize = 32;

/// The owner mark of this data directory, and a key to name plans by their content.
#[derive(Debug)]
pub struct Identity {
    owner: String,
    key: hmac::Key,
}

impl Identity {
    /// Reads it, or makes one at the first start.
    ///
    /// # Errors
    /// If the file `identity` cannot be read or written.
    pub fn load(data_dir: &DataDir) -> Result<Identity, data_dir::Error> {
        let path = data_dir.path().join("identity");
        let read = match std::fs::read(&path) {
            Ok(bytes) if bytes.len() == 2 * (MARK + KEY) => Ok(bytes),
            Ok(_) => {
                Err(io::Error::other("damaged; remove it to make a new one (destinations of the old one are then not deleted any more)"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = random_hex::<{ MARK + KEY }>();
                data_dir::replace(&path, &text).map(|()| text.into_bytes())
            }
            Err(error) => Err(error),
        };
        let bytes = read.map_err(|source| data_dir::Error::Io { path, source })?;
        let (mark, key) = bytes.split_at(2 * MARK);
        Ok(Identity { owner: format!("{OWNER_PREFIX}{}", String::from_utf8_lossy(mark)), key: hmac::Key::new(hmac::HMAC_SHA256, key) })
    }

    /// The mark that routes of this data directory carry: only those are ever deleted.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// A name that changes with the content of a plan, and with nothing else: the same after a restart.
    ///
    /// Keyed, because the name is shown in Redis and a plan holds secrets that could be guessed from a bare hash.
    pub fn plan_id(&self, plan: &Plan) -> String {
        let unnamed = Plan { id: String::new(), ..plan.clone() };
        let text = serde_json::to_vec(&unnamed).expect("strings and numbers are always JSON");
        hex(&hmac::sign(&self.key, &text).as_ref()[..MARK])
    }
}

/// What the owner mark of every standalone begins with.
pub const OWNER_PREFIX: &str = "standalone/";

/// 128 random bits: the UID of a new destination.
pub fn random_uid() -> String {
    random_hex::<16>()
}

fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    hex(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_on_one_data_directory() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let data_dir = DataDir::open(base.path()).expect("nobody holds it");
        let first = Identity::load(&data_dir).expect("writable");
        let second = Identity::load(&data_dir).expect("readable");
        assert_eq!(first.owner(), second.owner());
        assert_eq!(hmac::sign(&first.key, b"x").as_ref(), hmac::sign(&second.key, b"x").as_ref());
        std::fs::write(base.path().join("identity"), "short").expect("writable");
        Identity::load(&data_dir).expect_err("it is damaged");
    }
}
