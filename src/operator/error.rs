//! Why a reconcile or a call failed. The class decides delay, label and log level.

use crate::bus::connection;
use prometheus_client::encoding::EncodeLabelValue;
use std::error::Error as _;
use std::fmt::Write;
use std::time::Duration;
use tracing::Level;

/// Reason of the condition Routed where a name belongs to somebody else's destination.
pub const NAME_TAKEN: &str = "NameTaken";

/// Why a reconcile or a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{doing}: {}", told(source))]
    Api {
        /// What was tried: `patch Secret posthorn-pool-0`.
        doing: String,
        /// What it said. No `#[source]`: it is told above, once.
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time; done or not, nobody knows.
    #[error("{doing}: no answer of the API server within {after:?}")]
    NoAnswer {
        /// What was tried.
        doing: String,
        /// How long it had.
        after: Duration,
    },
    /// Redis refused or did not answer.
    #[error("redis: {0}")]
    Redis(#[from] connection::Error),
    /// The whole reconcile took too long.
    #[error("took longer than {0:?}")]
    Timeout(Duration),
    /// Another operator leads now.
    #[error("no longer the leader")]
    NotLeading,
    /// Redis holds a newer revision of the route.
    #[error("redis holds a newer revision of the route of {0}")]
    Stale(String),
    /// Someone else's destination of the same name uses the same Redis.
    #[error("a destination {0} of another cluster or of a standalone is in this redis; rename one of them, or use another bus or redis")]
    NameTaken(String),
}

impl Error {
    /// Wraps what the API server said, with what was tried.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Api { doing, source: Box::new(source) }
    }

    /// Reason of the conditions of an object that could not be applied for it; `None` where it passes by itself, or nobody could be told.
    pub fn reason(&self) -> Option<&'static str> {
        match self.class() {
            _ if matches!(self, Error::NameTaken(_)) => Some(NAME_TAKEN),
            Class::Redis => Some("RedisUnavailable"),
            Class::Forbidden | Class::Invalid | Class::Internal => Some("ApplyFailed"),
            Class::Unavailable | Class::Conflict | Class::NotFound | Class::Terminating | Class::NotLeading => None,
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Error::Api { doing: _, source } => class_of_api(source),
            Error::NoAnswer { doing: _, after: _ } | Error::Timeout(_) => Class::Unavailable,
            Error::Redis(connection::Error::TooNew { bus: _, version: _ } | connection::Error::Protocol(_)) => Class::Internal,
            Error::Redis(_) => Class::Redis,
            Error::NotLeading => Class::NotLeading,
            Error::Stale(_) => Class::Conflict,
            Error::NameTaken(_) => Class::Invalid,
        }
    }
}

/// What kind of failure: decides how soon it is tried again, how loud it is told, and how it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Class {
    /// The API server does not answer, or says that it cannot now: time-out, connection, 408, 410, 429, 5xx.
    Unavailable,
    /// Someone else wrote first: 409.
    Conflict,
    /// Not allowed, or not recognised: 401, 403.
    Forbidden,
    /// The object or its kind is not there: 404.
    NotFound,
    /// What we sent is not accepted: 400, 413, 415, 422 and the like.
    Invalid,
    /// The namespace is being deleted.
    Terminating,
    /// Redis does not answer, or says that it cannot now.
    Redis,
    /// Another operator leads.
    NotLeading,
    /// A defect, or a version that we do not understand.
    Internal,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 9] = [
        Class::Unavailable,
        Class::Conflict,
        Class::Forbidden,
        Class::NotFound,
        Class::Invalid,
        Class::Terminating,
        Class::Redis,
        Class::NotLeading,
        Class::Internal,
    ];

    /// One word, for logs.
    pub fn word(self) -> &'static str {
        match self {
            Class::Unavailable => "Unavailable",
            Class::Conflict => "Conflict",
            Class::Forbidden => "Forbidden",
            Class::NotFound => "NotFound",
            Class::Invalid => "Invalid",
            Class::Terminating => "Terminating",
            Class::Redis => "Redis",
            Class::NotLeading => "NotLeading",
            Class::Internal => "Internal",
        }
    }

    /// How loud it is told; see `docs/logging.md`.
    pub fn level(self) -> Level {
        match self {
            Class::Unavailable | Class::Forbidden | Class::Invalid | Class::Redis => Level::WARN,
            Class::Conflict | Class::NotFound | Class::Terminating | Class::NotLeading => Level::DEBUG,
            Class::Internal => Level::ERROR,
        }
    }

    /// The wait after the first failure, and the longest. What passes by itself is tried soon and often; what a person must change, seldom.
    pub fn delays(self) -> (Duration, Duration) {
        let (first, longest) = match self {
            Class::Conflict => (200, 10_000),
            Class::Unavailable | Class::NotLeading => (1_000, 60_000),
            Class::Redis => (1_000, 30_000),
            Class::NotFound => (2_000, 5 * 60_000),
            Class::Forbidden | Class::Invalid | Class::Terminating | Class::Internal => (10_000, 10 * 60_000),
        };
        (Duration::from_millis(first), Duration::from_millis(longest))
    }
}

fn class_of_api(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) => {
            let mut causes = status.details.iter().flat_map(|details| &details.causes);
            if causes.any(|cause| cause.reason == "NamespaceTerminating") {
                return Class::Terminating;
            }
            class_of_code(status.code)
        }
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => Class::Unavailable,
        kube::Error::Auth(_) => Class::Forbidden,
        _ => Class::Internal,
    }
}

fn class_of_code(code: u16) -> Class {
    match code {
        401 | 403 => Class::Forbidden,
        404 => Class::NotFound,
        409 => Class::Conflict,
        408 | 410 | 429 | 500..=599 => Class::Unavailable,
        400..=499 => Class::Invalid,
        _ => Class::Internal,
    }
}

/// Most bytes of what the API server said.
const TOLD: usize = 600;

/// What the API server said, on one line, and what to do about it.
fn told(error: &kube::Error) -> String {
    let mut text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.replace('\n', " "),
        kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
        other => chain(other),
    };
    if text.len() > TOLD {
        let end = (0..=TOLD).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    if class_of_api(error) == Class::Forbidden {
        text.push_str("; the operator's ClusterRole and Role are in manifests/base/rbac.yaml, and docs/rbac.md says what needs each rule");
    }
    text
}

/// An error and its sources: the first alone mostly says `client error`.
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let told = source.to_string();
        // some repeat their source
        if !text.contains(&told) {
            let _ = write!(text, ": {told}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};

    fn api(code: u16, message: &str) -> Error {
        let status = Status::failure(message, "Reason").with_code(code);
        Error::api("patch Secret posthorn-pool-0")(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn each_answer_of_the_api_server_has_its_class() {
        let table = [
            (400, Class::Invalid),
            (401, Class::Forbidden),
            (403, Class::Forbidden),
            (404, Class::NotFound),
            (408, Class::Unavailable),
            (409, Class::Conflict),
            (410, Class::Unavailable),
            (413, Class::Invalid),
            (422, Class::Invalid),
            (429, Class::Unavailable),
            (500, Class::Unavailable),
            (503, Class::Unavailable),
            (504, Class::Unavailable),
            (0, Class::Internal),
            (302, Class::Internal),
        ];
        for (code, class) in table {
            assert_eq!(api(code, "no").class(), class, "{code}");
        }
    }

    #[test]
    fn a_namespace_that_ends_is_not_a_missing_permission() {
        let cause = StatusCause { reason: "NamespaceTerminating".into(), message: String::new(), field: String::new() };
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 0,
        };
        let status = Status::failure("unable to create", "Forbidden").with_code(403).with_details(details);
        assert_eq!(Error::api("create Event")(kube::Error::Api(status.boxed())).class(), Class::Terminating);
    }

    #[test]
    fn what_is_not_of_the_api_server_has_its_class_too() {
        let refused = kube::Error::Service("refused".into());
        assert_eq!(Error::api("get Secret a/b")(refused).class(), Class::Unavailable);
        assert_eq!(Error::NoAnswer { doing: String::new(), after: Duration::ZERO }.class(), Class::Unavailable);
        assert_eq!(Error::Timeout(Duration::ZERO).class(), Class::Unavailable);
        assert_eq!(Error::Redis(connection::Error::Unavailable(String::new())).class(), Class::Redis);
        assert_eq!(Error::Redis(connection::Error::Protocol(String::new())).class(), Class::Internal);
        assert_eq!(Error::NotLeading.class(), Class::NotLeading);
    }

    #[test]
    fn a_missing_permission_says_where_it_is_to_be_had() {
        let text = api(403, "secrets \"a\" is forbidden:\nUser \"u\" cannot get resource \"secrets\"").to_string();
        assert!(text.starts_with("patch Secret posthorn-pool-0: secrets \"a\" is forbidden: User \"u\" cannot get"), "{text}");
        assert!(text.contains("docs/rbac.md"), "{text}");
        assert!(!api(500, "etcdserver: request timed out").to_string().contains("rbac"));
    }

    #[test]
    fn a_long_answer_is_cut() {
        let text = api(422, &"ä".repeat(5_000)).to_string();
        assert!(text.len() < 700 && text.ends_with('…'), "{}", text.len());
    }

    #[test]
    fn the_sources_of_a_failed_connection_are_told() {
        let source = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused by 10.0.0.1"));
        let text = Error::api("get Lease x")(kube::Error::Service(Box::new(source))).to_string();
        assert!(text.contains("refused by 10.0.0.1"), "{text}");
    }

    #[test]
    fn no_longest_wait_is_below_the_first() {
        for class in Class::ALL {
            let (first, longest) = class.delays();
            assert!(first < longest && longest <= Duration::from_secs(600), "{class:?}");
            assert_eq!(format!("{class:?}"), class.word());
        }
    }
}
