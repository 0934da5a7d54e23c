//! The invariants of delivery, judged from what was accepted, what arrived and what is stored.
//!
//! One checker for all tests. It is run when nothing moves any more: every accepted event was routed.

use super::stored::Stored;
use bytes::Bytes;
use posthorn::event::Sequence;
use posthorn::receiver::Seen;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// An event that was answered with 202.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The sequence that the answer told.
    pub sequence: Sequence,
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `type`.
    pub event_type: String,
    /// Its data, where what arrives must be the same bytes (binary mode in and out).
    pub data: Option<Bytes>,
}

/// What happened to one destination.
pub struct History<'a> {
    /// For messages.
    pub destination: &'a str,
    /// What was answered with 202.
    pub accepted: &'a [Accepted],
    /// (source, id) of events that may be stored or not: their sender got no answer.
    pub uncertain: &'a [(String, String)],
    /// Whether the destination's filter takes an event, told independently of the code under test.
    pub wanted: &'a dyn Fn(&Accepted) -> bool,
    /// Which lane an event belongs to; one lane for `Strict`.
    pub lane: &'a dyn Fn(&Seen) -> String,
    /// Every request that its receiver got, in order, across restarts.
    pub log: &'a [Seen],
    /// What Redis holds of it.
    pub stored: &'a Stored,
    /// How often one event may be accepted again.
    pub repeats: usize,
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// settled + buried + dropped + lost + XLEN is not routed.
    Unbalanced(String),
    /// Counters and streams disagree in another way.
    Miscounted(String),
    /// Wanted, and neither accepted by the receiver, nor waiting, nor dead, nor counted as dropped or lost.
    Missing(String),
    /// Arrived, but the destination does not want it, or nobody posted it.
    Unwanted(String),
    /// Sent before an earlier event of its lane was accepted or buried.
    Overtook(String),
    /// Accepted again too often.
    Repeated(String),
    /// Not the bytes, or not the sequence, that were accepted.
    Changed(String),
}

impl<'a> History<'a> {
    /// A strict destination that wants everything and saw no fault.
    pub fn strict(destination: &'a str, accepted: &'a [Accepted], log: &'a [Seen], stored: &'a Stored) -> History<'a> {
        let (wanted, lane) = (&|_: &Accepted| true, &|_: &Seen| String::new());
        History { destination, accepted, uncertain: &[], wanted, lane, log, stored, repeats: 0 }
    }

    /// Panics with everything that is wrong.
    pub fn assert_kept(&self) {
        let violations = self.violations();
        let (count, shown) = (violations.len(), violations.iter().take(20));
        let lines: Vec<String> = shown.map(|violation| format!("  {violation:?}")).collect();
        assert!(violations.is_empty(), "{}: {count} broken promises:\n{}\n{:?}", self.destination, lines.join("\n"), self.stored);
    }

    /// Everything that is wrong.
    pub fn violations(&self) -> Vec<Violation> {
        let checks = [Self::counts, Self::completeness, Self::provenance, Self::order, Self::repeats];
        checks.iter().flat_map(|check| check(self)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn wanted(&self) -> BTreeMap<Sequence, &Accepted> {
        self.accepted.iter().filter(|event| (self.wanted)(event)).map(|event| (event.sequence, event)).collect()
    }

    fn delivered(&self) -> impl Iterator<Item = (usize, Sequence, &Seen)> {
        let accepted = self.log.iter().enumerate().filter(|(_, seen)| seen.accepted());
        accepted.filter_map(|(position, seen)| Some((position, seen.sequence()?, seen)))
    }

    fn counts(&self) -> Vec<Violation> {
        let Stored { routed, settled, buried, dropped, lost, redriven, purged, ref queued, ref dead } = *self.stored;
        let mut found = Vec::new();
        let accounted = settled + buried + dropped + lost + queued.len() as u64;
        if accounted != routed {
            let text =
                format!("settled {settled} + buried {buried} + dropped {dropped} + lost {lost} + queue {}, routed {routed}", queued.len());
            found.push(Violation::Unbalanced(text));
        }
        if dead.len() as u64 + redriven + purged != buried {
            found
                .push(Violation::Miscounted(format!("{} dead letters, buried {buried}, redriven {redriven}, purged {purged}", dead.len())));
        }
        if !queued.is_sorted_by(|a, b| a < b) {
            found.push(Violation::Miscounted(format!("the queue does not rise: {queued:?}")));
        }
        let certain = self.wanted().len() as u64 + redriven;
        if !(certain..=certain + self.uncertain.len() as u64).contains(&routed) {
            let text = format!("routed {routed}, wanted {certain}, uncertain {}", self.uncertain.len());
            found.push(Violation::Miscounted(text));
        }
        let arrived = self.delivered().map(|(_, sequence, _)| sequence).collect::<BTreeSet<_>>().len() as u64;
        if settled > arrived {
            found.push(Violation::Miscounted(format!("settled {settled}, but only {arrived} were accepted by the receiver")));
        }
        found
    }

    fn completeness(&self) -> Vec<Violation> {
        let delivered: BTreeSet<Sequence> = self.delivered().map(|(_, sequence, _)| sequence).collect();
        let kept = |sequence: &Sequence| {
            delivered.contains(sequence) || self.stored.queued.contains(sequence) || self.stored.dead.contains(sequence)
        };
        let wanted = self.wanted();
        let gone: Vec<_> = wanted.iter().filter(|(sequence, _)| !kept(sequence)).collect();
        // Which ones were dropped or lost, or were dead and purged, is not known; how many, is.
        let excused = self.stored.dropped + self.stored.lost + self.stored.purged + self.stored.redriven;
        if gone.len() as u64 <= excused {
            return Vec::new();
        }
        gone.iter().map(|(sequence, event)| Violation::Missing(format!("{sequence} {} {}", event.source, event.id))).collect()
    }

    /// What arrived is what was accepted: same identity, same sequence, same bytes.
    fn provenance(&self) -> Vec<Violation> {
        let key = |seen: &Seen| Some((seen.source()?.to_owned(), seen.id()?.to_owned()));
        let posted: HashMap<_, _> = self.accepted.iter().map(|event| ((event.source.clone(), event.id.clone()), event)).collect();
        let judge = |seen: &Seen| {
            let name = format!("{:?} {:?} {:?}", seen.sequence(), seen.source(), seen.id());
            let Some(key) = key(seen) else { return Some(Violation::Unwanted(format!("not an event: {name}"))) };
            let Some(event) = posted.get(&key) else {
                return (!self.uncertain.contains(&key)).then(|| Violation::Unwanted(format!("never posted: {name}")));
            };
            let redriven = seen.header("posthorn-redriven").is_some();
            if !(self.wanted)(event) {
                Some(Violation::Unwanted(name))
            } else if seen.sequence() != Some(event.sequence) && !redriven {
                Some(Violation::Changed(format!("accepted as {}, sent as {name}", event.sequence)))
            } else if event.data.as_ref().is_some_and(|data| *data != seen.body) {
                Some(Violation::Changed(format!("other bytes: {name}")))
            } else {
                None
            }
        };
        self.log.iter().filter_map(judge).collect()
    }

    /// No request comes before the first acceptance of an earlier event of its lane. Events that were never accepted by the
    /// receiver are in no one's way: that they are waiting, dead or dropped is [`History::completeness`].
    fn order(&self) -> Vec<Violation> {
        let mut lanes: HashMap<String, BTreeMap<Sequence, usize>> = HashMap::new();
        for (position, sequence, seen) in self.delivered() {
            lanes.entry((self.lane)(seen)).or_default().entry(sequence).or_insert(position);
        }
        // For each accepted event: the latest position at which it or an earlier one of its lane was first accepted.
        for lane in lanes.values_mut() {
            let mut latest = 0;
            for position in lane.values_mut() {
                latest = latest.max(*position);
                *position = latest;
            }
        }
        let mut found = Vec::new();
        for (position, seen) in self.log.iter().enumerate() {
            let (Some(sequence), Some(lane)) = (seen.sequence(), lanes.get(&(self.lane)(seen))) else { continue };
            if let Some((earlier, accepted)) = lane.range(..sequence).next_back().filter(|(_, accepted)| **accepted > position) {
                let late = self.log[*accepted].sequence().unwrap_or(*earlier);
                found.push(Violation::Overtook(format!(
                    "request {position} sent {sequence} before {late} was accepted (request {accepted})"
                )));
            }
        }
        found
    }

    fn repeats(&self) -> Vec<Violation> {
        let mut times: BTreeMap<Sequence, usize> = BTreeMap::new();
        for (_, sequence, _) in self.delivered() {
            *times.entry(sequence).or_default() += 1;
        }
        let too_often = times.iter().filter(|(_, times)| **times > self.repeats + 1);
        too_often.map(|(sequence, times)| Violation::Repeated(format!("{sequence} was accepted {times} times"))).collect()
    }
}

impl fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("destination", &self.destination).field("stored", self.stored).finish_non_exhaustive()
    }
}

mod tests {
    use super::*;

    fn sequence(ms: u64) -> Sequence {
        Sequence { ms, seq: 0 }
    }

    fn accepted(ms: u64) -> Accepted {
        let id = format!("e{ms}");
        Accepted { sequence: sequence(ms), id, source: "/s".into(), event_type: "t".into(), data: Some(Bytes::from(format!("d{ms}"))) }
    }

    fn seen(ms: u64, status: u16) -> Seen {
        let headers = [("ce-id", format!("e{ms}")), ("ce-source", "/s".into()), ("ce-sequence", sequence(ms).padded())]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut seen = Seen::new(http::Method::POST, "/".into(), headers.into_iter().collect(), Bytes::from(format!("d{ms}")));
        seen.status = Some(status);
        seen
    }

    /// The history of three events, each accepted once, with one thing changed.
    fn violations(log: &[(u64, u16)], change: impl FnOnce(&mut Stored)) -> Vec<Violation> {
        let accepted: Vec<_> = (1..=3).map(accepted).collect();
        let log: Vec<_> = log.iter().map(|(ms, status)| seen(*ms, *status)).collect();
        let mut stored = Stored { routed: 3, settled: 3, ..Stored::default() };
        change(&mut stored);
        History::strict("d", &accepted, &log, &stored).violations()
    }

    fn one_at_a_time() -> Vec<(u64, u16)> {
        vec![(1, 204), (2, 204), (3, 204)]
    }

    #[test]
    fn a_delivery_without_faults_is_kept() {
        assert_eq!(violations(&one_at_a_time(), |_| ()), []);
    }

    #[test]
    fn failed_attempts_before_the_first_success_are_kept() {
        assert_eq!(violations(&[(1, 503), (1, 204), (2, 500), (2, 503), (2, 200), (3, 204)], |_| ()), []);
    }

    #[test]
    fn an_event_that_waits_or_is_dead_is_kept() {
        let waits = |stored: &mut Stored| (stored.settled, stored.queued) = (2, vec![sequence(3)]);
        assert_eq!(violations(&[(1, 204), (2, 204), (3, 503)], waits), []);
        let dead = |stored: &mut Stored| (stored.settled, stored.buried, stored.dead) = (2, 1, vec![sequence(2)]);
        assert_eq!(violations(&[(1, 204), (2, 400), (3, 204)], dead), []);
    }

    #[test]
    fn an_event_that_is_nowhere_is_missing() {
        let found = violations(&[(1, 204), (3, 204)], |stored| (stored.settled, stored.dropped) = (2, 1));
        assert_eq!(found, [], "one is counted as dropped");
        let found = violations(&[(1, 204), (3, 204)], |_| ());
        assert!(matches!(&found[..], [Violation::Miscounted(_), Violation::Missing(text)] if text.contains("e2")), "{found:?}");
    }

    #[test]
    fn counters_that_do_not_add_up_are_found() {
        assert!(matches!(&violations(&one_at_a_time(), |stored| stored.settled = 2)[..], [Violation::Unbalanced(_)]));
        assert!(matches!(&violations(&one_at_a_time(), |stored| stored.dead = vec![sequence(1)])[..], [Violation::Miscounted(_)]));
        let twice = |stored: &mut Stored| (stored.routed, stored.lost) = (4, 1);
        assert!(matches!(&violations(&one_at_a_time(), twice)[..], [Violation::Miscounted(_)]), "routed once too often");
        let falling = |stored: &mut Stored| (stored.settled, stored.queued) = (1, vec![sequence(3), sequence(2)]);
        assert!(matches!(&violations(&[(1, 204)], falling)[..], [Violation::Miscounted(_)]));
    }

    #[test]
    fn an_event_that_overtakes_is_found_even_if_it_fails() {
        assert!(matches!(&violations(&[(1, 204), (3, 204), (2, 204)], |_| ())[..], [Violation::Overtook(_)]));
        let found = violations(&[(1, 204), (2, 503), (3, 503), (2, 204), (3, 204)], |_| ());
        assert!(matches!(&found[..], [Violation::Overtook(text)] if text.contains("request 2 sent 3-0 before 2-0")), "{found:?}");
    }

    #[test]
    fn lanes_do_not_wait_for_each_other() {
        let (accepted, log): (Vec<_>, Vec<_>) = ((1..=2).map(accepted).collect(), vec![seen(2, 204), seen(1, 204)]);
        let stored = Stored { routed: 2, settled: 2, ..Stored::default() };
        let lane = |seen: &Seen| seen.id().unwrap_or_default().to_owned();
        let history = History { lane: &lane, ..History::strict("d", &accepted, &log, &stored) };
        assert_eq!(history.violations(), []);
    }

    #[test]
    fn a_repeat_beyond_what_is_allowed_is_found() {
        let found = violations(&[(1, 204), (1, 204), (2, 204), (1, 204), (3, 204)], |_| ());
        assert!(matches!(&found[..], [Violation::Repeated(text)] if text.contains("3 times")), "{found:?}");
    }

    #[test]
    fn an_event_that_nobody_posted_or_wants_is_found() {
        let accepted: Vec<_> = (1..=2).map(accepted).collect();
        let log = [seen(1, 204), seen(2, 204), seen(9, 204)];
        let stored = Stored { routed: 1, settled: 1, ..Stored::default() };
        let wanted = |event: &Accepted| event.id == "e1";
        let history = History { wanted: &wanted, ..History::strict("d", &accepted, &log, &stored) };
        assert!(matches!(&history.violations()[..], [Violation::Unwanted(_), Violation::Unwanted(_)]), "{:?}", history.violations());
        let uncertain = [("/s".to_owned(), "e9".to_owned())];
        let history = History { uncertain: &uncertain, ..History::strict("d", &accepted, &log, &stored) };
        assert!(!history.violations().iter().any(|violation| matches!(violation, Violation::Unwanted(_))));
    }

    #[test]
    fn changed_bytes_or_another_sequence_are_found() {
        let accepted = [accepted(1)];
        let stored = Stored { routed: 1, settled: 1, ..Stored::default() };
        let mut changed = seen(1, 204);
        changed.body = Bytes::from_static(b"d1 ");
        let history = History::strict("d", &accepted, std::slice::from_ref(&changed), &stored);
        assert!(matches!(&history.violations()[..], [Violation::Changed(_)]));
        let mut moved = seen(1, 204);
        moved.attributes.insert("sequence".into(), "2-0".into());
        let found = History::strict("d", &accepted, std::slice::from_ref(&moved), &stored).violations();
        assert!(matches!(&found[..], [Violation::Missing(_), Violation::Changed(_)]), "{found:?}");
    }
}
