//! Where each destination began: the file `starts.json` in the data directory, so that a Redis that lost everything is healed.

use super::data_dir::{self, DataDir};
use crate::event::Sequence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// What is recorded of one destination when it is created, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its UID.
    pub uid: String,
    /// The bus it reads.
    pub bus: String,
    /// `spec.startFrom`, and `spec.startTime` after a space.
    pub start_from: String,
    /// The position it began to read from.
    #[serde(with = "redis_form")]
    pub start: Sequence,
    /// When it was created (RFC 3339).
    pub created: String,
}

/// The records of a data directory, by `namespace/name`.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    records: BTreeMap<String, Record>,
}

impl Records {
    /// Reads them; none at the first start.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn load(data_dir: &DataDir) -> Result<Records, data_dir::Error> {
        let path = data_dir.path().join("starts.json");
        let records = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        match records {
            Ok(records) => Ok(Records { path, records }),
            Err(source) => Err(data_dir::Error::Io { path, source }),
        }
    }

    /// The records, by `namespace/name`.
    pub fn all(&self) -> &BTreeMap<String, Record> {
        &self.records
    }

    /// Records a destination, or forgets it, on the disk before it returns.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set(&mut self, name: &str, record: Option<Record>) -> Result<(), data_dir::Error> {
        if self.records.get(name) == record.as_ref() {
            return Ok(());
        }
        match record {
            Some(record) => self.records.insert(name.to_owned(), record),
            None => self.records.remove(name),
        };
        let text = serde_json::to_string_pretty(&self.records).expect("strings are always JSON");
        data_dir::replace(&self.path, &text).map_err(|source| data_dir::Error::Io { path: self.path.clone(), source })
    }
}

/// A sequence as Redis writes it.
mod redis_form {
    use crate::event::Sequence;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(sequence: &Sequence, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(sequence)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sequence, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_there_after_a_restart() {
        let base = tempfile::tempdir().expect("a temporary directory");
        let data_dir = DataDir::open(base.path()).expect("nobody holds it");
        let record = Record {
            uid: "u1".into(),
            bus: "default".into(),
            start_from: "Latest".into(),
            start: "5-0".parse().expect("a sequence"),
            created: "2026-01-01T00:00:00Z".into(),
        };
        let mut records = Records::load(&data_dir).expect("none yet");
        records.set("shop/a", Some(record.clone())).expect("writable");
        records.set("shop/b", Some(record.clone())).expect("writable");
        records.set("shop/b", None).expect("writable");
        let again = Records::load(&data_dir).expect("readable");
        assert_eq!(again.all(), &BTreeMap::from([("shop/a".to_owned(), record)]));
    }
}
