//! The event, as JSON or as the body of a request.

use crate::event::http::{Received, decode};
use crate::event::{Event, Limits, json};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::io::Read as _;
use std::path::Path;

/// Reads the event, and checks it as ingest does.
pub(super) fn read(file: &Path, headers: &[String]) -> anyhow::Result<Event> {
    let body = bytes(file).with_context(|| format!("cannot read {}", file.display()))?;
    if headers.is_empty() {
        return json::event(&body, &Limits::default()).with_context(|| format!("{} is no CloudEvent in JSON", file.display()));
    }
    let headers = headers.iter().map(|header| parse(header)).collect::<anyhow::Result<HeaderMap>>()?;
    match decode(&headers, body, &Limits::default()).context("these headers and this body are no CloudEvent")? {
        Received::One(event) => Ok(event),
        Received::Batch(_) => bail!("a batch holds several events: give one of them"),
    }
}

fn bytes(file: &Path) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.read_to_end(&mut bytes)?;
    }
    Ok(bytes.into())
}

fn parse(header: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let wrong = || format!("`{header}` is no header: write it like 'ce-type: com.example.order'");
    let (name, value) = header.split_once(':').with_context(wrong)?;
    Ok((name.trim().parse().with_context(wrong)?, value.trim().parse().with_context(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(parse("CE-Type:  a: b ").unwrap(), (HeaderName::from_static("ce-type"), HeaderValue::from_static("a: b")));
        for wrong in ["", "ce-type", "a b: c"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("is no header"), "{wrong}");
        }
    }
}
