//! What became of the events.

use super::sender::Stored;
use super::source::Refused;
use crate::cli::output::{self, Format, ObjectFormat, harmless};
use crate::event::{Event, Sequence};
use serde_json::json;

/// Refusals that are told one by one.
const TOLD: u64 = 100;

/// Counts of all events so far.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Stored by us.
    pub(super) sent: u64,
    /// Stored before.
    pub(super) duplicates: u64,
    /// Those of `sent` whose storing was not answered, and which a repeat found stored.
    pub(super) confirmed: u64,
    /// Refused.
    pub(super) refused: u64,
    refusals: Vec<Refused>,
    first: Option<Sequence>,
    last: Option<Sequence>,
    /// There is only one event; its id and place.
    one: Option<Option<(String, Sequence)>>,
}

impl Totals {
    /// Nothing yet; `one`: there will be a single event.
    pub(super) fn new(one: bool) -> Totals {
        Totals { one: one.then_some(None), ..Totals::default() }
    }

    /// Events whose fate is known.
    pub(super) fn handled(&self) -> u64 {
        self.sent + self.duplicates + self.refused
    }

    /// Counts what was stored.
    pub(super) fn add(&mut self, events: &[Event], stored: Stored) {
        for (event, receipt) in events.iter().zip(stored.receipts) {
            match (receipt.duplicate, stored.repeated) {
                (true, false) => self.duplicates += 1,
                (ours, _) => {
                    self.sent += 1;
                    self.confirmed += u64::from(ours);
                    self.first.get_or_insert(receipt.sequence);
                    self.last = Some(receipt.sequence);
                }
            }
            if let Some(one) = &mut self.one {
                *one = Some((event.attributes.id().to_owned(), receipt.sequence));
            }
        }
    }

    /// Counts and tells a refused line.
    pub(super) fn refuse(&mut self, refused: Refused) {
        self.refused += 1;
        if self.refused <= TOLD {
            eprintln!("line {}: refused: {}", refused.line, harmless(&refused.reason));
            self.refusals.push(refused);
        } else if self.refused == TOLD + 1 {
            eprintln!("more lines are refused; they are counted only");
        }
    }

    /// Prints them.
    pub(super) fn print(&self, format: Format) -> std::io::Result<()> {
        match format {
            Format::Text => output::print(&(self.text() + "\n")),
            Format::Json => output::object(self.object(), ObjectFormat::Json),
        }
    }

    fn text(&self) -> String {
        match &self.one {
            Some(Some((id, sequence))) if self.duplicates > 0 => {
                format!("{}: stored before, as {}; not stored again", harmless(id), sequence.padded())
            }
            Some(Some((id, sequence))) => format!("{}: stored as {}", harmless(id), sequence.padded()),
            _ => {
                let confirmed = match self.confirmed {
                    0 => String::new(),
                    some => format!(" ({some} of them found stored when repeated after no answer)"),
                };
                format!("sent {}{confirmed}, duplicates {}, refused {}", self.sent, self.duplicates, self.refused)
            }
        }
    }

    fn object(&self) -> serde_json::Value {
        let mut object = json!({
            "sent": self.sent,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "refusals": self.refusals,
            "confirmedByRepeating": self.confirmed,
            "firstSequence": self.first.map(|sequence| sequence.padded()),
            "lastSequence": self.last.map(|sequence| sequence.padded()),
        });
        if let Some(Some((id, sequence))) = &self.one {
            object["id"] = id.clone().into();
            object["sequence"] = sequence.padded().into();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::append::Receipt;
    use crate::event::{Limits, json as format};

    fn event(id: &str) -> Event {
        format::event(&format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#).into(), &Limits::default()).unwrap()
    }

    fn stored(duplicates: &[bool], repeated: bool) -> Stored {
        let receipt = |(seq, duplicate): (u64, &bool)| Receipt { sequence: Sequence { ms: 5, seq }, duplicate: *duplicate };
        Stored { receipts: (0..).zip(duplicates).map(receipt).collect(), repeated }
    }

    #[test]
    fn totals_add_up_to_all_events() {
        let mut totals = Totals::new(false);
        totals.add(&[event("1"), event("2"), event("3")], stored(&[false, true, false], false));
        totals.add(&[event("4"), event("5")], stored(&[true, false], true));
        totals.refuse(Refused { line: 6, reason: "no".into() });
        assert_eq!(totals.handled(), 6);
        assert_eq!(totals.text(), "sent 4 (1 of them found stored when repeated after no answer), duplicates 1, refused 1");
        let object = totals.object();
        assert_eq!((object["sent"].as_u64(), object["refusals"][0]["line"].as_u64()), (Some(4), Some(6)));
    }

    #[test]
    fn one_event_is_told_by_its_id() {
        let mut totals = Totals::new(true);
        totals.add(&[event("e1")], stored(&[false], false));
        assert_eq!(totals.text(), "e1: stored as 0000000000000005-0000000000");
        let mut again = Totals::new(true);
        again.add(&[event("e1")], stored(&[true], false));
        assert!(again.text().contains("stored before"));
        assert_eq!(again.object()["id"], "e1");
    }
}
