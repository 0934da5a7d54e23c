//! Logs: text for people, JSON for machines, always to stderr. `docs/logging.md` names the fields.

use std::io::IsTerminal;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; in colours on a terminal, unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is wrong with the wanted logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("log filter `{0}` is not valid: write a level (error, warn, info, debug, trace) or module=level, comma-separated")]
    Filter(String),
    /// Logs were set up before.
    #[error("logs were set up before")]
    Twice,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "" | "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("`{text}` is not a log format: write text or json")),
        }
    }
}

/// What the client of the API server says by itself: a line for each call that fails. Each failure is told by us, once.
const QUIET: &str = "kube_client=off,kube_runtime=off";

/// Sets up logs for the whole process; `filter` as in `POSTHORN_LOG`, empty for `info`. The client of the API server says nothing unless the filter
/// names it (`kube_client=debug`).
///
/// # Errors
/// If the filter cannot be read, or logs were set up before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Error> {
    let wanted = if filter.is_empty() { "info" } else { filter };
    let whole = if wanted.contains("kube") { wanted.to_owned() } else { format!("{wanted},{QUIET}") };
    let filter = EnvFilter::try_new(whole).map_err(|_| Error::Filter(wanted.to_owned()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => lines.with_ansi(colours()).with_target(false).try_init(),
    };
    done.map_err(|_| Error::Twice)
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Lets one of many equal log lines through in a period.
///
/// ```
/// # use posthorn::telemetry::Throttle;
/// # use std::time::Duration;
/// static FULL: Throttle = Throttle::new(Duration::from_secs(10));
/// if let Some(suppressed) = FULL.pass() {
///     tracing::warn!(suppressed, "redis is full");
/// }
/// ```
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// One line each `period`.
    pub const fn new(period: Duration) -> Throttle {
        Throttle { period, state: Mutex::new((None, 0)) }
    }

    /// `Some` if this line may be written, with the number of lines held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, held_back) = *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.period) {
            state.1 += 1;
            return None;
        }
        *state = (Some(now), 0);
        Some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_a_period_and_says_how_many_did_not() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(throttle.pass_at(start), Some(0));
        assert_eq!(throttle.pass_at(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.pass_at(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass_at(start + Duration::from_secs(10)), Some(2));
        assert_eq!(throttle.pass_at(start + Duration::from_secs(20)), Some(0));
    }

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("".parse(), Ok(LogFormat::Text));
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}
