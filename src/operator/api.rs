//! Calls of the API server: each with a deadline, as the client has none, and with an error that says what was tried.

use super::error::Error;
use std::future::Future;
use std::time::Duration;

/// The one field manager of all that the operator applies.
pub const FIELD_MANAGER: &str = "posthorn-operator";

/// Longest wait for an answer. Without it the client waits for ever, and repeats a call that is answered 429, 503 or 504 for minutes.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Asks, and gives up after [`DEADLINE`]. Whether a write that was given up took place is unknown: it must be repeated.
///
/// # Errors
/// What the API server said, or that it did not answer; with `doing` in front: `patch Secret posthorn-pool-0`.
pub async fn call<T>(doing: impl Into<String>, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(DEADLINE, request).await;
    answer.unwrap_or_else(|_| Err(kube::Error::Service(format!("no answer within {DEADLINE:?}").into()))).map_err(Error::api(doing))
}

/// Whether the API server said that there is no such object.
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
}
