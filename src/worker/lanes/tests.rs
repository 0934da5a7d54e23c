//! Lanes against a list that is searched anew for each question.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Small {
    id: Sequence,
    next: u64,
    attempts: u32,
    size: usize,
    single: bool,
}

impl Body for Small {
    fn id(&self) -> Sequence {
        self.id
    }
    fn next(&self) -> u64 {
        self.next
    }
    fn attempts(&self) -> u32 {
        self.attempts
    }
    fn size(&self) -> usize {
        self.size
    }
    fn weight(&self) -> u64 {
        10
    }
    fn is_single(&self) -> bool {
        self.single
    }
    fn make_single(&mut self) {
        self.single = true;
    }
    fn start_over(&mut self) {
        (self.attempts, self.next) = (0, 0);
    }
}

fn id(number: u64) -> Sequence {
    Sequence { ms: number, seq: 0 }
}

fn small(number: u64) -> Small {
    Small { id: id(number), next: 0, attempts: 0, size: 1, single: false }
}

fn key(name: u8) -> Key {
    if name == 0 { Key::Common } else { Key::Value(name.to_string().into()) }
}

fn fill(lanes: &mut Lanes<Small>, now: u64, key: Key, numbers: std::ops::RangeInclusive<u64>) {
    numbers.for_each(|number| assert!(lanes.insert(now, key.clone(), small(number))));
}

fn ids(events: &[Small]) -> Vec<u64> {
    events.iter().map(|event| event.id.ms).collect()
}

/// One held event, as the list has it.
#[derive(Clone, Debug)]
struct Listed {
    event: Small,
    lane: u8,
    flying: bool,
    blocked: bool,
    /// It was sent before.
    again: bool,
}

/// The list.
#[derive(Debug)]
struct Model {
    order: Order,
    listed: Vec<Listed>,
}

impl Model {
    fn lane(&self, of: &Listed) -> Vec<&Listed> {
        let same = |other: &&Listed| match self.order {
            Order::Strict => true,
            Order::PerKey => other.lane == of.lane,
            Order::Unordered => other.event.id == of.event.id,
        };
        self.listed.iter().filter(same).collect()
    }

    /// When this one may start, if nothing else happens.
    fn due(&self, of: &Listed) -> Option<u64> {
        let lane = self.lane(of);
        let first = lane.iter().map(|other| other.event.id).min() == Some(of.event.id);
        (first && lane.iter().all(|other| !other.flying && !other.blocked)).then_some(of.event.next)
    }

    fn startable(&self, now: u64) -> Vec<&Listed> {
        self.listed.iter().filter(|of| self.due(of).is_some_and(|due| due <= now)).collect()
    }

    fn of(&mut self, id: Sequence) -> &mut Listed {
        self.listed.iter_mut().find(|listed| listed.event.id == id).expect("it is listed")
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8),
    /// Fetches bodies that were not kept.
    Fetch,
    Wait(u64),
    Start,
    Deliver(usize),
    Fail(usize, u64),
    Block(usize),
    Retry,
    Skip(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..4).prop_map(Step::Insert),
        1 => Just(Step::Fetch),
        1 => (1u64..50).prop_map(Step::Wait),
        4 => Just(Step::Start),
        2 => any::<usize>().prop_map(Step::Deliver),
        2 => (any::<usize>(), 1u64..100).prop_map(|(which, wait)| Step::Fail(which, wait)),
        1 => any::<usize>().prop_map(Step::Block),
        1 => Just(Step::Retry),
        1 => any::<usize>().prop_map(Step::Skip),
    ];
    prop::collection::vec(step, 1..200)
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Strict), Just(Order::PerKey), Just(Order::Unordered)]
}

/// Runs both, and compares after each step.
struct Both {
    lanes: Lanes<Small>,
    model: Model,
    flying: Vec<Small>,
    number: u64,
    now: u64,
}

impl Both {
    fn new(order: Order) -> Both {
        let model = Model { order, listed: Vec::new() };
        Both { lanes: Lanes::new(order, 8, Most::ONE), model, flying: Vec::new(), number: 0, now: 1000 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(lane) => self.insert(lane),
            Step::Fetch => self.fetch(),
            Step::Wait(time) => self.now += time,
            Step::Start => self.start(),
            Step::Deliver(which) => {
                if let Some(event) = self.landed(which) {
                    self.lanes.finish(event.id, true);
                    self.model.listed.retain(|listed| listed.event.id != event.id);
                }
            }
            Step::Fail(which, wait) => {
                if let Some(event) = self.landed(which) {
                    self.put_back(Small { next: self.now + wait, attempts: event.attempts + 1, ..event });
                }
            }
            Step::Block(which) => {
                if let Some(event) = self.landed(which) {
                    let id = event.id;
                    self.put_back(event);
                    self.lanes.block(id);
                    self.model.of(id).blocked = true;
                }
            }
            Step::Retry => self.retry(),
            Step::Skip(which) => self.skip(which),
        }
        self.compare();
    }

    fn insert(&mut self, lane: u8) {
        self.number += 1;
        // each seventh one is too large to be kept beside others
        let size = if self.number.is_multiple_of(7) { BYTES - 3 } else { 1 };
        let event = Small { size, ..small(self.number) };
        let key = if self.model.order == Order::PerKey { key(lane) } else { Key::Common };
        assert!(self.lanes.insert(self.now, key.clone(), event.clone()));
        assert!(!self.lanes.insert(self.now, key, event.clone()), "it is there already");
        self.model.listed.push(Listed { event, lane, flying: false, blocked: false, again: false });
    }

    fn fetch(&mut self) {
        for id in self.lanes.lacking() {
            let event = self.model.of(id).event.clone();
            self.lanes.restore(id, Some(event));
        }
    }

    fn start(&mut self) {
        while !self.lanes.lacking().is_empty() {
            self.fetch();
            self.lanes.promote(self.now);
        }
        let startable: Vec<Listed> = self.model.startable(self.now).into_iter().cloned().collect();
        let mut started = self.lanes.start(self.now);
        if started.is_empty() {
            // what has become due may lack its body
            self.fetch();
            started = self.lanes.start(self.now);
        }
        assert_eq!(started.is_empty(), startable.is_empty(), "{startable:?}");
        let Some(event) = started.pop() else { return };
        assert!(startable.iter().any(|listed| listed.event == event), "{event:?} may not start: {startable:?}");
        let retries = startable.iter().filter(|listed| listed.again && !self.lacks(listed)).count();
        if self.model.order == Order::Unordered && retries > 0 {
            assert!(self.model.of(event.id).again, "a retry was due");
        }
        self.model.of(event.id).flying = true;
        self.flying.push(event);
    }

    fn lacks(&self, listed: &Listed) -> bool {
        self.lanes.lacking().contains(&listed.event.id)
    }

    fn landed(&mut self, which: usize) -> Option<Small> {
        (!self.flying.is_empty()).then(|| self.flying.swap_remove(which % self.flying.len()))
    }

    fn put_back(&mut self, event: Small) {
        self.lanes.put_back(self.now, event.clone());
        let listed = self.model.of(event.id);
        (listed.event, listed.flying, listed.again) = (event, false, true);
    }

    fn retry(&mut self) {
        self.lanes.start_over();
        for listed in &mut self.model.listed {
            if !listed.flying {
                listed.event.start_over();
            }
            listed.blocked = false;
        }
    }

    fn skip(&mut self, which: usize) {
        let waiting: Vec<Sequence> = self.model.listed.iter().filter(|listed| !listed.flying).map(|listed| listed.event.id).collect();
        if waiting.is_empty() {
            return;
        }
        let id = waiting[which % waiting.len()];
        let of = self.model.of(id).clone();
        let lane = self.model.lane(&of);
        let first = lane.iter().map(|other| other.event.id).min() == Some(id) && lane.iter().all(|other| !other.flying);
        match self.lanes.take_named(id) {
            Named::Taken(event) => {
                assert!(first && event.id == id);
                self.lanes.finish(id, false);
                self.model.listed.retain(|listed| listed.event.id != id);
            }
            Named::Lacking => assert!(first && self.lanes.lacking().contains(&id)),
            Named::Not => assert!(!first, "{of:?}"),
        }
    }

    fn compare(&mut self) {
        let flying: HashSet<Sequence> = self.flying.iter().map(|event| event.id).collect();
        assert_eq!((self.lanes.len(), self.lanes.flying()), (self.model.listed.len(), flying.len()));
        assert_eq!(self.lanes.is_blocked(), self.model.listed.iter().any(|listed| listed.blocked));
        let oldest = self.model.listed.iter().min_by_key(|listed| listed.event.id);
        assert_eq!(self.lanes.oldest(), oldest.map(|listed| (listed.event.id, listed.event.attempts)));
        let due = self.model.listed.iter().filter_map(|listed| self.model.due(listed)).min();
        if self.lanes.lacking().is_empty() {
            let now = |due: Option<u64>| due.map(|due| due.max(self.now));
            assert_eq!(now(self.lanes.due()), now(due));
        }
        let kept = self.lanes.lanes.values().flat_map(|lane| &lane.waiting).filter_map(|waiting| waiting.body.as_ref());
        assert_eq!(self.lanes.bytes, kept.map(Body::size).sum::<usize>());
    }
}

proptest! {
    #[test]
    fn lanes_say_what_a_plain_list_says(order in orders(), steps in steps()) {
        let mut both = Both::new(order);
        steps.iter().for_each(|step| both.step(step));
    }

    #[test]
    fn everything_is_delivered_in_the_end_and_in_order_in_each_lane(order in orders(), steps in steps()) {
        let mut both = Both::new(order);
        steps.iter().for_each(|step| both.step(step));
        both.retry();
        let mut last: HashMap<u8, Sequence> = HashMap::new();
        for _ in 0..1000 {
            both.now += 200;
            both.start();
            for event in std::mem::take(&mut both.flying) {
                let lane = if order == Order::Strict { 0 } else { both.model.of(event.id).lane };
                let before = last.insert(lane, event.id);
                prop_assert!(order == Order::Unordered || before.is_none_or(|before| before < event.id));
                both.lanes.finish(event.id, true);
                both.model.listed.retain(|listed| listed.event.id != event.id);
            }
        }
        prop_assert!(both.lanes.is_empty());
    }
}

#[test]
fn each_key_has_its_turn_whatever_another_one_holds() {
    let mut lanes = Lanes::new(Order::PerKey, 1, Most::ONE);
    fill(&mut lanes, 0, key(1), 1..=100);
    fill(&mut lanes, 0, key(2), 101..=103);
    let mut started = Vec::new();
    for _ in 0..6 {
        let event = lanes.start(0).remove(0);
        started.push(event.id.ms);
        lanes.finish(event.id, true);
    }
    assert_eq!(started, [1, 101, 2, 102, 3, 103]);
}

#[test]
fn a_lane_that_waits_keeps_so_many_bodies_and_the_rest_as_ids() {
    let mut lanes = Lanes::new(Order::PerKey, 8, Most::ONE);
    fill(&mut lanes, 0, key(1), 1..=1000);
    assert_eq!((lanes.len(), lanes.bytes), (1000, BODIES));
    for number in 1..=1000 {
        for id in lanes.lacking() {
            lanes.restore(id, Some(small(id.ms)));
        }
        assert_eq!(ids(&lanes.start(0)), [number]);
        lanes.finish(id(number), true);
        assert!(lanes.bytes <= BODIES + AGAIN);
    }
}

#[test]
fn reading_goes_on_past_keys_that_wait_until_so_many_are_held() {
    let mut lanes = Lanes::new(Order::PerKey, 8, Most::ONE);
    lanes.insert(0, key(1), small(1));
    lanes.put_back(0, Small { next: 1_000_000, attempts: 1, ..small(1) });
    let failed = lanes.start(0).remove(0);
    lanes.put_back(0, Small { next: 1_000_000, attempts: 1, ..failed });
    let mut number = 1;
    while lanes.room() > 0 {
        for _ in 0..lanes.room() {
            number += 1;
            lanes.insert(0, key(1), small(number));
        }
    }
    assert!(lanes.is_full() && (MAX_HELD - AHEAD..=MAX_HELD).contains(&lanes.len()), "{}", lanes.len());
    assert!(lanes.start(0).is_empty());
}

#[test]
fn without_order_reading_stops_when_so_many_wait_for_a_retry() {
    let mut lanes = Lanes::new(Order::Unordered, 8, Most::ONE);
    let mut number = 0;
    while lanes.room() > 0 {
        number += 1;
        lanes.insert(0, Key::Common, small(number));
        let event = lanes.start(0).remove(0);
        lanes.put_back(0, Small { next: 1_000_000, attempts: 1, ..event });
    }
    assert_eq!(lanes.len(), MAX_RETRYING);
}

fn batches(order: Order) -> Lanes<Small> {
    Lanes::new(order, 8, Most { events: 4, bytes: 35, wait: 0 })
}

#[test]
fn a_batch_is_of_one_lane_and_within_its_limits() {
    let mut lanes = batches(Order::PerKey);
    for (number, name) in [(1, 1), (2, 1), (3, 2), (4, 1), (5, 1), (6, 2)] {
        lanes.insert(0, key(name), small(number));
    }
    assert_eq!(ids(&lanes.start(0)), [1, 2, 4]);
    assert_eq!(ids(&lanes.start(0)), [3, 6]);
    assert!(lanes.start(0).is_empty(), "the rest waits for the one before");
    (1..=4).for_each(|number| lanes.finish(id(number), true));
    assert_eq!(ids(&lanes.start(0)), [5]);
}

#[test]
fn what_must_not_share_a_request_goes_alone() {
    let mut lanes = batches(Order::Strict);
    for number in 1..=4 {
        lanes.insert(0, Key::Common, Small { single: number == 2, ..small(number) });
    }
    for expected in [vec![1], vec![2], vec![3, 4]] {
        let batch = lanes.start(0);
        assert_eq!(ids(&batch), expected);
        batch.iter().for_each(|event| lanes.finish(event.id, true));
    }
}

#[test]
fn without_order_events_that_are_tried_again_share_a_request() {
    let mut lanes = batches(Order::Unordered);
    fill(&mut lanes, 0, Key::Common, 1..=5);
    let batch = lanes.start(0);
    assert_eq!(ids(&batch), [1, 2, 3]);
    batch.into_iter().for_each(|event| lanes.put_back(0, Small { next: 10, attempts: 1, ..event }));
    assert_eq!(ids(&lanes.start(5)), [4, 5]);
    assert_eq!(ids(&lanes.start(10)), [1, 2, 3]);
}

#[test]
fn a_batch_waits_for_others_until_it_is_full_or_its_time_is_over() {
    let mut lanes = Lanes::new(Order::Strict, 1, Most { events: 3, bytes: 100, wait: 50 });
    lanes.insert(100, Key::Common, small(1));
    lanes.insert(120, Key::Common, small(2));
    assert_eq!(lanes.due(), Some(150));
    assert!(lanes.start(149).is_empty());
    let batch = lanes.start(150);
    assert_eq!(ids(&batch), [1, 2]);
    batch.iter().for_each(|event| lanes.finish(event.id, true));
    fill(&mut lanes, 200, Key::Common, 3..=5);
    assert_eq!(ids(&lanes.start(200)), [3, 4, 5]);
}
