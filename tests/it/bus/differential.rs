//! Random sequences of scripts, foreign hands among them, against the model: after each step Redis holds what the model holds.

use super::fixture::{Bus, NO_QUOTA, Step, burial, done, event, ids, quota_of, routed, shared};
use super::model::{Destination, LIMIT, MAX_DEAD, Model};
use super::shown::{Shown, found};
use posthorn::bus::cursor::{self, Batch, FillCall, Filled, Routed};
use posthorn::bus::entry::Entry;
use posthorn::bus::queue::{Answered, Burial, Buried, Fate, Settled, Streak, Tenure};
use posthorn::bus::routing::{self, Created, Start};
use posthorn::event::Sequence;
use posthorn::plan::{BacklogLimit, OnOverflow};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::time::Duration;

const UIDS: [&str; 2] = ["a", "b"];

/// One step. The first number of those that have one chooses the destination.
#[derive(Clone, Debug)]
enum Op {
    Post(usize),
    /// Bits of the first byte: which events each destination wants; the second number: quota in events; the limit of their specs.
    Route(u8, Option<u64>, Option<BacklogLimit>),
    /// The first event above the cursor, to one destination, without moving the cursor.
    RoutePart(usize),
    /// The last call of `route` comes a second time.
    RouteAgain,
    Read(usize, usize),
    Settle(usize, usize, u32),
    Begin(usize, usize, u32, bool, bool),
    Fail(usize, usize, u32),
    Abort(usize, usize),
    Bury(usize, usize, bool, bool),
    TakeOver(usize),
    Detach(usize),
    /// So many events further, quota in events; `None` drops.
    Fill(usize, usize, Option<u64>),
    Trim,
    Create(usize, bool),
    Delete(usize),
    LoseQueue(usize),
    LoseGroup(usize),
    LoseRoute(usize),
    LoseEntry(usize, usize),
    ForeignRead(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let d = || 0..UIDS.len();
    let quota = || proptest::option::of(1..4u64);
    prop_oneof![
        6 => (1..4usize).prop_map(Op::Post),
        8 => (any::<u8>(), quota(), limit()).prop_map(|(wants, quota, limit)| Op::Route(wants, quota, limit)),
        1 => d().prop_map(Op::RoutePart),
        1 => Just(Op::RouteAgain),
        8 => (d(), 1..12usize).prop_map(|(d, max)| Op::Read(d, max)),
        6 => (d(), 0..4usize, 1..3u32).prop_map(|(d, k, n)| Op::Settle(d, k, n)),
        3 => (d(), 0..4usize, 1..4u32, any::<bool>(), any::<bool>()).prop_map(|(d, k, n, solo, mine)| Op::Begin(d, k, n, solo, mine)),
        2 => (d(), 0..4usize, 1..4u32).prop_map(|(d, k, n)| Op::Fail(d, k, n)),
        1 => (d(), 0..4usize).prop_map(|(d, k)| Op::Abort(d, k)),
        4 => (d(), 0..4usize, any::<bool>(), any::<bool>()).prop_map(|(d, k, keep, counts)| Op::Bury(d, k, keep, counts)),
        3 => d().prop_map(Op::TakeOver),
        2 => d().prop_map(Op::Detach),
        6 => (d(), 0..6usize, prop_oneof![3 => (1..6u64).prop_map(Some), 1 => Just(None)]).prop_map(|(d, n, quota)| Op::Fill(d, n, quota)),
        2 => Just(Op::Trim),
        3 => (d(), any::<bool>()).prop_map(|(d, earliest)| Op::Create(d, earliest)),
        1 => d().prop_map(Op::Delete),
        1 => d().prop_map(Op::LoseQueue),
        1 => d().prop_map(Op::LoseGroup),
        1 => d().prop_map(Op::LoseRoute),
        1 => (d(), 0..4usize).prop_map(|(d, k)| Op::LoseEntry(d, k)),
        1 => (d(), 1..4usize).prop_map(|(d, n)| Op::ForeignRead(d, n)),
    ]
}

fn limit() -> impl Strategy<Value = Option<BacklogLimit>> {
    let most = || proptest::option::of(1..5u64);
    let policy = prop_oneof![Just(OnOverflow::DropNewest), Just(OnOverflow::DropOldest)];
    let limit = (most(), most(), policy);
    proptest::option::of(limit.prop_map(|(max_events, bytes, on_overflow)| BacklogLimit {
        max_events,
        max_bytes: bytes.map(|events| in_bytes(Some(events)) / 2),
        on_overflow,
    }))
}

#[test]
fn scripts_do_what_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut config = Config { failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 48;
    }
    let redis = shared();
    let cases = TestRunner::new(config).run(&proptest::collection::vec(op(), 20..60), |ops| {
        runtime.block_on(async {
            let mut run = Run::start(Bus::on(redis.clone()).await).await;
            for op in &ops {
                run.step(op).await;
                run.compare();
            }
        });
        Ok(())
    });
    cases.unwrap_or_else(|failed| panic!("{failed}"));
}

/// One sequence: the bus, the model, and what the workers believe.
struct Run {
    bus: Bus,
    connection: redis::Connection,
    model: Model,
    workers: [Option<Worker>; UIDS.len()],
    last: Option<Step>,
}

#[derive(Clone)]
struct Worker {
    tenure: Tenure,
    held: BTreeSet<Sequence>,
    highest: Sequence,
}

impl Run {
    async fn start(bus: Bus) -> Run {
        let connection = bus.redis.connection().unwrap();
        let model = Model { destinations: vec![None; UIDS.len()], ..Model::default() };
        let mut run = Run { bus, connection, model, workers: [None, None], last: None };
        for d in 0..UIDS.len() {
            run.create(d, false).await;
        }
        run
    }

    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Post(count) => self.post(count).await,
            Op::Route(wants, quota, limit) => self.route(wants, quota, limit).await,
            Op::RoutePart(d) => self.route_part(d).await,
            Op::RouteAgain => {
                if let Some(step) = self.last.take() {
                    self.send(step).await;
                }
            }
            Op::Trim => self.trim().await,
            Op::Create(d, earliest) => self.create(d, earliest).await,
            Op::Detach(d) => self.detach(d).await,
            Op::Fill(d, count, quota) => self.fill(d, count, quota).await,
            _ => self.step_of_a_destination(op).await,
        }
    }

    /// Steps that need a destination that is there.
    async fn step_of_a_destination(&mut self, op: &Op) {
        match *op {
            Op::Read(d, _) | Op::TakeOver(d) | Op::Delete(d) | Op::LoseQueue(d) | Op::LoseGroup(d) | Op::LoseRoute(d)
                if self.model.destinations[d].is_none() => {}
            Op::Read(d, max) => self.read(d, max).await,
            Op::TakeOver(d) => self.take_over(d).await,
            Op::Delete(d) => {
                routing::delete(&self.bus.link, &self.bus.name, UIDS[d], &format!("default/{}", UIDS[d])).await.unwrap();
                (self.model.destinations[d], self.workers[d]) = (None, None);
                self.model.generation += 1;
            }
            Op::LoseQueue(d) => {
                self.bus.cli(&["DEL", &self.bus.key("q", UIDS[d])]);
                self.destination(d).lose_queue();
            }
            Op::LoseGroup(d) => {
                if self.destination(d).has_queue {
                    self.bus.cli(&["XGROUP", "DESTROY", &self.bus.key("q", UIDS[d]), "delivery"]);
                    self.destination(d).lose_group();
                }
                self.take_over(d).await;
            }
            Op::LoseRoute(d) => self.lose_route(d).await,
            Op::LoseEntry(d, k) => {
                let Some(destination) = &mut self.model.destinations[d] else { return };
                if let Some(id) = destination.queue.keys().nth(k).copied() {
                    destination.queue.remove(&id);
                    self.bus.cli(&["XDEL", &self.bus.key("q", UIDS[d]), &id.to_string()]);
                }
            }
            Op::ForeignRead(d, count) => self.foreign_read(d, count),
            _ => self.step_of_an_event(op).await,
        }
    }

    /// Steps that need an event that a worker holds.
    async fn step_of_an_event(&mut self, op: &Op) {
        let (Op::Settle(d, k, ..) | Op::Begin(d, k, ..) | Op::Fail(d, k, ..) | Op::Abort(d, k) | Op::Bury(d, k, ..)) = *op else { return };
        let Some(worker) = self.workers[d].as_mut() else { return };
        let Some(id) = worker.held.iter().nth(k).copied() else { return };
        let (tenure, destination) = (&worker.tenure, self.model.destinations[d].as_mut().unwrap());
        let gone = match *op {
            Op::Settle(_, _, attempts) => {
                let size = usize::try_from(self.model.log[&id]).unwrap();
                assert_eq!(done(tenure.settle(&[Settled { id, size, attempts }]).await), destination.settle(id, attempts));
                true
            }
            Op::Begin(_, _, n, solo, mine) => {
                let answer = tenure.begin(id, n, solo, mine).await.unwrap();
                same(answer, destination.begin(id, n, solo, mine))
            }
            Op::Fail(_, _, n) => {
                let answer = tenure.fail(id, n, "Timeout", None, "", Some(Duration::ZERO)).await.unwrap();
                same(answer, destination.fail(id, n))
            }
            Op::Abort(..) => same(tenure.abort(id).await.unwrap(), destination.abort(id)),
            Op::Bury(_, _, keep, counts) => bury(tenure, destination, id, keep, counts).await,
            _ => unreachable!("chosen above"),
        };
        if gone {
            worker.held.remove(&id);
        }
    }

    fn destination(&mut self, d: usize) -> &mut Destination {
        self.model.destinations[d].as_mut().expect("the caller looked")
    }

    async fn post(&mut self, count: usize) {
        let events: Vec<_> = (0..count).map(|_| event()).collect();
        let first = self.model.log.keys().next_back().copied().unwrap_or_default();
        self.bus.append(&events).await.unwrap();
        let new = self.bus.above(first).await;
        assert_eq!(new.len(), count);
        self.model.log.extend(new.iter().map(|entry| (entry.sequence, entry.size() as u64)));
    }

    fn above_cursor(&self) -> Vec<(Sequence, u64)> {
        self.model.log.range(self.model.position.next()..).map(|(id, size)| (*id, *size)).collect()
    }

    async fn route(&mut self, wants: u8, quota: Option<u64>, limit: Option<BacklogLimit>) {
        if self.above_cursor().is_empty() {
            return;
        }
        let mut step = self.bus.step(&[]).await;
        step.limit = limit;
        for (d, uid) in UIDS.iter().enumerate() {
            if self.model.destinations[d].as_ref().is_none_or(|destination| destination.fill.is_some()) {
                continue;
            }
            let wanted = (0..step.entries.len()).filter(|index| wants >> (index % 4 + 4 * d) & 1 == 1).collect();
            step.queues.push(((*uid).to_owned(), in_bytes(quota), wanted));
        }
        self.send(step).await;
    }

    async fn route_part(&mut self, d: usize) {
        let live = self.model.destinations[d].as_ref().is_some_and(|destination| destination.fill.is_none());
        if self.above_cursor().is_empty() || !live {
            return;
        }
        let mut step = self.bus.step(&[]).await;
        step.entries.truncate(1);
        (step.new, step.last) = (step.entries[0].sequence, false);
        step.queues.push((UIDS[d].to_owned(), NO_QUOTA, vec![0]));
        self.send(step).await;
    }

    async fn send(&mut self, step: Step) {
        let answer = self.bus.send(&step).await;
        let model = &mut self.model;
        if model.position != step.expected || model.generation != step.generation {
            assert_eq!(answer, Routed::Stale { position: model.position });
            return;
        }
        let (mut detached, mut dropped) = (Vec::new(), Vec::new());
        for (uid, quota, wanted) in &step.queues {
            let d = UIDS.iter().position(|known| known == uid).unwrap();
            let Some(destination) = &mut model.destinations[d] else { continue };
            let (mut reached, before) = (step.expected, destination.dropped);
            for index in wanted {
                let entry = &step.entries[*index];
                if !destination.append_within(entry.sequence, entry.size() as u64, *quota, step.limit, model.position) {
                    destination.fill = Some(reached);
                    model.generation += 1;
                    detached.push((uid.clone(), reached));
                    break;
                }
                reached = entry.sequence;
            }
            if destination.dropped > before {
                dropped.push((uid.clone(), destination.dropped - before));
            }
        }
        assert_eq!(answer, Routed::Done(Batch { generation: model.generation, detached, dropped }));
        if step.last {
            model.position = step.new;
        }
        self.last = Some(step);
    }

    async fn read(&mut self, d: usize, max: usize) {
        if self.workers[d].is_none() {
            self.take_over(d).await;
        }
        let (worker, position) = (self.workers[d].as_mut().unwrap(), self.model.position);
        let destination = self.model.destinations[d].as_mut().unwrap();
        let read = done(worker.tenure.read(worker.highest, max, usize::MAX >> 1, worker.held.len()).await);
        assert_eq!(ids(&read), destination.read(worker.highest, max, !worker.held.is_empty(), position));
        worker.held.extend(ids(&read));
        worker.highest = worker.highest.max(ids(&read).into_iter().max().unwrap_or_default());
    }

    async fn take_over(&mut self, d: usize) {
        let tenure = self.bus.take_over(UIDS[d]).await;
        let position = self.model.position;
        self.destination(d).lease(position);
        self.workers[d] = Some(Worker { tenure, held: BTreeSet::new(), highest: Sequence::ZERO });
    }

    async fn detach(&mut self, d: usize) {
        let answer = self.bus_detach(d).await;
        let model = &mut self.model;
        match model.destinations[d].as_mut().filter(|destination| destination.fill.is_none()) {
            None => assert_eq!(answer, Routed::Stale { position: model.position }),
            Some(destination) => {
                destination.fill = Some(model.position);
                model.generation += 1;
                assert_eq!(routed(answer), Filled { position: Some(model.position), generation: model.generation });
            }
        }
    }

    async fn bus_detach(&self, d: usize) -> Routed<Filled> {
        cursor::detach(&self.bus.link, &self.bus.name, &self.bus.router, UIDS[d], self.model.generation).await.unwrap()
    }

    async fn fill(&mut self, d: usize, count: usize, quota: Option<u64>) {
        let position = self.model.position;
        let Some(expected) = self.model.destinations[d].as_ref().and_then(|destination| destination.fill) else { return };
        let mut entries = self.bus.above(expected).await;
        entries.retain(|entry| entry.sequence <= position);
        let all = entries.len() <= count;
        entries.truncate(count);
        let new = if all { position } else { entries.last().map_or(expected, |entry| entry.sequence) };
        let answer = self.send_fill(d, expected, new, &entries, quota).await;
        let destination = self.model.destinations[d].as_mut().unwrap();
        let mut reached = expected;
        let mut fits = true;
        for entry in &entries {
            match quota {
                None => destination.drop_new(entry.sequence, position),
                Some(_) if !destination.append(entry.sequence, entry.size() as u64, in_bytes(quota), position) => {
                    fits = false;
                    break;
                }
                Some(_) => {}
            }
            reached = entry.sequence;
        }
        let reached = if fits { new } else { reached };
        destination.fill = (reached != position).then_some(reached);
        self.model.generation += u64::from(destination.fill.is_none());
        assert_eq!(routed(answer), Filled { position: destination.fill, generation: self.model.generation });
    }

    async fn send_fill(&self, d: usize, expected: Sequence, new: Sequence, entries: &[Entry], quota: Option<u64>) -> Routed<Filled> {
        let (link, name, entries) = (&self.bus.link, &self.bus.name, entries.iter().collect::<Vec<_>>());
        let step = FillCall { token: &self.bus.router, uid: UIDS[d], expected, new, generation: self.model.generation, entries: &entries };
        match quota {
            Some(_) => cursor::fill(link, name, &step, quota_of(in_bytes(quota))).await.unwrap(),
            None => cursor::fill_drop(link, name, &step).await.unwrap(),
        }
    }

    async fn trim(&mut self) {
        let fills = self.model.destinations.iter().flatten().filter_map(|destination| destination.fill);
        let bound = fills.chain([self.model.position]).min().unwrap();
        assert_eq!(routed(self.bus.trim(self.bus.last_id(&self.bus.bus_key("in"))).await), bound);
        self.model.trimmed = self.model.trimmed.max(bound);
    }

    async fn create(&mut self, d: usize, earliest: bool) {
        let created = self.bus.create_from(UIDS[d], if earliest { Start::Earliest } else { Start::Latest }).await;
        let model = &mut self.model;
        if let Some(destination) = &model.destinations[d] {
            assert_eq!(created, Created::Existed(destination.start));
            return;
        }
        let last = self.bus.last_id(&self.bus.bus_key("in"));
        let start = if earliest { model.trimmed } else { last.max(model.position) };
        assert_eq!(created, Created::New(start));
        model.destinations[d] = Some(Destination::new(start, model.position));
        model.generation += 1;
    }

    /// Someone deletes the route; the control plane makes it again.
    async fn lose_route(&mut self, d: usize) {
        self.bus.cli(&["HDEL", &self.bus.bus_key("routes"), UIDS[d]]);
        let (trimmed, position) = (self.model.trimmed, self.model.position);
        let recorded = self.destination(d).start;
        self.destination(d).recreate(trimmed, position);
        let created = self.bus.create_from(UIDS[d], Start::Recorded(recorded)).await;
        assert_eq!(created, Created::New(self.destination(d).start));
        self.model.generation += 1;
    }

    fn foreign_read(&mut self, d: usize, count: usize) {
        let Some(destination) = self.model.destinations[d].as_mut().filter(|destination| destination.has_queue) else { return };
        let (queue, count) = (self.bus.key("q", UIDS[d]), count.to_string());
        self.bus.cli(&["XREADGROUP", "GROUP", "delivery", "foreign", "COUNT", &count, "STREAMS", &queue, ">"]);
        let new: Vec<_> = destination.queue.range(destination.delivered.next()..).map(|(id, _)| *id).take(count.parse().unwrap()).collect();
        for id in new {
            destination.delivered = id;
            destination.pending.remove(&id);
            destination.foreign.insert(id);
        }
    }

    /// Redis holds what the model holds.
    fn compare(&mut self) {
        let cursor = self.bus.hash(&self.bus.bus_key("cursor"));
        assert_eq!((cursor["pos"].parse(), cursor["gen"].parse()), (Ok(self.model.position), Ok(self.model.generation)));
        assert_eq!(cursor["trimmed"].parse(), Ok(self.model.trimmed));
        for (d, uid) in UIDS.iter().enumerate() {
            let found = found(&self.bus, &mut self.connection, uid);
            let wanted = self.model.destinations[d].as_ref();
            assert_eq!(found.as_ref(), wanted.map(Shown::of).as_ref(), "destination {uid}");
        }
    }
}

async fn bury(tenure: &Tenure, destination: &mut Destination, id: Sequence, keep: bool, counts: bool) -> bool {
    let burial = Burial {
        fate: if keep { Fate::DeadLetter } else { Fate::Drop },
        streak: if counts { Streak::Destination } else { Streak::None },
        destination_limit: LIMIT as u32,
        max_dead_letters: MAX_DEAD as u64,
        ..burial(id)
    };
    let answer = match tenure.bury(&burial).await.unwrap() {
        Answered::Done(Buried::Done) => "done",
        Answered::Done(Buried::ThenHalted(_)) => "then halted",
        Answered::Done(Buried::Halted) => "halted",
        Answered::Gone => "gone",
        Answered::Fenced => "fenced",
    };
    assert_eq!(answer, destination.bury(id, keep, counts));
    answer != "halted"
}

/// Whether the event is gone, on which both must agree.
fn same<T: std::fmt::Debug + PartialEq>(answer: Answered<T>, model: Option<T>) -> bool {
    let gone = model.is_none();
    assert_eq!(answer, model.map_or(Answered::Gone, Answered::Done));
    gone
}

/// A quota that holds so many events, about.
fn in_bytes(events: Option<u64>) -> u64 {
    events.map_or(NO_QUOTA, |events| events * 80)
}
