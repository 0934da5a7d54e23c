//! One bus on a real server, with what tests do to it and what must hold after each of them.

use crate::support::eventually::eventually;
use crate::support::redis::{Options, Redis};
use bytes::Bytes;
use posthorn::bus::append::{Appender, Receipt};
use posthorn::bus::cursor::{self, Batch, FillCall, Filled, Loaded, Room, RouteCall, Routed};
use posthorn::bus::entry::Entry;
use posthorn::bus::lease::{self, Leased, Tokens};
use posthorn::bus::queue::{Answered, Burial, Fate, Owed, Settled, Streak, Tenure};
use posthorn::bus::routing::{self, Created, Start};
use posthorn::bus::{Error, Link, RedisUrl, Supervisor};
use posthorn::event::{Attributes, Event, Mode, Sequence};
use posthorn::plan::{BacklogLimit, Route, RouteState};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// More than any test puts into a queue.
pub const NO_QUOTA: u64 = 1 << 40;
/// Reads everything.
pub const ALL: usize = 1 << 20;

/// One bus with a connection to it, and the lease for routing it.
pub struct Bus {
    pub redis: Arc<Redis>,
    pub name: String,
    pub link: Link,
    pub links: Supervisor,
    pub appender: Appender,
    /// The router's token.
    pub router: String,
}

/// One call of `route`, made for everything above the cursor and to be changed by a test.
pub struct Step {
    pub token: String,
    pub expected: Sequence,
    pub new: Sequence,
    pub generation: u64,
    pub last: bool,
    pub unmatched: u64,
    pub entries: Vec<Entry>,
    pub queues: Vec<(String, u64, Vec<usize>)>,
    /// Of every queue.
    pub limit: Option<BacklogLimit>,
}

impl Bus {
    /// A bus of the test's own on a server that it shares with the tests that run at the same time.
    pub async fn start() -> Bus {
        Bus::on(shared()).await
    }

    /// A bus on a server of the test's own.
    pub async fn alone() -> Bus {
        Bus::on(Arc::new(Redis::with(without_aof()))).await
    }

    pub async fn on(redis: Arc<Redis>) -> Bus {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("b{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let links = Supervisor::start(url(&redis), "test");
        let appender = Appender::start(url(&redis));
        let link = links.link().await;
        link.hello(&name).await.unwrap();
        let router = lease::random_token();
        assert!(lease::lease_router(&link, &name, &router).await.unwrap());
        Bus { redis, name, link, links, appender, router }
    }

    /// Stores so many new events.
    pub async fn post(&self, count: usize) -> Vec<Sequence> {
        let mut sequences = Vec::new();
        for _ in 0..count {
            sequences.push(self.append(&[event()]).await.unwrap()[0].sequence);
        }
        sequences
    }

    /// Stores events once a connection is there.
    pub async fn append(&self, events: &[Event]) -> Result<Vec<Receipt>, Error> {
        eventually("a connection", async || match self.appender.append(&self.name, events, Duration::from_secs(60), 0).await {
            Err(error @ Error::Unavailable(_)) => Err(error.to_string()),
            other => Ok(other),
        })
        .await
    }

    /// Makes a destination that reads events from now on.
    pub async fn create(&self, uid: &str) -> Sequence {
        match self.create_from(uid, Start::Latest).await {
            Created::New(start) => start,
            other => panic!("{other:?}"),
        }
    }

    pub async fn create_from(&self, uid: &str, start: Start) -> Created {
        routing::create(&self.link, &self.name, uid, &route(uid), start).await.unwrap()
    }

    pub async fn load(&self) -> Loaded {
        cursor::load(&self.link, &self.name, None).await.unwrap()
    }

    /// Everything above the cursor, for these destinations.
    pub async fn step(&self, uids: &[&str]) -> Step {
        let loaded = self.load().await;
        let entries = cursor::scan(&self.link, &self.name, loaded.position, ALL, ALL).await.unwrap();
        let all: Vec<usize> = (0..entries.len()).collect();
        Step {
            token: self.router.clone(),
            expected: loaded.position,
            new: entries.last().map_or(loaded.position, |entry| entry.sequence),
            generation: loaded.generation,
            last: true,
            unmatched: 0,
            queues: uids.iter().map(|uid| ((*uid).to_owned(), NO_QUOTA, all.clone())).collect(),
            entries,
            limit: None,
        }
    }

    pub async fn send(&self, step: &Step) -> Routed<Batch> {
        let queues: Vec<_> = step
            .queues
            .iter()
            .map(|(uid, quota, indices)| (uid.as_str(), Room { quota: *quota, limit: step.limit }, indices.clone()))
            .collect();
        let entries: Vec<&Entry> = step.entries.iter().collect();
        let &Step { expected, new, generation, last, unmatched, .. } = step;
        let call = RouteCall {
            token: &step.token,
            expected,
            new,
            generation,
            last,
            unmatched,
            entries: &entries,
            queues: &queues,
            beyond_memory: false,
        };
        cursor::route(&self.link, &self.name, &call).await.unwrap()
    }

    /// Routes everything above the cursor to these destinations.
    pub async fn route(&self, uids: &[&str]) -> Batch {
        match self.send(&self.step(uids).await).await {
            Routed::Done(batch) => batch,
            other => panic!("{other:?}"),
        }
    }

    /// Stores so many events and routes them to one destination.
    pub async fn owe(&self, uid: &str, count: usize) -> Vec<Sequence> {
        let sequences = self.post(count).await;
        if count > 0 {
            self.route(&[uid]).await;
        }
        sequences
    }

    /// Brings a destination that is behind forward to the cursor, or by fewer events, as far as its quota goes.
    pub async fn fill(&self, uid: &str, quota: u64) -> Routed<Filled> {
        self.fill_into(uid, quota_of(quota)).await
    }

    /// The same, as far as there is room.
    pub async fn fill_into(&self, uid: &str, room: Room) -> Routed<Filled> {
        let loaded = self.load().await;
        let expected = self.fill_of(uid).unwrap();
        let entries = self.above(expected).await;
        let entries: Vec<&Entry> = entries.iter().filter(|entry| entry.sequence <= loaded.position).collect();
        let (new, generation) = (loaded.position, loaded.generation);
        let step = FillCall { token: &self.router, uid, expected, new, generation, entries: &entries };
        cursor::fill(&self.link, &self.name, &step, room).await.unwrap()
    }

    /// Accepted events above this.
    pub async fn above(&self, after: Sequence) -> Vec<Entry> {
        cursor::scan(&self.link, &self.name, after, ALL, ALL).await.unwrap()
    }

    pub async fn detach(&self, uid: &str) -> Routed<Filled> {
        let generation = self.load().await.generation;
        cursor::detach(&self.link, &self.name, &self.router, uid, generation).await.unwrap()
    }

    pub async fn trim(&self, bound: Sequence) -> Routed<Sequence> {
        let generation = self.load().await.generation;
        match cursor::trim(&self.link, &self.name, &self.router, bound, generation).await.unwrap() {
            Routed::Done((held, _)) => Routed::Done(held),
            Routed::Fenced => Routed::Fenced,
            Routed::Stale { position } => Routed::Stale { position },
        }
    }

    /// Takes a queue, as a new worker.
    pub async fn lease(&self, uid: &str) -> Tenure {
        let (token, leased) = lease::lease(&self.link, &self.name, uid, &Tokens::in_memory()).await.unwrap();
        assert!(matches!(leased, Leased::Held { .. }), "{leased:?}");
        self.tenure(uid, &token)
    }

    /// Takes a queue from whoever has it, as if that lease had ended.
    pub async fn take_over(&self, uid: &str) -> Tenure {
        self.cli(&["DEL", &self.key("own", uid)]);
        self.lease(uid).await
    }

    /// A tenure with any token.
    pub fn tenure(&self, uid: &str, token: &str) -> Tenure {
        Tenure { link: self.link.clone(), bus: self.name.clone(), uid: uid.to_owned(), token: token.to_owned() }
    }

    pub fn key(&self, kind: &str, uid: &str) -> String {
        format!("ph:{{{}}}:{kind}:{uid}", self.name)
    }

    /// A key of the bus itself.
    pub fn bus_key(&self, kind: &str) -> String {
        format!("ph:{{{}}}:{kind}", self.name)
    }

    /// A command as someone with redis-cli would run it.
    pub fn cli(&self, command: &[&str]) -> String {
        self.redis.cli(command)
    }

    pub fn hash(&self, key: &str) -> BTreeMap<String, String> {
        self.redis.query(redis::cmd("HGETALL").arg(key))
    }

    pub fn state(&self, uid: &str) -> BTreeMap<String, String> {
        self.hash(&self.key("st", uid))
    }

    pub fn count(&self, uid: &str, counter: &str) -> u64 {
        self.state(uid).get(counter).map_or(0, |value| value.parse().unwrap())
    }

    pub fn field(&self, uid: &str, name: &str) -> Option<String> {
        self.state(uid).get(name).cloned()
    }

    /// What is recorded about an event in trouble.
    pub fn trial(&self, uid: &str, id: Sequence) -> Option<serde_json::Value> {
        let text = self.hash(&self.key("try", uid)).remove(&id.to_string())?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// The position of a destination that is behind.
    pub fn fill_of(&self, uid: &str) -> Option<Sequence> {
        self.hash(&self.bus_key("fills")).get(uid).map(|id| id.parse().unwrap())
    }

    pub fn position(&self) -> Sequence {
        self.hash(&self.bus_key("cursor"))["pos"].parse().unwrap()
    }

    pub fn generation(&self) -> u64 {
        self.hash(&self.bus_key("cursor"))["gen"].parse().unwrap()
    }

    /// Clock of the server, milliseconds.
    pub fn time(&self) -> u64 {
        let (seconds, micros): (u64, u64) = self.redis.query(&redis::cmd("TIME"));
        seconds * 1000 + micros / 1000
    }

    pub fn entries(&self, key: &str) -> Vec<(String, Vec<Bytes>)> {
        let entries: Vec<(String, Vec<Vec<u8>>)> = self.redis.query(redis::cmd("XRANGE").arg(key).arg("-").arg("+"));
        entries.into_iter().map(|(id, fields)| (id, fields.into_iter().map(Bytes::from).collect())).collect()
    }

    pub fn queue(&self, uid: &str) -> Vec<Sequence> {
        self.entries(&self.key("q", uid)).iter().map(|(id, _)| id.parse().unwrap()).collect()
    }

    pub fn last_id(&self, key: &str) -> Sequence {
        let info: HashMap<String, redis::Value> = self.redis.query(redis::cmd("XINFO").arg("STREAM").arg(key));
        redis::from_redis_value::<String>(info["last-generated-id"].clone()).unwrap().parse().unwrap()
    }

    /// Consumers of the group and how many entries each has pending.
    pub fn consumers(&self, uid: &str) -> BTreeMap<String, u64> {
        let key = self.key("q", uid);
        let consumers: Vec<HashMap<String, redis::Value>> =
            self.redis.query(redis::cmd("XINFO").arg("CONSUMERS").arg(&key).arg("delivery"));
        let read = |consumer: &HashMap<String, redis::Value>| {
            (redis::from_redis_value(consumer["name"].clone()).unwrap(), redis::from_redis_value(consumer["pending"].clone()).unwrap())
        };
        consumers.iter().map(read).collect()
    }

    pub fn keys(&self) -> BTreeSet<String> {
        self.redis.query(redis::cmd("KEYS").arg(format!("ph:{{{}}}:*", self.name)))
    }

    /// All that the server holds of the bus, for "nothing was changed".
    pub fn everything(&self) -> BTreeMap<String, String> {
        let show = |key: &String| match self.cli(&["TYPE", key]).as_str() {
            "stream" => format!("{:?} last {}", self.entries(key), self.last_id(key)),
            "hash" => format!("{:?}", self.hash(key)),
            "zset" => self.cli(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
            "string" => self.cli(&["GET", key]),
            other => panic!("{key} is a {other}"),
        };
        self.keys().iter().map(|key| (key.clone(), show(key))).collect()
    }

    /// The counters of every destination are exact; queues rise, hold what `bytes` says, and only what they hold is in trouble.
    pub fn check(&self) {
        self.check_counters();
        for uid in self.uids() {
            let size: usize = self.entries(&self.key("q", &uid)).iter().map(|(_, flat)| size(flat)).sum();
            assert_eq!(self.count(&uid, "bytes"), size as u64, "bytes of {uid}");
        }
    }

    /// The same where someone deleted single entries: how many bytes they had, nobody knows.
    pub fn check_counters(&self) {
        for uid in self.uids() {
            let queue = self.queue(&uid);
            let sum: u64 = ["settled", "buried", "dropped", "lost"].iter().map(|name| self.count(&uid, name)).sum();
            assert_eq!(sum + queue.len() as u64, self.count(&uid, "routed"), "settled + buried + dropped + lost + XLEN = routed of {uid}");
            let dead = self.entries(&self.key("dead", &uid)).len() as u64;
            assert_eq!(
                dead + self.count(&uid, "redriven") + self.count(&uid, "purged"),
                self.count(&uid, "buried"),
                "dead letters of {uid}"
            );
            assert!(queue.is_sorted_by(|a, b| a < b));
            for id in self.hash(&self.key("try", &uid)).keys() {
                assert!(queue.contains(&id.parse().unwrap()), "{id} is in trouble but not in the queue of {uid}");
            }
        }
    }

    fn uids(&self) -> Vec<String> {
        let prefix = self.key("st", "");
        self.keys().iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

/// Room that only the bus limits.
pub fn quota_of(quota: u64) -> Room {
    Room { quota, limit: None }
}

/// The server that tests share; it ends with the last of them.
pub fn shared() -> Arc<Redis> {
    static SHARED: Mutex<Weak<Redis>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let redis = Arc::new(Redis::with(without_aof()));
        *shared = Arc::downgrade(&redis);
        redis
    })
}

pub fn without_aof() -> Options {
    Options { appendfsync: None, ..Options::default() }
}

pub fn url(redis: &Redis) -> RedisUrl {
    redis.url().parse().unwrap()
}

/// An event that nobody posted before.
pub fn event() -> Event {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    event_named(&format!("e{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

pub fn event_named(id: &str) -> Event {
    let json = format!(r#"{{"id":"{id}","source":"/test","type":"com.example.test"}}"#);
    let attributes = Attributes::from_json(json.as_bytes()).unwrap();
    Event { mode: Mode::Binary, attributes, content_type: Some("text/plain".to_owned()), data: Bytes::from(id.to_owned()) }
}

/// A route that takes everything.
pub fn route(name: &str) -> Route {
    Route {
        rev: 1,
        namespace: "default".to_owned(),
        name: name.to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        sink_uri: "http://localhost/".to_owned(),
        filters: Vec::new(),
        state: RouteState::Open,
        suspend: false,
        dead_letter_max_age: Duration::from_secs(60),
        limit: None,
        dead_letters_to: None,
        unresolved: None,
        owner: String::new(),
    }
}

/// Size of an entry as quotas count it.
pub fn size(flat: &[Bytes]) -> usize {
    flat.as_chunks::<2>().0.iter().map(|[_, value]| value.len()).sum()
}

/// What an answer brought.
pub fn done<T: Debug>(answered: Result<Answered<T>, Error>) -> T {
    match answered.unwrap() {
        Answered::Done(value) => value,
        other => panic!("{other:?}"),
    }
}

/// What a change by the router brought.
pub fn routed<T: Debug>(routed: Routed<T>) -> T {
    match routed {
        Routed::Done(value) => value,
        other => panic!("{other:?}"),
    }
}

pub fn ids(owed: &[Owed]) -> Vec<Sequence> {
    owed.iter().map(|owed| owed.entry.sequence).collect()
}

/// Reads everything, as a worker that holds nothing.
pub async fn read_all(tenure: &Tenure) -> Vec<Owed> {
    done(tenure.read(Sequence::ZERO, ALL, ALL, 0).await)
}

pub async fn settle(tenure: &Tenure, owed: &[Owed]) -> u64 {
    let events: Vec<_> = owed.iter().map(|owed| Settled { id: owed.entry.sequence, size: owed.entry.size(), attempts: 1 }).collect();
    done(tenure.settle(&events).await)
}

/// A burial without limits.
pub fn burial<'a>(id: Sequence) -> Burial<'a> {
    Burial {
        id,
        fate: Fate::DeadLetter,
        streak: Streak::None,
        class: "Refused",
        message: "no",
        destination_limit: 3,
        event_limit: 20,
        max_dead_letters: 1000,
        copy_to: None,
    }
}
