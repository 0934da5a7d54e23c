//! Requests spread evenly (GCRA, the generic cell rate algorithm of ITU-T I.371). Pure: told what time it is.

use crate::plan::Rate;
use std::time::{Duration, Instant};

/// So much of a pause may be made up for at once: a burst is what the rate allows in this time, or one request.
const BURST: Duration = Duration::from_millis(100);

/// The pace of one destination.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two requests.
    interval: Duration,
    /// How far before its time a request may start.
    ahead: Duration,
    /// When the next request would start if all were spread evenly.
    next: Instant,
}

impl Pace {
    /// The first request may start now; a burst is earned by a pause only.
    pub fn new(rate: Rate, now: Instant) -> Pace {
        let requests = rate.requests.max(1);
        let interval = (rate.per / requests).max(Duration::from_nanos(1));
        let burst = u32::try_from(BURST.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX).max(1);
        let ahead = interval.saturating_mul(burst - 1);
        Pace { interval, ahead, next: now + ahead }
    }

    /// When the next request may start.
    pub fn due(&self) -> Instant {
        self.next.checked_sub(self.ahead).unwrap_or(self.next)
    }

    /// A request starts.
    pub fn take(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(requests: u32, per: u64) -> Rate {
        Rate { requests, per: Duration::from_secs(per) }
    }

    /// When requests start that are all there from the beginning, milliseconds.
    fn starts(rate: Rate, count: usize, pause_after: usize, pause: u64) -> Vec<u128> {
        let begin = Instant::now();
        let (mut pace, mut now) = (Pace::new(rate, begin), begin);
        let mut found = Vec::new();
        for number in 0..count {
            if number == pause_after {
                now += Duration::from_millis(pause);
            }
            now = now.max(pace.due());
            pace.take(now);
            found.push((now - begin).as_millis());
        }
        found
    }

    #[test]
    fn requests_are_spread_evenly() {
        assert_eq!(starts(rate(2, 1), 4, 0, 0), [0, 500, 1000, 1500]);
        assert_eq!(starts(rate(20, 1), 4, 0, 0), [0, 50, 100, 150]);
        assert_eq!(starts(rate(1, 3600), 2, 0, 0), [0, 3_600_000]);
    }

    #[test]
    fn a_pause_earns_a_tenth_of_a_second_or_one_request() {
        // (requests a second, starts from the second on, after a pause of a minute)
        let table = [
            (2, [60_000, 60_500, 61_000, 61_500, 62_000]),
            (20, [60_000, 60_000, 60_050, 60_100, 60_150]),
            (40, [60_000, 60_000, 60_000, 60_000, 60_025]),
        ];
        for (requests, expected) in table {
            assert_eq!(starts(rate(requests, 1), 6, 1, 60_000)[1..], expected, "{requests}");
        }
    }

    proptest! {
        #[test]
        fn no_span_has_more_than_the_rate_and_one_burst(
            requests in 1u32..1_000_000,
            per in 1u64..3600,
            waits in prop::collection::vec(0u64..2_000_000, 1..200),
        ) {
            let rate = rate(requests, per);
            let begin = Instant::now();
            let (mut pace, mut now) = (Pace::new(rate, begin), begin);
            let mut taken: Vec<Instant> = Vec::new();
            for wait in waits {
                now += Duration::from_micros(wait);
                if pace.due() <= now {
                    pace.take(now);
                    taken.push(now);
                }
            }
            let burst = (0.1 * f64::from(requests) / per as f64).max(1.0);
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let allowed = (*to - *from).as_secs_f64() * f64::from(requests) / per as f64 + burst;
                    // an interval is cut to whole nanoseconds
                    prop_assert!((last - first) as f64 <= allowed * 1.001 + 0.001, "{} in {:?}", last - first + 1, *to - *from);
                }
            }
        }

        #[test]
        fn whoever_waits_until_it_is_due_is_let_pass(requests in 1u32..1_000_000, per in 1u64..3600) {
            let begin = Instant::now();
            let mut pace = Pace::new(rate(requests, per), begin);
            let interval = Duration::from_secs(per) / requests;
            for number in 0..100 {
                prop_assert!(pace.due() <= begin + interval * number);
                pace.take(begin + interval * number);
            }
        }
    }
}
