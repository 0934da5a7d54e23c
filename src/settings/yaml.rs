//! `posthorn.yaml`, read strictly: an unknown field, a wrong type or a value out of bounds is an error with its place.

use super::units::{duration, percent, quantity, size};
use super::{BusSettings, DEFAULT_BUS, Durability, Error, Fsync, OwnRedis, Producer, RedisAddress, Settings, Size, WhenFull};
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawSettings {
    #[serde(default)]
    buses: BTreeMap<String, Option<RawBus>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawBus {
    #[serde(default)]
    retention: RawRetention,
    backlog_quota: Option<Text>,
    watermark: Option<Text>,
    when_full: Option<RawWhenFull>,
    dedupe_window: Option<Text>,
    max_event_bytes: Option<Text>,
    #[serde(default)]
    durability: RawDurability,
    allowed_namespaces: Option<Vec<Text>>,
    #[serde(default)]
    producers: Vec<RawProducer>,
    redis: Option<RawRedis>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRedis {
    url: Option<Text>,
    url_file: Option<Text>,
    ca_file: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetention {
    age: Option<Text>,
    bytes: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDurability {
    fsync: Option<RawFsync>,
    replicas: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawProducer {
    name: Text,
    bearer_token_file: Option<Text>,
    signing_secret_file: Option<Text>,
    #[serde(default)]
    source_prefixes: Vec<Text>,
    rate: Option<RawRate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    requests: Spanned<u32>,
    per: Option<Text>,
}

#[derive(Clone, Copy, Deserialize)]
enum RawWhenFull {
    Shed,
    Refuse,
}

#[derive(Clone, Copy, Deserialize)]
enum RawFsync {
    Always,
    EverySecond,
}

/// A scalar with its place, to be read further.
type Text = Spanned<String>;

/// Reads the text of a settings file; relative paths in it are relative to `base`.
pub(super) fn parse(text: &str, base: &Path) -> Result<Settings, Error> {
    let raw: RawSettings = if text.trim().is_empty() { RawSettings { buses: BTreeMap::new() } } else { from_yaml(text)? };
    let mut settings = Settings::default();
    for (name, bus) in raw.buses {
        let field = format!("buses.{name}");
        if !is_label(&name) {
            return Err(Error::at(None, &field, "a bus is named like a DNS label: at most 63 of a-z, 0-9 and -, not at the ends"));
        }
        settings.buses.insert(name, bus.unwrap_or_default().check(&field, base)?);
    }
    debug_assert!(settings.buses.contains_key(DEFAULT_BUS));
    Ok(settings)
}

fn from_yaml(text: &str) -> Result<RawSettings, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        Error::at(line, "", error.without_snippet().to_string())
    })
}

impl RawBus {
    fn check(self, field: &str, base: &Path) -> Result<BusSettings, Error> {
        let preset = BusSettings::default();
        let at = |name: &str| format!("{field}.{name}");
        let RawBus { retention, backlog_quota, watermark, when_full, dedupe_window, max_event_bytes, durability, .. } = self;
        Ok(BusSettings {
            retention_age: span(retention.age, &at("retention.age"), Duration::from_secs(1)..=HOUR * 8760, preset.retention_age)?,
            retention_bytes: share(retention.bytes, &at("retention.bytes"), preset.retention_bytes)?,
            backlog_quota: share(backlog_quota, &at("backlogQuota"), preset.backlog_quota)?,
            watermark: read(watermark, &at("watermark"), percent)?.unwrap_or(preset.watermark),
            when_full: when_full.map_or(preset.when_full, WhenFull::from),
            dedupe_window: span(dedupe_window, &at("dedupeWindow"), Duration::from_secs(1)..=HOUR * 168, preset.dedupe_window)?,
            max_event_bytes: event_bytes(max_event_bytes, &at("maxEventBytes"))?.unwrap_or(preset.max_event_bytes),
            durability: durability.check(&at("durability"), preset.durability)?,
            allowed_namespaces: namespaces(self.allowed_namespaces, &at("allowedNamespaces"))?,
            producers: producers(self.producers, &at("producers"), base)?,
            redis: self.redis.map(|redis| redis.check(&at("redis"), base)).transpose()?,
        })
    }
}

impl RawRedis {
    fn check(self, field: &str, base: &Path) -> Result<OwnRedis, Error> {
        let address = match (self.url, path(self.url_file, &format!("{field}.urlFile"), base)?) {
            (Some(url), None) => RedisAddress::Url(url.value),
            (None, Some(file)) => RedisAddress::File(file),
            (Some(url), Some(_)) => return Err(Error::at(Some(url.referenced.line()), field, "give url or urlFile, not both")),
            (None, None) => {
                return Err(Error::at(None, field, "needs url, or urlFile (a file with the URL, where it holds a password)"));
            }
        };
        Ok(OwnRedis { address, ca_file: path(self.ca_file, &format!("{field}.caFile"), base)? })
    }
}

impl RawDurability {
    fn check(self, field: &str, preset: Durability) -> Result<Durability, Error> {
        let replicas = match self.replicas {
            Some(replicas) if replicas.value > 16 => {
                let line = replicas.referenced.line();
                return Err(Error::at(Some(line), &format!("{field}.replicas"), "at most 16 replicas can be waited for"));
            }
            Some(replicas) => replicas.value,
            None => preset.replicas,
        };
        Ok(Durability { fsync: self.fsync.map_or(preset.fsync, Fsync::from), replicas })
    }
}

impl RawProducer {
    fn check(self, field: &str, base: &Path) -> Result<Producer, Error> {
        let name = label(self.name, &format!("{field}.name"))?;
        if self.bearer_token_file.is_none() && self.signing_secret_file.is_none() {
            let detail = format!("producer `{name}` needs bearerTokenFile or signingSecretFile, or it could never publish");
            return Err(Error::at(None, field, detail));
        }
        Ok(Producer {
            name,
            bearer_token_file: path(self.bearer_token_file, &format!("{field}.bearerTokenFile"), base)?,
            signing_secret_file: path(self.signing_secret_file, &format!("{field}.signingSecretFile"), base)?,
            source_prefixes: prefixes(self.source_prefixes, &format!("{field}.sourcePrefixes"))?,
            rate: self.rate.map(|rate| rate.check(&format!("{field}.rate"))).transpose()?,
        })
    }
}

impl RawRate {
    fn check(self, field: &str) -> Result<(u32, Duration), Error> {
        if self.requests.value == 0 {
            return Err(Error::at(Some(self.requests.referenced.line()), &format!("{field}.requests"), "must be at least 1"));
        }
        let per = span(self.per, &format!("{field}.per"), Duration::from_millis(1)..=HOUR * 24, Duration::from_secs(1))?;
        Ok((self.requests.value, per))
    }
}

impl From<RawWhenFull> for WhenFull {
    fn from(raw: RawWhenFull) -> WhenFull {
        match raw {
            RawWhenFull::Shed => WhenFull::Shed,
            RawWhenFull::Refuse => WhenFull::Refuse,
        }
    }
}

impl From<RawFsync> for Fsync {
    fn from(raw: RawFsync) -> Fsync {
        match raw {
            RawFsync::Always => Fsync::Always,
            RawFsync::EverySecond => Fsync::EverySecond,
        }
    }
}

/// Reads a scalar by `parse`; its error gets the place.
fn read<T>(text: Option<Text>, field: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, Error> {
    text.map(|text| parse(&text.value).map_err(|detail| Error::at(Some(text.referenced.line()), field, detail))).transpose()
}

fn span(text: Option<Text>, field: &str, bounds: std::ops::RangeInclusive<Duration>, preset: Duration) -> Result<Duration, Error> {
    let within = |text: &str| match duration(text)? {
        value if bounds.contains(&value) => Ok(value),
        _ => Err(format!("`{text}` must be between {:?} and {} h", bounds.start(), bounds.end().as_secs() / 3600)),
    };
    Ok(read(text, field, within)?.unwrap_or(preset))
}

fn share(text: Option<Text>, field: &str, preset: Size) -> Result<Size, Error> {
    Ok(read(text, field, size)?.unwrap_or(preset))
}

fn event_bytes(text: Option<Text>, field: &str) -> Result<Option<u64>, Error> {
    read(text, field, |text| match quantity(text)? {
        bytes @ 1..=0x100_0000 => Ok(bytes),
        _ => Err(format!(
            "`{text}` must be between 1 byte and 16Mi: larger things belong into an object store, with an event that names them"
        )),
    })
}

fn namespaces(names: Option<Vec<Text>>, field: &str) -> Result<Option<Vec<String>>, Error> {
    names.map(|names| names.into_iter().map(|name| label(name, field)).collect()).transpose()
}

fn producers(raw: Vec<RawProducer>, field: &str, base: &Path) -> Result<Vec<Producer>, Error> {
    let mut names = BTreeSet::new();
    let mut producers = Vec::new();
    for (index, producer) in raw.into_iter().enumerate() {
        let line = producer.name.referenced.line();
        let producer = producer.check(&format!("{field}[{index}]"), base)?;
        if !names.insert(producer.name.clone()) {
            return Err(Error::at(Some(line), &format!("{field}[{index}].name"), format!("`{}` is there twice", producer.name)));
        }
        producers.push(producer);
    }
    Ok(producers)
}

fn prefixes(raw: Vec<Text>, field: &str) -> Result<Vec<String>, Error> {
    let not_empty = |text: Text| match text.value.is_empty() {
        true => {
            Err(Error::at(Some(text.referenced.line()), field, "an empty prefix allows every source: leave sourcePrefixes out for that"))
        }
        false => Ok(text.value),
    };
    raw.into_iter().map(not_empty).collect()
}

fn path(text: Option<Text>, field: &str, base: &Path) -> Result<Option<PathBuf>, Error> {
    read(text, field, |text| match text.is_empty() {
        true => Err("must name a file".to_owned()),
        false => Ok(base.join(text)),
    })
}

fn label(text: Text, field: &str) -> Result<String, Error> {
    if is_label(&text.value) {
        return Ok(text.value);
    }
    let detail = format!("`{}` is not a DNS label: at most 63 of a-z, 0-9 and -, not at the ends", text.value);
    Err(Error::at(Some(text.referenced.line()), field, detail))
}

/// RFC 1123 label.
fn is_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Error> {
        parse(text, Path::new("/etc/posthorn"))
    }

    fn refusal(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn every_field_is_read() {
        let text = "
buses:
  orders:
    retention: {age: 48h, bytes: 1Gi}
    backlogQuota: 30%
    watermark: 80%
    whenFull: Refuse
    dedupeWindow: 5m
    maxEventBytes: 262144
    durability: {fsync: EverySecond, replicas: 1}
    allowedNamespaces: [shop]
    producers:
    - name: checkout
      bearerTokenFile: tokens/checkout
      signingSecretFile: /run/secrets/checkout
      sourcePrefixes: [/shop/]
      rate: {requests: 100, per: 10s}
    redis: {urlFile: redis/orders, caFile: /run/secrets/redis-ca}
";
        let settings = read(text).unwrap();
        let expected = BusSettings {
            retention_age: HOUR * 48,
            retention_bytes: Size::Bytes(1 << 30),
            backlog_quota: Size::Percent(30),
            watermark: 80,
            when_full: WhenFull::Refuse,
            dedupe_window: Duration::from_secs(300),
            max_event_bytes: 262_144,
            durability: Durability { fsync: Fsync::EverySecond, replicas: 1 },
            allowed_namespaces: Some(vec!["shop".to_owned()]),
            producers: vec![Producer {
                name: "checkout".to_owned(),
                bearer_token_file: Some("/etc/posthorn/tokens/checkout".into()),
                signing_secret_file: Some("/run/secrets/checkout".into()),
                source_prefixes: vec!["/shop/".to_owned()],
                rate: Some((100, Duration::from_secs(10))),
            }],
            redis: Some(OwnRedis {
                address: RedisAddress::File("/etc/posthorn/redis/orders".into()),
                ca_file: Some("/run/secrets/redis-ca".into()),
            }),
        };
        assert_eq!(settings.buses["orders"], expected);
        assert_eq!(settings.buses["default"], BusSettings::default());
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        for text in ["", "# nothing\n", "buses: {}", "buses: {default: {}}", "buses:\n  default:\n"] {
            assert_eq!(read(text).expect(text), Settings::default(), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_reported_with_line_and_field() {
        let cases = [
            ("buses:\n  default:\n    retension: {}\n", "line 3", "retension"),
            ("buses:\n  default:\n    dedupeWindow: 10\n", "line 3", "buses.default.dedupeWindow"),
            ("buses:\n  default:\n    dedupeWindow: 0s\n", "line 3", "between 1s and 168 h"),
            ("buses:\n  default:\n    maxEventBytes: 17Mi\n", "line 3", "buses.default.maxEventBytes"),
            ("buses:\n  default:\n    watermark: 0%\n", "line 3", "buses.default.watermark"),
            ("buses:\n  default:\n    whenFull: Panic\n", "line 3", "Panic"),
            ("buses:\n  default:\n    durability: {replicas: 17}\n", "line 3", "buses.default.durability.replicas"),
            ("buses:\n  default:\n    producers:\n    - name: a\n      bearerTokenFile: ''\n", "line 5", "producers[0].bearerTokenFile"),
            ("buses:\n  default:\n    allowedNamespaces: [Shop]\n", "line 3", "Shop"),
            ("buses:\n  default:\n    redis: {url: 'redis://a', urlFile: b}\n", "line 3", "not both"),
            ("buses:\n  default:\n    redis: {}\n", "", "needs url, or urlFile"),
            ("buses:\n  default:\n    redis: {url: 'rediss://a', caFile: ''}\n", "line 3", "redis.caFile"),
            ("buses: [\n", "line", ""),
        ];
        for (text, line, field) in cases {
            let said = refusal(text);
            assert!(said.contains(line) && said.contains(field), "{text}\n{said}");
        }
    }

    #[test]
    fn a_producer_needs_a_credential_and_a_name_of_its_own() {
        assert!(refusal("buses: {default: {producers: [{name: a}]}}").contains("bearerTokenFile or signingSecretFile"));
        let twice = "buses: {default: {producers: [{name: a, bearerTokenFile: x}, {name: a, bearerTokenFile: y}]}}";
        assert!(refusal(twice).contains("`a` is there twice"));
    }

    #[test]
    fn a_bus_is_named_like_a_dns_label() {
        for name in ["Orders", "a.b", "-a", "a-", "'{x}'", "''"] {
            assert!(refusal(&format!("buses: {{{name}: {{}}}}")).contains("DNS label"), "{name}");
        }
    }
}
