//! Who may publish on which bus, from which sources, how fast.

use super::credentials::{Proof, Signature, SigningSecret, Token};
use super::problem::Problem;
use super::rate::Bucket;
use crate::event::Event;
use crate::settings::{self, Settings};
use crate::telemetry::Throttle;
use http::HeaderMap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// How often files of credentials are read again.
const RELOAD: Duration = Duration::from_secs(10);

/// A file of credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("credentials of producer {producer}: {}: {reason}", file.display())]
pub struct CredentialError {
    producer: String,
    file: PathBuf,
    reason: String,
}

/// The producers of every bus that has any.
pub(super) struct Access {
    buses: BTreeMap<String, Vec<Arc<Producer>>>,
}

/// One producer, with what his files held when they were last read.
pub(super) struct Producer {
    settings: settings::Producer,
    keys: RwLock<Keys>,
    bucket: Option<Bucket>,
}

#[derive(Default)]
struct Keys {
    tokens: Vec<Token>,
    secrets: Vec<SigningSecret>,
}

/// Who sends a request, as far as its headers tell.
pub(super) enum Caller {
    /// The bus is open to everyone who reaches the port.
    Anyone,
    /// Proved by a token.
    Known(Arc<Producer>),
    /// To be proved when the body is there.
    Signed(Signature),
}

impl Access {
    /// Reads all files of credentials.
    pub(super) fn load(settings: &Settings) -> Result<Access, CredentialError> {
        let mut buses = BTreeMap::new();
        for (name, bus) in &settings.buses {
            let producers: Result<Vec<_>, _> = bus.producers.iter().map(Producer::load).collect();
            let producers = producers?;
            if !producers.is_empty() {
                buses.insert(name.clone(), producers);
            }
        }
        Ok(Access { buses })
    }

    /// Reads the files again and again, for as long as it is polled. A file that has become unusable changes nothing.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        static UNUSABLE: Throttle = Throttle::new(Duration::from_secs(60));
        loop {
            tokio::time::sleep(RELOAD).await;
            let access = Arc::clone(&self);
            let reloaded = tokio::task::spawn_blocking(move || access.reload()).await;
            if let (Ok(Err(error)), Some(suppressed)) = (reloaded, UNUSABLE.pass()) {
                tracing::warn!(%error, suppressed, "the credentials read before stay valid");
            }
        }
    }

    fn reload(&self) -> Result<(), CredentialError> {
        self.producers().map(|producer| producer.reload()).fold(Ok(()), Result::and)
    }

    fn producers(&self) -> impl Iterator<Item = &Arc<Producer>> {
        self.buses.values().flatten()
    }

    /// Looks at the headers, before the body is read.
    pub(super) fn admit(&self, bus: &str, headers: &HeaderMap, now: SystemTime) -> Result<Caller, Problem> {
        if !self.buses.contains_key(bus) {
            return Ok(Caller::Anyone);
        }
        match Proof::find(headers, now).map_err(Problem::Unauthorized)? {
            Proof::Signature(signature) => Ok(Caller::Signed(signature)),
            Proof::Token(token) => self.who(bus, |keys| keys.tokens.iter().any(|known| known.is(&token))).map(Caller::Known),
        }
    }

    /// Looks at the signature, now that the body is there.
    pub(super) fn identify(&self, bus: &str, caller: Caller, body: &[u8]) -> Result<Option<Arc<Producer>>, Problem> {
        match caller {
            Caller::Anyone => Ok(None),
            Caller::Known(producer) => Ok(Some(producer)),
            Caller::Signed(signature) => self.who(bus, |keys| keys.secrets.iter().any(|secret| signature.is_by(secret, body))).map(Some),
        }
    }

    /// The producer of this bus that the proof fits. One of another bus is known, but not allowed here.
    fn who(&self, bus: &str, fits: impl Fn(&Keys) -> bool) -> Result<Arc<Producer>, Problem> {
        let fits = |producer: &&Arc<Producer>| fits(&producer.keys.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(producer) = self.buses.get(bus).and_then(|producers| producers.iter().find(fits)) {
            return Ok(Arc::clone(producer));
        }
        match self.producers().any(|producer| fits(&producer)) {
            true => Err(Problem::Forbidden { detail: "these credentials are not for this bus".to_owned(), attribute: None, index: None }),
            false => Err(Problem::Unauthorized("these credentials are not valid")),
        }
    }
}

impl Producer {
    fn load(settings: &settings::Producer) -> Result<Arc<Producer>, CredentialError> {
        let bucket = settings.rate.map(|(events, per)| Bucket::new(events, per));
        let producer = Producer { settings: settings.clone(), keys: RwLock::default(), bucket };
        producer.reload()?;
        Ok(Arc::new(producer))
    }

    fn reload(&self) -> Result<(), CredentialError> {
        let tokens = self.read(self.settings.bearer_token_file.as_deref(), Token::read_all)?;
        let secrets = self.read(self.settings.signing_secret_file.as_deref(), SigningSecret::read_all)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Keys { tokens, secrets };
        Ok(())
    }

    fn read<T>(&self, file: Option<&Path>, parse: fn(&str) -> Result<Vec<T>, &'static str>) -> Result<Vec<T>, CredentialError> {
        let Some(file) = file else { return Ok(Vec::new()) };
        let unusable = |reason: String| CredentialError { producer: self.name().to_owned(), file: file.to_owned(), reason };
        let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        match parse(&text) {
            Ok(found) if found.is_empty() => Err(unusable("the file is empty".to_owned())),
            Ok(found) => Ok(found),
            Err(reason) => Err(unusable(reason.to_owned())),
        }
    }

    /// As in the settings.
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether this producer may send these events now; if so they count against its rate.
    pub(super) fn check(&self, events: &[Event], batch: bool, now: Instant) -> Result<(), Problem> {
        let prefixes = &self.settings.source_prefixes;
        let foreign = |event: &Event| !prefixes.iter().any(|prefix| event.attributes.source().starts_with(prefix));
        if !prefixes.is_empty()
            && let Some(index) = events.iter().position(foreign)
        {
            let detail = format!("producer {} may not send events of this source", self.name());
            return Err(Problem::Forbidden { detail, attribute: Some("source"), index: batch.then_some(index) });
        }
        match &self.bucket {
            Some(bucket) => bucket.take(events.len(), now).map_err(Problem::RateLimited),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Limits;
    use crate::event::http::{Received, decode};
    use bytes::Bytes;
    use http::HeaderValue;
    use std::io::Write;

    const YAML: &str = "
buses:
  orders:
    producers:
    - {name: checkout, bearerTokenFile: checkout, sourcePrefixes: [/shop/], rate: {requests: 2, per: 1h}}
  billing:
    producers:
    - {name: ledger, bearerTokenFile: ledger}
";

    fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
        std::fs::File::create(dir.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn access() -> (tempfile::TempDir, Access) {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, "checkout", "old-token\nnew-token\n");
        write(&dir, "ledger", "ledger-token");
        let access = Access::load(&Settings::parse(YAML, dir.path()).unwrap()).unwrap();
        (dir, access)
    }

    fn ask(access: &Access, bus: &str, token: &str) -> Result<Option<Arc<Producer>>, Problem> {
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())]);
        access.identify(bus, access.admit(bus, &headers, SystemTime::now())?, b"")
    }

    fn event(source: &str) -> Event {
        let names = ["ce-specversion", "ce-id", "ce-type", "ce-source"].map(http::HeaderName::from_static);
        let values = ["1.0", "1", "t", source].map(|value| HeaderValue::from_str(value).unwrap());
        match decode(&names.into_iter().zip(values).collect(), Bytes::new(), &Limits::default()) {
            Ok(Received::One(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_opens_its_own_bus_only() {
        let (_dir, access) = access();
        for token in ["old-token", "new-token"] {
            assert_eq!(ask(&access, "orders", token).unwrap().unwrap().name(), "checkout");
        }
        assert!(matches!(ask(&access, "orders", "ledger-token"), Err(Problem::Forbidden { .. })));
        assert!(matches!(ask(&access, "orders", "wrong"), Err(Problem::Unauthorized(_))));
        assert!(matches!(access.admit("orders", &HeaderMap::new(), SystemTime::now()), Err(Problem::Unauthorized(_))));
        assert!(ask(&access, "default", "whatever").unwrap().is_none(), "a bus without producers is open");
    }

    #[test]
    fn a_changed_file_counts_and_an_unusable_one_changes_nothing() {
        let (dir, access) = access();
        write(&dir, "ledger", "next-token");
        access.reload().unwrap();
        assert!(ask(&access, "billing", "next-token").is_ok() && ask(&access, "billing", "ledger-token").is_err());
        write(&dir, "ledger", "\n");
        assert!(access.reload().unwrap_err().to_string().contains("producer ledger"));
        assert!(ask(&access, "billing", "next-token").is_ok());
        write(&dir, "checkout", "only-token");
        assert!(access.reload().is_err());
        assert!(ask(&access, "orders", "only-token").is_ok(), "one bad file does not keep the others from being read");
    }

    #[test]
    fn a_missing_file_is_named_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let error = Access::load(&Settings::parse(YAML, dir.path()).unwrap()).err().unwrap().to_string();
        assert!(error.contains("ledger") && error.contains(&dir.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_producer_keeps_to_its_sources_and_its_rate() {
        let (_dir, access) = access();
        let checkout = ask(&access, "orders", "new-token").unwrap().unwrap();
        let now = Instant::now();
        let foreign = checkout.check(&[event("/shop/a"), event("/bank/b")], true, now);
        assert!(matches!(foreign, Err(Problem::Forbidden { index: Some(1), .. })), "{foreign:?}");
        assert!(checkout.check(&[event("/shop/a"), event("/shop/b")], true, now).is_ok());
        assert!(matches!(checkout.check(&[event("/shop/c")], false, now), Err(Problem::RateLimited(_))));
    }
}
