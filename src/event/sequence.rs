//! The place of an event in the order of its bus.

use std::fmt;
use std::str::FromStr;

/// A Redis stream entry ID, `ms-seq`: the ingest time-stamp in milliseconds and the tie-break in one.
///
/// `Display` is the Redis form (`1764000000000-0`); [`Sequence::padded`] is the form that receivers see, which sorts as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// Milliseconds since the epoch, by the clock of Redis.
    pub ms: u64,
    /// Tie-break within one millisecond.
    pub seq: u64,
}

impl Sequence {
    /// Before every entry (`0-0`).
    pub const ZERO: Sequence = Sequence { ms: 0, seq: 0 };

    /// The form sent as `ce-sequence`: zero-padded, so that it sorts as text (CloudEvents extension `sequence`).
    pub fn padded(&self) -> String {
        format!("{:016}-{:010}", self.ms, self.seq)
    }

    /// The smallest ID above this one.
    pub fn next(&self) -> Sequence {
        match self.seq.checked_add(1) {
            Some(seq) => Sequence { ms: self.ms, seq },
            None => Sequence { ms: self.ms + 1, seq: 0 },
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Not an entry ID.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a sequence: write it as milliseconds-number, like 1764000000000-0")]
pub struct NotASequence(pub String);

impl FromStr for Sequence {
    type Err = NotASequence;

    /// Reads both forms, the Redis one and the padded one.
    fn from_str(text: &str) -> Result<Sequence, NotASequence> {
        let wrong = || NotASequence(text.to_owned());
        let (ms, seq) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Sequence { ms: ms.parse().map_err(|_| wrong())?, seq: seq.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_forms_are_read_back(ms: u64, seq: u64) {
            let sequence = Sequence { ms, seq };
            prop_assert_eq!(sequence.to_string().parse::<Sequence>(), Ok(sequence));
            prop_assert_eq!(sequence.padded().parse::<Sequence>(), Ok(sequence));
        }

        #[test]
        fn padded_sequences_sort_as_text(a in 0..10u64.pow(16), b in 0..10u64.pow(16), x in 0..10u64.pow(10), y in 0..10u64.pow(10)) {
            let (left, right) = (Sequence { ms: a, seq: x }, Sequence { ms: b, seq: y });
            prop_assert_eq!(left.cmp(&right), left.padded().cmp(&right.padded()));
        }

        #[test]
        fn next_is_directly_above(ms in 0..u64::MAX, seq: u64) {
            let sequence = Sequence { ms, seq };
            prop_assert!(sequence.next() > sequence);
        }
    }

    #[test]
    fn what_is_not_a_sequence_is_refused() {
        for text in ["", "1", "-1-2", "1-", "1-2-3", "a-b"] {
            assert!(text.parse::<Sequence>().is_err(), "{text}");
        }
    }
}
