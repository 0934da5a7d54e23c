//! When a destination, not an event, is given a rest. Pure.
//!
//! A halted destination keeps its backlog and spends no attempts. Its head is probed now and then, and one success resumes it.

use crate::worker::attempt::{Class, Failure};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many events in a row buried for destination-level reasons halt a destination.
pub const DESTINATION_STREAK: u32 = 3;

/// So many events in a row given up for event-level reasons halt a destination.
pub const EVENT_STREAK: u32 = 20;

/// How often the head of a halted destination is tried, unless `POSTHORN_HALT_PROBE` says otherwise.
pub const DEFAULT_PROBE: Duration = Duration::from_secs(300);

/// Why a destination is halted; stored in Redis as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HaltReason {
    /// 401, 403 or 407, listed in `haltOnStatusCodes`; or the token endpoint refuses the credentials, where 401 is listed.
    AuthRejected,
    /// 410: the receiver wants no more; never probed.
    Gone,
    /// Another status code listed in `haltOnStatusCodes`.
    StatusCode,
    /// [`DESTINATION_STREAK`] events in a row were buried for destination-level reasons.
    DestinationFailing,
    /// [`EVENT_STREAK`] events in a row were given up for event-level reasons.
    EventsRefused,
    /// The address policy forbids the receiver's address.
    AddressDenied,
    /// The receiver asked for it by the header `posthorn-directive`.
    AskedByReceiver,
}

impl HaltReason {
    /// Every reason.
    pub const ALL: [HaltReason; 7] = [
        HaltReason::AuthRejected,
        HaltReason::Gone,
        HaltReason::StatusCode,
        HaltReason::DestinationFailing,
        HaltReason::EventsRefused,
        HaltReason::AddressDenied,
        HaltReason::AskedByReceiver,
    ];

    /// The name that Redis and the status show.
    pub fn as_str(self) -> &'static str {
        match self {
            HaltReason::AuthRejected => "AuthRejected",
            HaltReason::Gone => "Gone",
            HaltReason::StatusCode => "StatusCode",
            HaltReason::DestinationFailing => "DestinationFailing",
            HaltReason::EventsRefused => "EventsRefused",
            HaltReason::AddressDenied => "AddressDenied",
            HaltReason::AskedByReceiver => "AskedByReceiver",
        }
    }

    /// How long until the head is probed again: `interval` ± 10 %. `None`: never, only a person or a new plan resumes.
    ///
    /// `random` is from 0 to 1, so that destinations halted by one outage do not probe at one moment.
    pub fn next_probe(self, interval: Duration, random: f64) -> Option<Duration> {
        if self == HaltReason::Gone {
            return None;
        }
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let spread = millis / 5;
        let jitter = (spread as f64 * random.clamp(0.0, 1.0)) as u64;
        Some(Duration::from_millis((millis - spread / 2).saturating_add(jitter)))
    }
}

/// Whether a failure halts its destination at once, whatever the retry limit. 410 always does.
pub fn at_once(failure: &Failure, halt_on: &[u16]) -> Option<HaltReason> {
    let listed = failure.code.is_some_and(|code| halt_on.contains(&code));
    match failure.class {
        Class::AddressDenied => Some(HaltReason::AddressDenied),
        Class::HaltedByReceiver => Some(HaltReason::AskedByReceiver),
        // the receiver speaks of this event, whatever its status code
        Class::BuriedByReceiver => None,
        Class::Gone => Some(HaltReason::Gone),
        // without a token the receiver would answer 401
        Class::TokenRefused if halt_on.contains(&401) => Some(HaltReason::AuthRejected),
        Class::AuthRejected if listed => Some(HaltReason::AuthRejected),
        _ if listed => Some(HaltReason::StatusCode),
        _ => None,
    }
}

impl fmt::Display for HaltReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not the name of a [`HaltReason`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a reason to halt; it may have been written by a newer version")]
pub struct UnknownHaltReason(pub String);

impl FromStr for HaltReason {
    type Err = UnknownHaltReason;

    fn from_str(name: &str) -> Result<HaltReason, UnknownHaltReason> {
        HaltReason::ALL.into_iter().find(|reason| reason.as_str() == name).ok_or_else(|| UnknownHaltReason(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::attempt::classify;
    use proptest::prelude::*;

    fn answered(code: u16) -> Failure {
        Failure::new(classify(code), "").with_code(code)
    }

    #[test]
    fn every_reason_is_read_back_by_its_name() {
        for reason in HaltReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert!("gone".parse::<HaltReason>().is_err());
    }

    #[test]
    fn listed_status_codes_halt_at_once() {
        let listed = [401, 403, 404, 500];
        assert_eq!(at_once(&answered(401), &listed), Some(HaltReason::AuthRejected));
        assert_eq!(at_once(&answered(403), &listed), Some(HaltReason::AuthRejected));
        assert_eq!(at_once(&answered(404), &listed), Some(HaltReason::StatusCode));
        assert_eq!(at_once(&answered(500), &listed), Some(HaltReason::StatusCode));
        assert_eq!(at_once(&answered(503), &listed), None);
        assert_eq!(at_once(&answered(407), &listed), None);
    }

    #[test]
    fn gone_and_a_denied_address_halt_even_if_not_listed() {
        assert_eq!(at_once(&answered(410), &[]), Some(HaltReason::Gone));
        assert_eq!(at_once(&Failure::new(Class::AddressDenied, ""), &[]), Some(HaltReason::AddressDenied));
    }

    #[test]
    fn a_directive_goes_before_the_status_code() {
        let listed = [401, 403, 410, 500];
        for code in [400, 401, 410, 500, 503] {
            let said = |class| Failure::new(class, "").with_code(code);
            assert_eq!(at_once(&said(Class::HaltedByReceiver), &listed), Some(HaltReason::AskedByReceiver), "{code}");
            assert_eq!(at_once(&said(Class::BuriedByReceiver), &listed), None, "{code}");
        }
        assert!(HaltReason::AskedByReceiver.next_probe(DEFAULT_PROBE, 0.5).is_some());
    }

    #[test]
    fn refused_credentials_halt_like_a_401() {
        let refused = Failure::new(Class::TokenRefused, "");
        assert_eq!(at_once(&refused, &[401]), Some(HaltReason::AuthRejected));
        assert_eq!(at_once(&refused, &[403, 410]), None);
        assert_eq!(at_once(&Failure::new(Class::TokenUnavailable, ""), &[401]), None);
    }

    #[test]
    fn a_receiver_that_is_gone_is_never_probed() {
        assert_eq!(HaltReason::Gone.next_probe(DEFAULT_PROBE, 0.5), None);
    }

    proptest! {
        #[test]
        fn probes_stay_within_a_tenth_of_the_interval(millis in 100..u64::from(u32::MAX), random in 0.0..1.0) {
            let probe = HaltReason::DestinationFailing.next_probe(Duration::from_millis(millis), random).expect("it is probed");
            let tenth = Duration::from_millis(millis / 10 + 1);
            prop_assert!(probe + tenth >= Duration::from_millis(millis));
            prop_assert!(probe <= Duration::from_millis(millis) + tenth);
        }

        #[test]
        fn no_interval_overflows(interval: Duration, random: f64) {
            let _ = HaltReason::EventsRefused.next_probe(interval, random);
        }
    }
}
