//! Calls of the API server, each with a time limit: the client has none of its own, and repeats some failures for minutes.

use super::error::Error;
use std::time::Duration;

/// Longest time that one call may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Awaits one call. `doing` is for the error: `patch Secret posthorn-pool-0`.
///
/// # Errors
/// What the API server says, or that it does not answer.
pub async fn call<T>(doing: impl Into<String>, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(result) => result.map_err(Error::api(doing)),
        Err(_) => Err(Error::Timeout { doing: doing.into(), limit: LIMIT }),
    }
}
