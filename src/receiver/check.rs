//! Order, repeats and gaps, judged from what arrives. Pure.
//!
//! A receiver that ignores repeats must see events in the order of their bus: that is what is checked.

use super::seen::Seen;
use crate::event::Sequence;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// What a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// New, and in order.
    Accepted,
    /// It had been accepted before.
    Repeat,
    /// New, but a later one had been accepted before: the order is broken.
    Late,
    /// Answered with something other than 2xx, or not at all.
    Refused,
    /// Its signature does not verify.
    Untrusted,
}

/// The numbers at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Requests.
    pub received: u64,
    /// Events accepted for the first time.
    pub accepted: u64,
    /// Events accepted again.
    pub repeats: u64,
    /// Requests answered with something other than 2xx, or not at all.
    pub refused: u64,
    /// Events accepted for the first time after a later one: order violations.
    pub late: u64,
    /// Numbers that a source's counter skipped: events that did not come.
    pub missing: u64,
    /// Requests whose signature does not verify.
    pub bad_signatures: u64,
}

/// Watches what arrives. Remembers the sequence of every accepted event.
#[derive(Debug, Default)]
pub struct Check {
    counter: Option<String>,
    key: Option<String>,
    /// The highest accepted, of each key.
    highest: HashMap<String, Sequence>,
    accepted: HashSet<Sequence>,
    counted: HashMap<String, u64>,
    summary: Summary,
}

impl Check {
    /// `counter` names an extension attribute in which each source numbers its events 1, 2, 3, ….
    pub fn new(counter: Option<String>) -> Check {
        Check { counter, ..Check::default() }
    }

    /// Events are in order by this attribute only.
    pub fn by_key(self, key: Option<String>) -> Check {
        Check { key, ..self }
    }

    /// Judges one request; its status must be set already. Of a batch each event is judged and counted; the worst is told.
    pub fn observe(&mut self, seen: &Seen, trusted: bool) -> Verdict {
        self.summary.received += 1;
        if !trusted || !seen.accepted() {
            let verdict = if trusted { Verdict::Refused } else { Verdict::Untrusted };
            self.add(verdict);
            return verdict;
        }
        let verdicts: Vec<Verdict> = seen.events().iter().map(|event| self.order(event)).collect();
        verdicts.iter().for_each(|verdict| self.add(*verdict));
        let worst = [Verdict::Late, Verdict::Accepted].into_iter().find(|worst| verdicts.contains(worst));
        worst.unwrap_or(Verdict::Repeat)
    }

    fn add(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Accepted => &mut self.summary.accepted,
            Verdict::Repeat => &mut self.summary.repeats,
            Verdict::Late => &mut self.summary.late,
            Verdict::Refused => &mut self.summary.refused,
            Verdict::Untrusted => &mut self.summary.bad_signatures,
        } += 1;
    }

    /// The numbers so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// An event without a sequence was not sent by Posthorn: nothing is known of its place.
    fn order(&mut self, seen: &Seen) -> Verdict {
        let Some(sequence) = seen.sequence() else { return Verdict::Accepted };
        if !self.accepted.insert(sequence) {
            return Verdict::Repeat;
        }
        let key = self.key.as_deref().and_then(|key| seen.attribute(key)).unwrap_or_default();
        let highest = self.highest.entry(key.to_owned()).or_default();
        let in_order = *highest < sequence;
        *highest = sequence.max(*highest);
        if self.count(seen) && in_order { Verdict::Accepted } else { Verdict::Late }
    }

    /// Whether the source's own counter rises; what it skips is missing.
    fn count(&mut self, seen: &Seen) -> bool {
        let Some(number) = self.counter.as_deref().and_then(|name| seen.attribute(name)?.parse::<u64>().ok()) else { return true };
        let last = self.counted.entry(seen.source().unwrap_or_default().to_owned()).or_default();
        if number <= *last {
            return false;
        }
        self.summary.missing += number - *last - 1;
        *last = number;
        true
    }
}

impl Summary {
    /// Whether order was kept, nothing is missing and every signature verified.
    pub fn is_good(&self) -> bool {
        self.late == 0 && self.missing == 0 && self.bad_signatures == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Accepted => "accepted",
            Verdict::Repeat => "repeat",
            Verdict::Late => "LATE",
            Verdict::Refused => "refused",
            Verdict::Untrusted => "UNTRUSTED",
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { received, accepted, repeats, refused, late, missing, bad_signatures } = self;
        write!(
            f,
            "{received} received: {accepted} accepted, {repeats} repeats, {refused} refused, {late} late, {missing} missing, \
             {bad_signatures} bad signatures"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn seen(sequence: u64, source: &str, number: u64, status: u16) -> Seen {
        let headers = [("ce-sequence", format!("{sequence}-0")), ("ce-source", source.to_owned()), ("ce-n", number.to_string())]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut seen = Seen::new(http::Method::POST, "/".into(), headers.into_iter().collect(), Bytes::new());
        seen.status = Some(status);
        seen
    }

    fn judge(check: &mut Check, history: &[(u64, &str, u64, u16)]) -> Vec<Verdict> {
        history.iter().map(|&(sequence, source, number, status)| check.observe(&seen(sequence, source, number, status), true)).collect()
    }

    #[test]
    fn a_repeat_is_not_an_order_violation() {
        let mut check = Check::new(None);
        let verdicts = judge(&mut check, &[(1, "a", 1, 503), (1, "a", 1, 204), (2, "a", 2, 204), (1, "a", 1, 204)]);
        assert_eq!(verdicts, [Verdict::Refused, Verdict::Accepted, Verdict::Accepted, Verdict::Repeat]);
        assert!(check.summary().is_good());
    }

    #[test]
    fn a_new_event_below_the_highest_is_late() {
        let mut check = Check::new(None);
        assert_eq!(judge(&mut check, &[(2, "a", 2, 200), (1, "a", 1, 200)]), [Verdict::Accepted, Verdict::Late]);
        assert!(!check.summary().is_good());
    }

    #[test]
    fn a_number_that_a_source_skips_is_missing() {
        let mut check = Check::new(Some("n".into()));
        judge(&mut check, &[(1, "a", 1, 200), (2, "b", 1, 200), (3, "a", 4, 200)]);
        assert_eq!(check.summary().missing, 2);
        assert_eq!(judge(&mut check, &[(4, "a", 2, 200)]), [Verdict::Late]);
    }

    #[test]
    fn keys_do_not_wait_for_each_other() {
        let mut check = Check::new(None).by_key(Some("source".into()));
        let verdicts = judge(&mut check, &[(2, "a", 1, 200), (1, "b", 1, 200), (4, "b", 2, 200), (3, "b", 3, 200)]);
        assert_eq!(verdicts, [Verdict::Accepted, Verdict::Accepted, Verdict::Accepted, Verdict::Late]);
    }

    #[test]
    fn each_event_of_a_batch_is_judged() {
        let batch = |body: &'static str| {
            let headers = [("content-type".parse().unwrap(), "application/cloudevents-batch+json".parse().unwrap())];
            let headers = headers.into_iter().collect();
            let seen = Seen::new(http::Method::POST, "/".into(), headers, Bytes::from_static(body.as_bytes()));
            Seen { status: Some(204), ..seen }
        };
        let mut check = Check::new(None);
        assert_eq!(check.observe(&batch(r#"[{"sequence":"1-0"},{"sequence":"3-0"}]"#), true), Verdict::Accepted);
        assert_eq!(check.observe(&batch(r#"[{"sequence":"3-0"},{"sequence":"2-0"}]"#), true), Verdict::Late);
        assert_eq!(check.summary(), &Summary { received: 2, accepted: 2, repeats: 1, late: 1, ..Summary::default() });
    }

    #[test]
    fn an_untrusted_request_is_counted_and_not_accepted() {
        let mut check = Check::new(None);
        assert_eq!(check.observe(&seen(1, "a", 1, 401), false), Verdict::Untrusted);
        assert_eq!(check.summary(), &Summary { received: 1, bad_signatures: 1, ..Summary::default() });
    }
}
