//! Calls of the API server: each with a deadline, as the client has none, and with an error that says what was tried.

use super::error::Error;
use std::future::Future;
use std::time::Duration;

/// The one field manager of all that the operator applies.
pub const FIELD_MANAGER: &str = "posthorn-operator";

/// Longest wait for an answer. A write that was begun while we led must end before another may lead: see [`super::leader`].
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Asks, and gives up after [`DEADLINE`]. Whether a write that was given up took place is unknown: it must be repeated. `doing` is verb, kind and
/// name: `patch Secret posthorn-pool-0`. Not for watches.
///
/// # Errors
/// [`Error::Api`] or [`Error::NoAnswer`].
pub async fn call<T>(doing: impl Into<String>, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    within(DEADLINE, doing, request).await
}

async fn within<T>(after: Duration, doing: impl Into<String>, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(after, request).await {
        Ok(answer) => answer.map_err(Error::api(doing)),
        Err(_) => Err(Error::NoAnswer { doing: doing.into(), after }),
    }
}

/// Whether the API server said that there is no such object.
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_without_an_answer_ends() {
        let after = Duration::from_millis(5);
        let error = within(after, "get Secret a/b", std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "get Secret a/b: no answer of the API server within 5ms");
    }
}
