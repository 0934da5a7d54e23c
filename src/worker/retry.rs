//! Whether and when a failed event is tried again. Pure.

use crate::plan::{BackoffPolicy, Delivery};
use crate::worker::attempt::{Class, Failure, Level};
use crate::worker::halt::{self, HaltReason};
use std::time::Duration;

/// Waits before the retries after an event-level failure; after them the event is given up.
pub const EVENT_RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The same event is tried again after this wait.
    RetryAfter(Duration),
    /// No more attempts: `onExhausted` says what becomes of the event.
    GiveUp,
    /// The destination is given a rest, and the event stays at its head.
    Halt {
        /// Why.
        reason: HaltReason,
    },
}

/// What follows attempt number `attempts_made` of one event.
///
/// `halt_on` are the status codes that halt at once, `random` is from 0 to 1, and a longer `Retry-After` than `retry_after_max` is
/// clamped to it (zero ignores the header). Neither time nor `maxEventAge` is looked at here.
pub fn decide(
    delivery: &Delivery,
    halt_on: &[u16],
    attempts_made: u32,
    failure: &Failure,
    random: f64,
    retry_after_max: Duration,
) -> Decision {
    if let Some(reason) = halt::at_once(failure, halt_on) {
        return Decision::Halt { reason };
    }
    let retry = attempts_made.max(1);
    if delivery.retry.is_some_and(|limit| retry > limit) {
        return Decision::GiveUp;
    }
    match (failure.class.level(), failure.class) {
        (Level::Event, _) => match EVENT_RETRIES.get(retry as usize - 1) {
            Some(wait) => Decision::RetryAfter(*wait),
            None => Decision::GiveUp,
        },
        // a defect of ours may pass, like one of the destination
        (Level::Destination, _) | (_, Class::Internal) => {
            Decision::RetryAfter(backoff(delivery, retry, random).max(asked(failure, retry_after_max)))
        }
        (Level::Other, _) => Decision::GiveUp,
    }
}

/// The wait before retry number `retry` (from 1): half fixed, half random of the policy's wait, which is at most `backoff_max`.
pub fn backoff(delivery: &Delivery, retry: u32, random: f64) -> Duration {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let delay = millis(delivery.backoff_delay);
    let grown = match delivery.backoff_policy {
        BackoffPolicy::Exponential => delay.saturating_mul(2u64.saturating_pow(retry.saturating_sub(1))),
        BackoffPolicy::Linear => delay.saturating_mul(u64::from(retry)),
        BackoffPolicy::Constant => delay,
    };
    let whole = grown.min(millis(delivery.backoff_max));
    let half = whole / 2;
    let jitter = ((half as f64 * random.clamp(0.0, 1.0)) as u64).min(half);
    Duration::from_millis(whole - half + jitter)
}

/// What the receiver asked for, where it may: `Retry-After` on 429 and 503 only.
fn asked(failure: &Failure, max: Duration) -> Duration {
    match failure.code {
        Some(429 | 503) => failure.retry_after.unwrap_or_default().min(max),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::OnExhausted;
    use crate::worker::attempt::classify;
    use proptest::prelude::*;

    const TEN_MINUTES: Duration = Duration::from_secs(600);

    fn delivery(retry: Option<u32>, backoff_policy: BackoffPolicy) -> Delivery {
        Delivery {
            retry,
            backoff_policy,
            backoff_delay: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            timeout: Duration::from_secs(15),
            max_event_age: None,
            on_exhausted: OnExhausted::DeadLetter,
            max_dead_letters: 100_000,
            dead_letters_to: None,
        }
    }

    fn answered(code: u16) -> Failure {
        Failure::new(classify(code), "").with_code(code)
    }

    fn asking(code: u16, seconds: u64) -> Failure {
        Failure { retry_after: Some(Duration::from_secs(seconds)), ..answered(code) }
    }

    fn after(millis: u64) -> Decision {
        Decision::RetryAfter(Duration::from_millis(millis))
    }

    #[test]
    fn the_wait_grows_as_the_policy_says() {
        // (policy, waits before retries 1, 2, 3, 4, 10, 100 in seconds, without jitter)
        let table = [
            (BackoffPolicy::Exponential, [1, 2, 4, 8, 300, 300]),
            (BackoffPolicy::Linear, [1, 2, 3, 4, 10, 100]),
            (BackoffPolicy::Constant, [1, 1, 1, 1, 1, 1]),
        ];
        for (policy, waits) in table {
            for (attempts, seconds) in [1, 2, 3, 4, 10, 100].into_iter().zip(waits) {
                let longest = decide(&delivery(None, policy), &[], attempts, &answered(500), 1.0, TEN_MINUTES);
                let shortest = decide(&delivery(None, policy), &[], attempts, &answered(500), 0.0, TEN_MINUTES);
                assert_eq!(longest, after(seconds * 1000), "{policy:?} {attempts}");
                assert_eq!(shortest, after(seconds * 500), "{policy:?} {attempts}");
            }
        }
    }

    #[test]
    fn a_destination_level_failure_is_given_up_after_the_retries() {
        let limit = delivery(Some(10), BackoffPolicy::Exponential);
        assert_eq!(decide(&limit, &[], 10, &answered(500), 1.0, TEN_MINUTES), after(300_000));
        assert_eq!(decide(&limit, &[], 11, &answered(500), 1.0, TEN_MINUTES), Decision::GiveUp);
        let none = delivery(Some(0), BackoffPolicy::Exponential);
        assert_eq!(decide(&none, &[], 1, &answered(500), 1.0, TEN_MINUTES), Decision::GiveUp);
    }

    #[test]
    fn an_event_level_failure_has_two_quick_retries() {
        // (retry, decisions after attempts 1, 2, 3)
        let table = [
            (None, [after(1000), after(5000), Decision::GiveUp]),
            (Some(10), [after(1000), after(5000), Decision::GiveUp]),
            (Some(1), [after(1000), Decision::GiveUp, Decision::GiveUp]),
            (Some(0), [Decision::GiveUp, Decision::GiveUp, Decision::GiveUp]),
        ];
        for (retry, decisions) in table {
            for (attempts, decision) in (1..).zip(decisions) {
                for code in [400, 413, 414, 415, 422, 418] {
                    let delivery = delivery(retry, BackoffPolicy::Exponential);
                    assert_eq!(
                        decide(&delivery, &[], attempts, &answered(code), 0.7, TEN_MINUTES),
                        decision,
                        "{retry:?} {attempts} {code}"
                    );
                }
            }
        }
    }

    #[test]
    fn retry_after_is_honoured_on_429_and_503_only() {
        // (failure, longest honoured, wait in seconds)
        let table = [
            (asking(429, 60), 600, 60),
            (asking(503, 60), 600, 60),
            (asking(503, 0), 600, 1),
            (asking(503, 3600), 600, 600),
            (asking(503, u64::MAX), 600, 600),
            (asking(429, 60), 0, 1),
            (asking(500, 60), 600, 1),
            (asking(404, 60), 600, 1),
            (asking(422, 60), 600, 1),
        ];
        for (failure, max, seconds) in table {
            let delivery = delivery(Some(5), BackoffPolicy::Exponential);
            let decision = decide(&delivery, &[], 1, &failure, 1.0, Duration::from_secs(max));
            assert_eq!(decision, after(seconds * 1000), "{failure:?} {max}");
        }
    }

    #[test]
    fn halting_comes_before_giving_up() {
        let none = delivery(Some(0), BackoffPolicy::Constant);
        let halt = |reason| Decision::Halt { reason };
        let decided = |failure: &Failure| decide(&none, &[401, 403, 410], 1, failure, 0.5, TEN_MINUTES);
        assert_eq!(decided(&answered(401)), halt(HaltReason::AuthRejected));
        assert_eq!(decided(&answered(403)), halt(HaltReason::AuthRejected));
        assert_eq!(decided(&answered(410)), halt(HaltReason::Gone));
        assert_eq!(decided(&Failure::new(Class::AddressDenied, "")), halt(HaltReason::AddressDenied));
        assert_eq!(decided(&answered(407)), Decision::GiveUp);
    }

    #[test]
    fn what_no_retry_can_mend_is_given_up_at_once() {
        let unlimited = delivery(None, BackoffPolicy::Exponential);
        for class in [Class::Undecodable, Class::Expired, Class::Skipped, Class::WorkerDied] {
            assert_eq!(decide(&unlimited, &[], 1, &Failure::new(class, ""), 0.5, TEN_MINUTES), Decision::GiveUp, "{class}");
        }
        assert_eq!(decide(&unlimited, &[], 1, &Failure::new(Class::Internal, ""), 1.0, TEN_MINUTES), after(1000));
    }

    #[test]
    fn an_event_that_the_receiver_gives_up_has_no_retry() {
        let unlimited = delivery(None, BackoffPolicy::Exponential);
        for code in [400, 401, 410, 429, 500] {
            let buried = asking(code, 60);
            let buried = Failure { class: Class::BuriedByReceiver, ..buried };
            assert_eq!(decide(&unlimited, &[401, 410], 1, &buried, 0.5, TEN_MINUTES), Decision::GiveUp, "{code}");
            let halted = Failure { class: Class::HaltedByReceiver, ..buried };
            let reason = HaltReason::AskedByReceiver;
            assert_eq!(decide(&unlimited, &[], 1, &halted, 0.5, TEN_MINUTES), Decision::Halt { reason }, "{code}");
        }
    }

    #[test]
    fn a_token_endpoint_in_trouble_is_a_destination_in_trouble() {
        let limit = delivery(Some(1), BackoffPolicy::Constant);
        for class in [Class::TokenUnavailable, Class::TokenRefused] {
            let failure = Failure::new(class, "");
            assert_eq!(decide(&limit, &[], 1, &failure, 1.0, TEN_MINUTES), after(1000));
            assert_eq!(decide(&limit, &[], 2, &failure, 1.0, TEN_MINUTES), Decision::GiveUp);
        }
    }

    fn any_policy() -> impl Strategy<Value = BackoffPolicy> {
        prop_oneof![Just(BackoffPolicy::Exponential), Just(BackoffPolicy::Linear), Just(BackoffPolicy::Constant)]
    }

    proptest! {
        #[test]
        fn no_wait_overflows(policy in any_policy(), delay: Duration, max: Duration, retry: u32, random: f64) {
            let delivery = Delivery { backoff_delay: delay, backoff_max: max, ..delivery(None, policy) };
            prop_assert!(backoff(&delivery, retry, random) <= max);
        }

        #[test]
        fn a_wait_is_between_half_and_all_of_what_the_policy_says(policy in any_policy(), retry in 1u32.., random in 0.0..=1.0) {
            let delivery = delivery(None, policy);
            let whole = backoff(&delivery, retry, 1.0);
            let wait = backoff(&delivery, retry, random);
            prop_assert!(wait <= whole && wait >= whole / 2);
        }

        #[test]
        fn the_wait_never_shrinks(policy in any_policy(), retry in 1u32..u32::MAX, random in 0.0..=1.0) {
            let delivery = delivery(None, policy);
            prop_assert!(backoff(&delivery, retry, random) <= backoff(&delivery, retry + 1, random));
        }

        #[test]
        fn retries_never_exceed_their_limit(limit: u32, attempts: u32, code in 100u16..1000) {
            let delivery = delivery(Some(limit), BackoffPolicy::Exponential);
            if let Decision::RetryAfter(_) = decide(&delivery, &[], attempts, &answered(code), 0.5, TEN_MINUTES) {
                prop_assert!(attempts.max(1) <= limit);
            }
        }
    }
}
