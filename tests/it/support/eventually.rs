//! Waits for a condition instead of sleeping.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; a test that fails waits this long, one that passes does not.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until the condition gives a value. An error says what is missing still.
///
/// # Panics
/// After [`DEADLINE`], with `what` and the last error.
pub async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, check).await
}

/// The same with another deadline.
///
/// # Panics
/// After the deadline, with `what` and the last error.
pub async fn eventually_within<T>(deadline: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(missing) if begun.elapsed() > deadline => panic!("not within {deadline:?}: {what}: {missing}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// For conditions that are yes or no.
pub fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
