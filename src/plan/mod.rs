//! What a worker runs from: the validated destination, secrets resolved. The one type where both flows meet. Pure.
//!
//! The control plane (operator or standalone) makes a [`Plan`] for the worker and a [`Route`] for Redis from one
//! `EventDestination`; after that nobody reads the resource again.

pub mod resolve;

pub use resolve::{Address, Problem, Reason, Resolved, Surroundings, resolve};

use crate::filter::Filter;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The validated destination, secrets resolved, that a worker runs from. Never in Redis, logs, events or metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names this version of the plan, opaque; a worker reports it once it runs.
    pub id: String,
    /// The destination's UID: the name of its queue.
    pub uid: String,
    /// The bus it reads.
    pub bus: String,
    /// Namespace of the destination.
    pub namespace: String,
    /// Name of the destination.
    pub name: String,
    /// No attempt is made while true.
    pub suspend: bool,
    /// Where events go.
    pub sink: Sink,
    /// What is delivered in order, and how many requests may be in progress.
    #[serde(default)]
    pub ordering: Ordering,
    /// Most requests in a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How hard a delivery is tried.
    pub delivery: Delivery,
    /// Replicas of Redis that must have what was read and buried before anything later is sent (the bus's `durability.replicas`).
    #[serde(default)]
    pub replicas: u32,
}

impl Plan {
    /// The plan with every value blank that may be secret.
    pub fn without_secrets(&self) -> Plan {
        let Sink::Http(sink) = &self.sink;
        let blank = || Secret::new("");
        let sink = HttpSink {
            uri: blank(),
            headers: sink.headers.iter().map(|(name, _)| (name.clone(), blank())).collect(),
            auth: sink.auth.as_ref().map(|auth| match auth {
                Auth::Basic { username: _, password: _ } => Auth::Basic { username: blank(), password: blank() },
                Auth::Bearer(_) => Auth::Bearer(blank()),
                Auth::OAuth2(oauth2) => Auth::OAuth2(OAuth2 { client_secret: blank(), ..oauth2.clone() }),
            }),
            client_certificate: sink.client_certificate.as_ref().map(|_| ClientCertificate { chain: String::new(), key: blank() }),
            signing: sink.signing.iter().map(|_| blank()).collect(),
            ..sink.clone()
        };
        Plan { sink: Sink::Http(sink), ..self.clone() }
    }
}

/// What is delivered in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
pub enum Ordering {
    /// The whole destination is one lane.
    #[default]
    Strict,
    /// One lane for each value of an attribute; events without it share one.
    PerKey {
        /// The CloudEvents attribute.
        key_attribute: String,
        /// Most requests in progress at once.
        max_in_flight: u32,
    },
    /// None; retries that are due go before new events.
    Unordered {
        /// Most requests in progress at once.
        max_in_flight: u32,
    },
}

impl Ordering {
    /// Most requests in progress at once, at least 1.
    pub fn max_in_flight(&self) -> usize {
        match self {
            Ordering::Strict => 1,
            Ordering::PerKey { max_in_flight, .. } | Ordering::Unordered { max_in_flight } => (*max_in_flight).max(1) as usize,
        }
    }

    /// The word of the resource.
    pub fn as_str(&self) -> &'static str {
        match self {
            Ordering::Strict => "Strict",
            Ordering::PerKey { .. } => "PerKey",
            Ordering::Unordered { .. } => "Unordered",
        }
    }
}

/// Most requests in a period, spread evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Number of requests.
    pub requests: u32,
    /// The period.
    #[serde(with = "millis")]
    pub per: Duration,
}

/// Exactly one kind of sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sink {
    /// HTTP POST.
    Http(HttpSink),
}

/// An HTTP receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSink {
    /// Absolute http or https URL; may itself be a secret.
    pub uri: Secret,
    /// It is a Service of this cluster that was given by `ref`: its addresses may be private, whatever the egress policy says of those.
    #[serde(default)]
    pub in_cluster: bool,
    /// How an event is put into a request.
    pub format: Format,
    /// Headers added to each request, in order.
    pub headers: Vec<(String, Secret)>,
    /// Credentials sent with each request.
    pub auth: Option<Auth>,
    /// Limits of one batch, where the format is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// PEM certificates to trust instead of the system's.
    pub ca_bundle: Option<String>,
    /// What is presented to the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// Any certificate of the receiver is accepted, where the admin allows it.
    #[serde(default)]
    pub insecure_skip_verify: bool,
    /// Name expected in the receiver's certificate instead of the URL's host.
    pub server_name: Option<String>,
    /// Standard Webhooks secrets, newest first; all of them sign.
    pub signing: Vec<Secret>,
    /// Status codes that halt the destination at once.
    pub halt_on_status_codes: Vec<u16>,
    /// Longest `Retry-After` that is honoured; zero ignores the header.
    #[serde(with = "millis")]
    pub retry_after_max: Duration,
}

/// How an event is put into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Attributes as `ce-*` headers, data as the body.
    Binary,
    /// One JSON object.
    Structured,
    /// A JSON array of events.
    Batch,
}

/// Limits of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Most events in one request.
    pub max_events: usize,
    /// Most bytes of one request's body; a single larger event is sent alone.
    pub max_bytes: u64,
    /// How long the first event waits for others; zero sends what is there.
    #[serde(with = "millis")]
    pub max_wait: Duration,
}

/// A certificate and its key, to be presented to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// PEM certificates, the client's own first.
    pub chain: String,
    /// PEM private key.
    pub key: Secret,
}

/// Credentials for the `Authorization` header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Auth {
    /// HTTP Basic.
    Basic {
        /// User name.
        username: Secret,
        /// Password.
        password: Secret,
    },
    /// A fixed token.
    Bearer(Secret),
    /// A token that is asked for (RFC 6749, section 4.4).
    #[serde(rename = "oauth2")]
    OAuth2(OAuth2),
}

/// OAuth 2.0 client credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2 {
    /// Token endpoint; https.
    pub token_uri: String,
    /// Client identifier.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Audience to ask for.
    pub audience: Option<String>,
}

/// How hard a delivery is tried, whatever the kind of sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Retries after the first attempt; `None` for no limit.
    pub retry: Option<u32>,
    /// How the wait grows.
    pub backoff_policy: BackoffPolicy,
    /// Wait before the first retry.
    #[serde(with = "millis")]
    pub backoff_delay: Duration,
    /// Longest wait between retries.
    #[serde(with = "millis")]
    pub backoff_max: Duration,
    /// Longest duration of one attempt.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// An event that waited longer is given up; `None` for no limit.
    #[serde(with = "optional_millis", default)]
    pub max_event_age: Option<Duration>,
    /// What happens to an event that is given up.
    pub on_exhausted: OnExhausted,
    /// Most dead letters kept.
    pub max_dead_letters: u64,
    /// Name of a destination of the same namespace and bus that dead letters are sent to as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters_to: Option<String>,
}

/// How the wait between attempts grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackoffPolicy {
    /// Doubled each time.
    Exponential,
    /// By the first wait each time.
    Linear,
    /// Not at all.
    Constant,
}

/// What happens to an event that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnExhausted {
    /// Kept with the reason; the next is sent.
    DeadLetter,
    /// It stays; nothing overtakes it until a person acts.
    Block,
    /// Counted and forgotten.
    Drop,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What the router knows of a destination: a field of `ph:{bus}:routes`. No secret, no query of a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Mark of the control plane that wrote it; only that one deletes it. Empty if unknown.
    #[serde(default)]
    pub owner: String,
    /// Revision of the destination (`metadata.generation`); an older one never replaces a newer one.
    pub rev: i64,
    /// Namespace of the destination.
    pub namespace: String,
    /// Name of the destination.
    pub name: String,
    /// When the destination was created (RFC 3339).
    pub created: String,
    /// Where events go, as shown to people.
    #[serde(rename = "sinkURI")]
    pub sink_uri: String,
    /// An event is wanted if every one of these matches.
    pub filters: Vec<Filter>,
    /// Whether it takes new events.
    pub state: RouteState,
    /// Whether delivery is suspended, as shown to people.
    pub suspend: bool,
    /// Dead letters older than this are removed.
    #[serde(with = "millis")]
    pub dead_letter_max_age: Duration,
    /// Most that may wait, and what is dropped beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<BacklogLimit>,
    /// Name of a destination of the same namespace and bus that dead letters are sent to as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters_to: Option<String>,
    /// It goes on delivering what it has when it is deleted. Outside a cluster; in one the object itself says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// What it refers to that is missing: its events are queued and wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<Unresolved>,
}

/// How a destination is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Longest time.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// When what is left is removed, milliseconds since the epoch; `None` while it is not deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Most that may wait for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BacklogLimit {
    /// Most events; `None` for no limit.
    pub max_events: Option<u64>,
    /// Most bytes; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// What is dropped.
    pub on_overflow: OnOverflow,
}

/// Which event is dropped when the backlog limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnOverflow {
    /// The one that comes.
    DropNewest,
    /// The one that waits longest.
    DropOldest,
}

/// Why no worker may run a destination yet, as shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unresolved {
    /// One word in CamelCase, the reason of the condition Resolved.
    pub reason: String,
    /// What is missing, and what to do. Never a value of a Secret.
    pub message: String,
}

/// Whether a destination takes new events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// It does.
    Open,
    /// It only delivers what it has.
    Closed,
}

/// Where a new destination begins to read its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Events accepted from now on.
    Latest,
    /// All that the bus still holds.
    Earliest,
    /// Events accepted since then: milliseconds since the epoch.
    Since(u64),
}

/// Durations as whole milliseconds.
mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.as_millis().try_into().unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// Optional durations as whole milliseconds.
mod optional_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| u64::try_from(value.as_millis()).unwrap_or(u64::MAX)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}
