//! At most so many events a second.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// Events a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(NonZeroU32);

/// A rate, or none: 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOrNone(pub Option<Rate>);

impl FromStr for RateOrNone {
    type Err = String;

    fn from_str(text: &str) -> Result<RateOrNone, String> {
        match text {
            "0" | "0/s" => Ok(RateOrNone(None)),
            _ => text.parse().map(|rate| RateOrNone(Some(rate))).map_err(|error: String| error + ", or 0 for no limit"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        number.parse().map(Rate).map_err(|_| format!("`{text}` is not a rate: write it like 100/s"))
    }
}

/// How far behind it may fall and still catch up.
const LATE: Duration = Duration::from_millis(100);

/// Says when the next events are due.
pub struct Pace {
    rate: Option<Rate>,
    due: Instant,
}

impl Pace {
    /// Begins now; without a rate everything is due at once.
    pub fn new(rate: Option<Rate>) -> Pace {
        Pace { rate, due: Instant::now() }
    }

    /// Most events to send at once: a twentieth of a second's, so that they go out evenly.
    pub fn chunk(&self) -> usize {
        self.rate.map_or(usize::MAX, |rate| (rate.0.get() as usize / 20).max(1))
    }

    /// Waits until the next events are due, of which there are so many.
    pub async fn wait(&mut self, events: usize) {
        if let Some(rate) = self.rate {
            tokio::time::sleep_until(self.due).await;
            self.due = rate.after(events, self.due, Instant::now());
        }
    }
}

impl Rate {
    /// When the events after these are due. What was missed while Redis was away is not caught up in a burst.
    fn after(self, events: usize, due: Instant, now: Instant) -> Instant {
        due.max(now - LATE) + Duration::from_secs_f64(events as f64 / f64::from(self.0.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_events_a_second() {
        assert_eq!("100/s".parse(), Ok(Rate(NonZeroU32::new(100).unwrap())));
        assert_eq!("7".parse(), Ok(Rate(NonZeroU32::new(7).unwrap())));
        for wrong in ["", "0", "0/s", "-1/s", "10/m", "x"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("100/s"), "{wrong}");
        }
    }

    #[test]
    fn where_a_rate_may_be_left_out_0_is_none() {
        assert_eq!("0".parse(), Ok(RateOrNone(None)));
        assert_eq!("7/s".parse::<RateOrNone>().unwrap().0, "7".parse().ok());
        assert!("x".parse::<RateOrNone>().unwrap_err().contains("or 0 for no limit"));
    }

    #[test]
    fn each_chunk_is_due_when_those_before_have_had_their_time() {
        let rate: Rate = "40/s".parse().unwrap();
        assert_eq!(Pace::new(Some(rate)).chunk(), 2);
        let due = Instant::now();
        assert_eq!(rate.after(2, due, due) - due, Duration::from_millis(50));
        assert_eq!(rate.after(2, due, due + LATE) - due, Duration::from_millis(50));
    }

    #[test]
    fn what_was_missed_is_not_caught_up_in_a_burst() {
        let rate: Rate = "40/s".parse().unwrap();
        let due = Instant::now();
        let minute = Duration::from_secs(60);
        assert!(rate.after(2, due, due + minute) >= due + minute - LATE);
    }
}
