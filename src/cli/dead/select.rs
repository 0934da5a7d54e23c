//! Which dead letters are meant.

use crate::bus::dead_letters::{self, Brief};
use crate::bus::{Link, cursor};
use crate::cli::names::Named;
use crate::cli::when::When;
use crate::event::Sequence;
use anyhow::bail;
use std::collections::BTreeSet;

/// Dead letters looked at in one call.
const PAGE: usize = 1000;

/// Which dead letters; all if nothing is said, else those for which all of it is true.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct Selector {
    /// Only these, by the id of the event or by the sequence that `dead list` shows; may be repeated
    #[arg(long, value_name = "ID|SEQUENCE")]
    id: Vec<String>,
    /// Only those given up since then: a time (RFC 3339), or how long ago (2h)
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only those given up until then
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Only those given up for this reason, as `dead list` shows it; may be repeated
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
}

/// The dead letters that were meant at one moment.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// In the order in which their events were accepted.
    pub(super) letters: Vec<Picked>,
    /// Dead letters of the destination, chosen or not.
    pub(super) of: usize,
}

/// One dead letter that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    /// Its own ID among the dead letters.
    pub(super) id: Sequence,
    /// The place of its event in the order.
    pub(super) sequence: Sequence,
    /// When it was given up, milliseconds since the epoch.
    pub(super) at: u64,
}

/// A selector whose times are fixed.
pub(super) struct Test<'a> {
    selector: &'a Selector,
    since: u64,
    until: u64,
}

impl Selector {
    /// Fixes the times, where the clock of Redis shows `now`.
    pub(super) fn at(&self, now: u64) -> Test<'_> {
        let at = |when: Option<When>, or: u64| when.map_or(or, |when| when.at(now));
        Test { selector: self, since: at(self.since, 0), until: at(self.until, u64::MAX) }
    }

    /// Finds those that are there now.
    ///
    /// # Errors
    /// If Redis does not answer, or one that was named is not there.
    pub(super) async fn choose(&self, link: &Link, bus: &str, named: &Named) -> anyhow::Result<Chosen> {
        let test = self.at(cursor::now(link).await?);
        let mut missing: BTreeSet<&str> = self.id.iter().map(String::as_str).collect();
        let (mut chosen, mut after) = (Chosen::default(), Sequence::ZERO);
        loop {
            let page = dead_letters::briefs(link, bus, &named.uid, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            chosen.of += page.len();
            missing.retain(|id| !page.iter().any(|letter| is_named(letter, id)));
            chosen.letters.extend(page.iter().filter(|letter| test.takes(letter)).map(Picked::of));
        }
        if !missing.is_empty() {
            let (ids, name) = (missing.into_iter().collect::<Vec<_>>().join(", "), &named.full_name);
            bail!("{name} has no dead letter {ids}; `posthorn dead list {name}` shows those that are kept. Nothing was done");
        }
        chosen.letters.sort_unstable_by_key(|letter| (letter.sequence, letter.id));
        Ok(chosen)
    }
}

impl Test<'_> {
    /// Whether this one is meant.
    pub(super) fn takes(&self, letter: &Brief) -> bool {
        let Selector { id, since: _, until: _, reason } = self.selector;
        (id.is_empty() || id.iter().any(|id| is_named(letter, id)))
            && (self.since..=self.until).contains(&letter.at)
            && (reason.is_empty() || reason.contains(&letter.class))
    }
}

impl Picked {
    fn of(letter: &Brief) -> Picked {
        Picked { id: letter.id, sequence: letter.sequence, at: letter.at }
    }
}

fn is_named(letter: &Brief, id: &str) -> bool {
    letter.event_id == id || id.parse().is_ok_and(|id: Sequence| letter.sequence == id || letter.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(seq: u64, event_id: &str, class: &str, at: u64) -> Brief {
        Brief { id: Sequence { ms: 100, seq }, sequence: Sequence { ms: 5, seq }, event_id: event_id.into(), class: class.into(), at }
    }

    #[test]
    fn a_letter_is_meant_if_all_that_was_said_is_true_of_it() {
        let selector = |ids: &[&str], since: Option<&str>, until: Option<&str>, reasons: &[&str]| Selector {
            id: ids.iter().map(|id| (*id).to_owned()).collect(),
            since: since.map(|text| text.parse().unwrap()),
            until: until.map(|text| text.parse().unwrap()),
            reason: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        };
        let now = 100_000;
        let letters = [letter(1, "a", "Timeout", 20_000), letter(2, "b", "Timeout", 50_000), letter(3, "c", "Skipped", 95_000)];
        let cases = [
            (selector(&[], None, None, &[]), "abc"),
            (selector(&["b", "0000000000000005-0000000003"], None, None, &[]), "bc"),
            (selector(&[], Some("60s"), None, &[]), "bc"),
            (selector(&[], Some("60s"), Some("1970-01-01T00:00:50Z"), &[]), "b"),
            (selector(&[], None, None, &["Skipped", "Other"]), "c"),
            (selector(&["a"], Some("10s"), None, &[]), ""),
        ];
        for (selector, expected) in cases {
            let test = selector.at(now);
            let taken: String = letters.iter().filter(|letter| test.takes(letter)).map(|letter| letter.event_id.as_str()).collect();
            assert_eq!(taken, expected, "{selector:?}");
        }
    }
}
