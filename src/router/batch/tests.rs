//! Whatever the limits and changes, each queue gets each entry that it wants once, in order.

use super::*;
use crate::bus::cursor::{Loaded, Target};
use crate::event::http::{Received, decode};
use crate::filter::Filter;
use crate::plan::{Route, RouteState};
use proptest::prelude::*;
use std::time::Duration;

/// Who wants what: row by destination, column by entry.
type Wants = Vec<Vec<bool>>;

/// An entry whose `type` is its number; its data are so many bytes.
fn entry(number: usize, size: usize, to: Option<&str>) -> Entry {
    let event_type = format!("t{number}");
    let headers = [("ce-specversion", "1.0"), ("ce-id", "i"), ("ce-source", "/s"), ("ce-type", &event_type)];
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect();
    let Received::One(event) = decode(&headers, "".into(), &crate::event::Limits::default()).unwrap() else { panic!("one event") };
    let mut flat = vec!["v".into(), "1".into(), "a".into(), event.attributes.to_json().into(), "d".into(), vec![b'x'; size].into()];
    if let Some(to) = to {
        flat.extend(["to".into(), to.to_owned().into()]);
    }
    Entry { sequence: Sequence { ms: number as u64 + 1, seq: 0 }, flat }
}

fn uid(number: usize) -> String {
    format!("u{number:04}")
}

fn target(wants: &[bool], start: u64, fill: Option<u64>) -> Target {
    let types = wants.iter().enumerate().filter(|(_, wanted)| **wanted).map(|(entry, _)| format!("t{entry}"));
    let filters = vec![Filter::Any(types.map(|name| Filter::Exact([("type".to_owned(), name)].into())).collect())];
    let route = Route {
        owner: String::new(),
        rev: 1,
        namespace: "n".into(),
        name: "n".into(),
        created: String::new(),
        sink_uri: String::new(),
        filters,
        state: RouteState::Open,
        suspend: false,
        dead_letter_max_age: Duration::ZERO,
        limit: None,
        dead_letters_to: None,
        unresolved: None,
    };
    let at = |ms| Sequence { ms, seq: 0 };
    Target { route: Some(route), start: at(start), fill: fill.map(at) }
}

fn table(destinations: Vec<(String, Option<Target>)>) -> Table {
    let mut table = Table::default();
    apply(&mut table, destinations);
    table
}

fn apply(table: &mut Table, destinations: Vec<(String, Option<Target>)>) {
    let generation = table.generation + 1;
    table.apply(Loaded { position: Sequence::ZERO, generation, trimmed: Sequence::ZERO, destinations });
}

fn all(wants: &Wants) -> Table {
    table(wants.iter().enumerate().map(|(number, wants)| (uid(number), Some(target(wants, 0, None)))).collect())
}

/// What the queues hold after some calls, what was counted as unmatched, and where the cursor is.
#[derive(Debug, Default, PartialEq)]
struct Done {
    queues: BTreeMap<String, Vec<Sequence>>,
    unmatched: u64,
    position: Sequence,
}

impl Done {
    /// Makes one call, as Redis would.
    fn call(&mut self, batch: &mut Batch, limits: Limits) {
        let slice = batch.slice(limits);
        let appends: Vec<_> = slice.queues.values().flatten().map(|index| batch.entry(slice.entries[*index])).collect();
        let bytes: usize = appends.iter().map(|entry| entry.size()).sum();
        assert_eq!(bytes, slice.bytes);
        assert!(
            appends.len() <= 1 || (appends.len() <= limits.appends && bytes <= limits.bytes),
            "{} appends, {bytes} bytes",
            appends.len()
        );
        assert!(slice.end < limits.entries);
        assert!(slice.entries.iter().all(|index| *index <= slice.end));
        for (uid, indices) in &slice.queues {
            let queue = self.queues.entry(uid.to_string()).or_default();
            queue.extend(indices.iter().map(|index| batch.entry(slice.entries[*index]).sequence));
        }
        self.unmatched += slice.unmatched;
        if slice.complete {
            self.position = batch.entry(slice.end).sequence;
        }
        batch.advance(&slice);
    }
}

fn wants() -> impl Strategy<Value = (Wants, Vec<usize>)> {
    (0..8_usize, 1..12_usize).prop_flat_map(|(destinations, entries)| {
        (prop::collection::vec(prop::collection::vec(any::<bool>(), entries), destinations), prop::collection::vec(0..300_usize, entries))
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..20_usize, 1..20_usize, 1..2000_usize).prop_map(|(entries, appends, bytes)| Limits { entries, appends, bytes })
}

fn expected(wants: &Wants, entries: usize) -> Done {
    let taken =
        |wants: &Vec<bool>| (0..entries).filter(|entry| wants[*entry]).map(|entry| Sequence { ms: entry as u64 + 1, seq: 0 }).collect();
    let queues = wants.iter().enumerate().map(|(number, wants)| (uid(number), taken(wants)));
    let unmatched = (0..entries).filter(|entry| wants.iter().all(|wants| !wants[*entry])).count() as u64;
    let queues = queues.filter(|(_, taken): &(_, Vec<_>)| !taken.is_empty()).collect();
    Done { queues, unmatched, position: Sequence { ms: entries as u64, seq: 0 } }
}

proptest! {
    #[test]
    fn each_queue_gets_each_entry_that_it_wants_once_and_in_order_whatever_the_limits(
        (wants, sizes) in wants(),
        limits in prop::collection::vec(limits(), 1..6),
    ) {
        let entries = sizes.iter().enumerate().map(|(number, size)| entry(number, *size, None)).collect();
        let mut batch = Batch::new(entries, &all(&wants));
        let (mut done, mut calls) = (Done::default(), limits.iter().cycle());
        while batch.len() > 0 {
            done.call(&mut batch, *calls.next().unwrap());
        }
        prop_assert_eq!(done, expected(&wants, sizes.len()));
    }

    #[test]
    fn an_entry_above_the_position_follows_the_change_unless_the_queue_has_it_already(
        (wants, sizes) in wants(),
        changed in prop::collection::vec(any::<bool>(), 12),
        which in any::<prop::sample::Index>(),
        limits in limits(),
        calls in 0..6_usize,
        by_all: bool,
    ) {
        prop_assume!(!wants.is_empty());
        let entries = sizes.iter().enumerate().map(|(number, size)| entry(number, *size, None)).collect();
        let mut table = all(&wants);
        let mut batch = Batch::new(entries, &table);
        let mut done = Done::default();
        for _ in 0..calls {
            if batch.len() > 0 {
                done.call(&mut batch, limits);
            }
        }
        let (number, at) = (which.index(wants.len()), done.position);
        let before = done.queues.get(&uid(number)).cloned().unwrap_or_default();
        apply(&mut table, vec![(uid(number), Some(target(&changed, 0, None)))]);
        if by_all { batch.decide_all(&table) } else { batch.decide(&uid(number), &table) }
        while batch.len() > 0 {
            done.call(&mut batch, limits);
        }
        // A queue refuses an ID that it has had.
        for queue in done.queues.values_mut() {
            queue.dedup();
        }
        let old = |sequence: &Sequence| wants[number][sequence.ms as usize - 1];
        let new = |sequence: &Sequence| changed[sequence.ms as usize - 1];
        for entry in 0..sizes.len() {
            let sequence = Sequence { ms: entry as u64 + 1, seq: 0 };
            let held = done.queues.get(&uid(number)).is_some_and(|queue| queue.contains(&sequence));
            let wanted = if sequence <= at { old(&sequence) } else { new(&sequence) || before.contains(&sequence) };
            prop_assert_eq!(held, wanted, "{}", sequence);
        }
        for (other, wants) in wants.iter().enumerate().filter(|(other, _)| *other != number) {
            let queue = done.queues.get(&uid(other)).cloned().unwrap_or_default();
            prop_assert_eq!(queue.len(), (0..sizes.len()).filter(|entry| wants[*entry]).count());
        }
        prop_assert!(done.queues.values().all(|queue| queue.is_sorted_by(|a, b| a < b)));
    }

    #[test]
    fn a_destination_behind_the_cursor_gets_the_same_as_one_that_follows_it((wants, sizes) in wants(), upto in 0..14_u64, start in 0..14_u64) {
        let entries: Vec<_> = sizes.iter().enumerate().map(|(number, size)| entry(number, *size, None)).collect();
        let upto = Sequence { ms: upto, seq: 0 };
        for (number, wants) in wants.iter().enumerate() {
            let (live, behind) = (table(vec![(uid(number), Some(target(wants, start, None)))]), table(vec![(uid(number), Some(target(wants, start, Some(0))))]));
            let mut batch = Batch::new(entries.clone(), &live);
            let mut done = Done::default();
            while batch.len() > 0 {
                done.call(&mut batch, Limits::CALL);
            }
            let by_cursor: Vec<_> = done.queues.remove(&uid(number)).unwrap_or_default().into_iter().filter(|sequence| *sequence <= upto).collect();
            let filled = wanted_by(&entries, &uid(number), behind.get(&uid(number)).unwrap(), upto);
            prop_assert_eq!(filled.into_iter().map(|entry| entry.sequence).collect::<Vec<_>>(), by_cursor);
            prop_assert!(Batch::new(entries.clone(), &behind).slice(Limits::CALL).queues.is_empty(), "the cursor gives it nothing");
        }
    }
}

#[test]
fn an_entry_for_one_destination_goes_to_that_one_without_filter() {
    let table = all(&vec![vec![false, false], vec![true, true]]);
    let mut batch = Batch::new(vec![entry(0, 1, Some("u0000")), entry(1, 1, Some("nobody"))], &table);
    let mut done = Done::default();
    done.call(&mut batch, Limits::CALL);
    assert_eq!(done.queues.keys().collect::<Vec<_>>(), ["u0000"]);
    assert_eq!(done.unmatched, 1);
}

#[test]
fn a_wide_entry_takes_as_many_calls_as_its_bytes_and_its_width_ask_for() {
    let wide = vec![vec![true]; 5000];
    for (size, calls) in [(1, 3), (4 << 20, 5000), (64 << 10, 80)] {
        let mut batch = Batch::new(vec![entry(0, size, None)], &all(&wide));
        let (mut done, mut count) = (Done::default(), 0);
        while batch.len() > 0 {
            done.call(&mut batch, Limits::CALL);
            count += 1;
        }
        assert_eq!((done.queues.len(), done.unmatched), (5000, 0));
        assert!(count >= calls && count <= calls + calls / 50 + 1, "{count} calls");
    }
}

#[test]
fn limits_are_halved_down_to_a_single_append() {
    let mut limits = Limits::CALL;
    for _ in 0..30 {
        limits = limits.halved(256);
    }
    assert_eq!(limits, Limits::ONE);
}
