//! One event from flags.

use crate::event::{Event, Limits, Mode, json};
use crate::settings::BusSettings;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The source where none is given.
const SOURCE: &str = "/posthorn/send";

/// Attributes and data of an event.
#[derive(Debug, clap::Args)]
#[group(id = "event", multiple = true)]
#[command(next_help_heading = "One event")]
pub(super) struct EventFlags {
    /// What happened, like com.example.order.created
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    event_type: Option<String>,
    /// Where it happened, a URI-reference [default: /posthorn/send]
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// Its id, unique within the source [default: a random UUID]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What it is about
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// When it happened, as in RFC 3339
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// An extension attribute; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    ext: Vec<String>,
    /// The data
    #[arg(long, value_name = "TEXT", conflicts_with = "data_file")]
    data: Option<String>,
    /// The data from a file, any bytes; - reads standard input
    #[arg(long, value_name = "FILE")]
    data_file: Option<PathBuf>,
    /// Media type of the data [default: application/json if it is JSON, else text/plain or application/octet-stream]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
}

/// What ingest allows on a bus with these settings.
pub(super) fn limits(settings: &BusSettings) -> Limits {
    Limits { max_event_bytes: settings.max_event_bytes, ..Limits::default() }
}

impl EventFlags {
    /// The event, checked as ingest checks one in binary mode; its data are the bytes as they were given.
    pub(super) fn event(&self, limits: &Limits) -> anyhow::Result<Event> {
        let data = self.data()?;
        let content_type = self.content_type.clone().or_else(|| data.as_deref().map(guess).map(String::from));
        let attributes = self.attributes(content_type.as_deref())?;
        let envelope = Bytes::from(serde_json::to_vec(&attributes).expect("a map of strings"));
        let checked = json::event(&envelope, limits)?;
        let data = data.unwrap_or_default();
        limits.check_event(data.len())?;
        Ok(Event { mode: Mode::Binary, data, ..checked })
    }

    /// The file that the data are read from.
    pub(super) fn data_file(&self) -> Option<&Path> {
        self.data_file.as_deref()
    }

    fn data(&self) -> anyhow::Result<Option<Bytes>> {
        match (&self.data, &self.data_file) {
            (Some(text), _) => Ok(Some(text.clone().into())),
            (None, Some(file)) => read(file).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn attributes(&self, content_type: Option<&str>) -> anyhow::Result<Map<String, Value>> {
        let mut attributes = Map::new();
        let mut add = |name: &str, value: &str| attributes.insert(name.to_owned(), value.into());
        add("specversion", "1.0");
        add("id", &self.id.clone().unwrap_or_else(random_uuid));
        add("source", self.source.as_deref().unwrap_or(SOURCE));
        let optional = [
            ("type", self.event_type.as_deref()),
            ("subject", self.subject.as_deref()),
            ("time", self.time.as_deref()),
            ("datacontenttype", content_type),
        ];
        for (name, value) in optional {
            value.map(|value| add(name, value));
        }
        for ext in &self.ext {
            let (name, value) = ext.split_once('=').with_context(|| format!("--ext {ext}: write it as NAME=VALUE"))?;
            ensure!(
                add(name, value).is_none(),
                "attribute `{name}` is given twice; --ext is for attributes that have no flag of their own"
            );
        }
        Ok(attributes)
    }
}

fn read(file: &Path) -> anyhow::Result<Bytes> {
    if file == Path::new("-") {
        let mut data = Vec::new();
        std::io::stdin().read_to_end(&mut data).context("cannot read standard input")?;
        return Ok(data.into());
    }
    Ok(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.into())
}

fn guess(data: &[u8]) -> &'static str {
    match std::str::from_utf8(data) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "application/json",
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    }
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> String {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: EventFlags,
        #[arg(long)]
        file: Option<PathBuf>,
    }

    fn event(flags: &[&str]) -> Result<Event, String> {
        let flags = Cli::try_parse_from([&["send"], flags].concat()).map_err(|error| error.to_string())?.flags;
        flags.event(&Limits::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_data_stays_as_it_was_given() {
        let event = event(&["--type", "t", "--id", "1", "--data", "{\"a\": 1.0}", "--ext", "k=v=w", "--subject", "s"]).unwrap();
        assert_eq!(event.data, "{\"a\": 1.0}");
        assert_eq!((event.mode, event.content_type.as_deref()), (Mode::Binary, Some("application/json")));
        let found: Vec<_> = event.attributes.iter().collect();
        let expected =
            [("datacontenttype", "application/json"), ("id", "1"), ("k", "v=w"), ("source", SOURCE), ("subject", "s"), ("type", "t")];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_content_type_is_guessed_unless_it_is_given() {
        let content_type = |flags: &[&str]| event(&[&["--type", "t"], flags].concat()).unwrap().content_type;
        assert_eq!(content_type(&[]), None);
        assert_eq!(content_type(&["--data", "hello"]).as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(content_type(&["--data", "7", "--content-type", "text/csv"]).as_deref(), Some("text/csv"));
        assert_eq!(guess(b"\xff\x00"), "application/octet-stream");
    }

    #[test]
    fn what_ingest_refuses_is_refused_with_the_attribute() {
        let cases = [
            (vec!["--type", ""], "attribute `type`"),
            (vec!["--type", "t", "--time", "noon"], "attribute `time`"),
            (vec!["--type", "t", "--source", "a b"], "attribute `source`"),
            (vec!["--type", "t", "--ext", "A=1"], "attribute `A`"),
            (vec!["--type", "t", "--ext", "a"], "NAME=VALUE"),
            (vec!["--type", "t", "--ext", "id=2"], "given twice"),
            (vec!["--type", "t", "--data-file", "/does/not/exist"], "cannot read"),
        ];
        for (flags, expected) in cases {
            let refused = event(&flags).unwrap_err();
            assert!(refused.contains(expected), "{flags:?}: {refused}");
        }
        let large = "x".repeat((1 << 20) + 1);
        assert!(event(&["--type", "t", "--data", &large]).unwrap_err().contains("are allowed"));
    }

    #[test]
    fn a_uuid_is_of_version_4_and_new_each_time() {
        let uuid = random_uuid();
        let shape: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(&uuid[14..15], "4");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        assert_ne!(uuid, random_uuid());
    }
}
