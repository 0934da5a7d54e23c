//! A bus on a real Redis, its destinations, and the process that delivers.

use crate::support::client::{self, Post};
use crate::support::eventually::holds;
use crate::support::redis::Options;
use crate::support::stored::{self, Stored};
use crate::support::{Client, History, Posthorn, Redis, eventually, process};
use posthorn::api::EventDestination;
use posthorn::api::objects::Objects;
use posthorn::bus::routing::{self, Ask, Start};
use posthorn::bus::{Link, Supervisor};
use posthorn::event::Sequence;
use posthorn::plan::{self, Plan, Surroundings};
use posthorn::receiver::Seen;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Who delivers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// `posthorn standalone`, all roles in one process.
    Standalone,
    /// `posthorn worker` in a process of its own; a standalone without destinations takes events and routes them.
    Worker,
}

impl Mode {
    /// Both.
    pub const BOTH: [Mode; 2] = [Mode::Standalone, Mode::Worker];
}

/// See the module. Everything ends at once when it is dropped.
pub struct World {
    /// Its Redis.
    pub redis: Redis,
    /// Posts to its ingest.
    pub client: Client,
    /// How often a halted head is probed.
    pub probe: &'static str,
    mode: Mode,
    admin: SocketAddr,
    dir: TempDir,
    /// Takes events and routes them, where that is not the process that delivers.
    front: Option<Posthorn>,
    process: Option<Posthorn>,
}

impl World {
    /// Without destinations and processes.
    pub fn new(mode: Mode) -> World {
        World::on(Redis::start(), mode)
    }

    /// On a server with these options.
    pub fn with(options: Options, mode: Mode) -> World {
        World::on(Redis::with(options), mode)
    }

    fn on(redis: Redis, mode: Mode) -> World {
        let dir = TempDir::with_prefix("posthorn-world-").unwrap();
        for name in ["folder", "plans", "data"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        World { redis, client: Client::new(nowhere), probe: "5m", mode, admin: nowhere, dir, front: None, process: None }
    }

    /// A running standalone with these destinations.
    pub async fn standalone(destinations: &[Value]) -> World {
        let mut world = World::new(Mode::Standalone);
        for destination in destinations {
            world.put(destination).await;
        }
        world.start().await;
        world
    }

    /// Starts the process that delivers, and what it needs.
    pub async fn start(&mut self) {
        self.start_with("").await;
    }

    /// The same with failpoints.
    pub async fn start_with(&mut self, failpoints: &str) {
        match self.mode {
            Mode::Standalone => self.process = Some(self.start_standalone(failpoints).await),
            Mode::Worker => {
                self.start_front().await;
                let url = self.redis.url();
                self.process = Some(self.start_worker("a", &url, failpoints).await);
            }
        }
    }

    /// Starts what takes events and routes them, beside workers.
    pub async fn start_front(&mut self) {
        if self.front.is_none() {
            self.front = Some(self.start_standalone("").await);
        }
    }

    async fn start_standalone(&mut self, failpoints: &str) -> Posthorn {
        let (folder, data, url) = (self.path("folder"), self.path("data"), self.redis.url());
        let any = "127.0.0.1:0";
        let args = ["standalone", &folder, "--data-dir", &data, "--listen", any, "--admin-listen", any, "--redis", &url];
        let mut process = Posthorn::start_with(&args, &[("POSTHORN_HALT_PROBE", self.probe), ("POSTHORN_FAILPOINTS", failpoints)]);
        let line = process.line("running listen=").await;
        let mut client = Client::new(address(&line, "listen"));
        client.accepted.append(&mut self.client.accepted);
        client.uncertain.append(&mut self.client.uncertain);
        self.client = client;
        self.admin = address(&line, "admin_listen");
        process::ready(self.admin, "/readyz").await;
        process
    }

    /// A worker with tokens of its own, with Redis at a URL.
    pub async fn start_worker(&self, name: &str, redis: &str, failpoints: &str) -> Posthorn {
        let (plans, tokens) = (self.path("plans"), self.dir.path().join(format!("tokens-{name}")));
        std::fs::create_dir_all(&tokens).unwrap();
        let flags = ["--egress-allow", "127.0.0.0/8", "--admin-listen", "127.0.0.1:0", "--token-dir", tokens.to_str().unwrap()];
        let args = [&["worker", "--plans", &plans, "--redis", redis], &flags[..]].concat();
        let mut process = Posthorn::start_with(&args, &[("POSTHORN_HALT_PROBE", self.probe), ("POSTHORN_FAILPOINTS", failpoints)]);
        process.line("running role=\"worker\"").await;
        process
    }

    /// The process that delivers.
    pub fn process(&mut self) -> &mut Posthorn {
        self.process.as_mut().expect("it was started")
    }

    /// Waits until the process that delivers has died.
    pub async fn died(&mut self) {
        self.process().ended().await;
    }

    /// Makes or changes an object: in the folder, or as route and plan.
    pub async fn put(&mut self, object: &Value) {
        match self.mode {
            Mode::Standalone => self.write("folder", object["metadata"]["name"].as_str().unwrap(), object),
            Mode::Worker => self.put_plan(object, |plan| plan).await,
        }
    }

    /// Removes an object from the folder.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join("folder").join(name).with_extension("json")).unwrap();
    }

    /// The same as [`World::put`] for a worker, with a plan that no spec may ask for.
    pub async fn put_plan(&mut self, object: &Value, change: impl FnOnce(Plan) -> Plan) {
        let destination: EventDestination = serde_json::from_value(object.clone()).unwrap();
        let name = destination.metadata.name.clone().unwrap();
        let resolved = plan::resolve(&destination, &name, &Objects::default(), &Surroundings::Standalone).unwrap();
        routing::create(&self.link().await, "default", &name, &resolved.route, Start::Latest).await.unwrap();
        self.write("plans", &name, &serde_json::to_value(change(Plan { id: name.clone(), ..resolved.plan.unwrap() })).unwrap());
    }

    /// Asks as a person would, and waits until it is done.
    pub async fn ask(&self, name: &str, ask: Ask) {
        let uid = stored::uid(&self.redis, "default", &full(name)).unwrap();
        let nonce = posthorn::bus::lease::random_token();
        assert!(routing::ask(&self.link().await, "default", &uid, ask, &nonce).await.unwrap());
        eventually("the answer to what was asked", async || {
            holds(self.field(name, "asked").as_ref() == Some(&nonce), || "none yet".into())
        })
        .await;
    }

    async fn link(&self) -> Link {
        Supervisor::start(self.redis.url().parse::<posthorn::bus::RedisUrl>().unwrap(), "test").link().await
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Replaces a file as a whole.
    fn write(&self, folder: &str, name: &str, value: &Value) {
        let file: PathBuf = self.dir.path().join(folder).join(name).with_extension("json");
        let new = self.dir.path().join("new");
        std::fs::write(&new, value.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Posts numbered events, one after the other, until each is accepted.
    pub async fn post(&mut self, numbers: RangeInclusive<u64>) {
        for number in numbers {
            self.client.post_until_accepted(&Post::numbered(number)).await;
        }
    }

    /// Posts an event of another type.
    pub async fn post_type(&mut self, number: u64, event_type: &str) {
        self.client.post_until_accepted(&Post { event_type: event_type.into(), ..Post::numbered(number) }).await;
    }

    /// Posts events whose type is one of so many, `key-0`, `key-1` …, by their numbers.
    pub async fn post_keys(&mut self, numbers: RangeInclusive<u64>, keys: u64) {
        for number in numbers {
            self.post_type(number, &format!("key-{}", number % keys)).await;
        }
    }

    /// Takes the client and goes on posting with it; [`World::joined`] gives it back.
    pub fn load(&mut self, numbers: RangeInclusive<u64>) -> JoinHandle<Client> {
        self.load_of(numbers, Post::numbered)
    }

    /// The same with events whose type is one of so many.
    pub fn load_keys(&mut self, numbers: RangeInclusive<u64>, keys: u64) -> JoinHandle<Client> {
        self.load_of(numbers, move |number| Post { event_type: format!("key-{}", number % keys), ..Post::numbered(number) })
    }

    fn load_of(&mut self, numbers: RangeInclusive<u64>, post: impl Fn(u64) -> Post + Send + 'static) -> JoinHandle<Client> {
        let mut client = std::mem::replace(&mut self.client, Client::new(SocketAddr::from(([127, 0, 0, 1], 1))));
        tokio::spawn(async move {
            for number in numbers {
                while !client.post(&post(number)).await.is_ok_and(|answer| answer.status == 202) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            client
        })
    }

    /// Waits until a load has posted all.
    pub async fn joined(&mut self, load: JoinHandle<Client>) {
        self.client = load.await.unwrap();
    }

    /// The sequence of a numbered event.
    pub fn sequence(&self, number: u64) -> Sequence {
        let id = Post::numbered(number).id;
        self.client.accepted.iter().find(|event| event.id == id).unwrap_or_else(|| panic!("{id} was not accepted")).sequence
    }

    /// What is stored of a destination.
    pub fn stored(&self, name: &str) -> Stored {
        stored::stored(&self.redis, "default", &full(name))
    }

    /// The same, once everything is routed and it owes nothing.
    pub async fn settled(&self, name: &str) -> Stored {
        stored::settled(&self.redis, "default", &full(name)).await
    }

    /// Waits until everything is routed.
    pub async fn routed(&self) {
        eventually("everything is routed", async || {
            let behind = stored::behind(&self.redis, "default");
            holds(behind == 0, || format!("{behind} are not"))
        })
        .await;
    }

    /// Waits until this holds of what is stored of a destination.
    pub async fn until(&self, name: &str, what: &str, condition: impl Fn(&Stored) -> bool) -> Stored {
        eventually(what, async || {
            let stored = self.stored(name);
            if condition(&stored) { Ok(stored) } else { Err(format!("{stored:?}")) }
        })
        .await
    }

    /// A field of what the worker and the router keep of a destination.
    pub fn field(&self, name: &str, field: &str) -> Option<String> {
        self.redis.query(redis::cmd("HGET").arg(self.key("st", name)).arg(field))
    }

    /// Waits until its worker reports this state.
    pub async fn state(&self, name: &str, state: &str) {
        eventually(&format!("state {state} of {name}"), async || {
            let found = self.field(name, "state");
            holds(found.as_deref() == Some(state), || format!("{found:?}"))
        })
        .await;
    }

    /// Waits until it is halted for this reason.
    pub async fn halted(&self, name: &str, reason: &str) {
        eventually(&format!("halt of {name}, {reason}"), async || {
            let found = self.field(name, "halted");
            holds(found.as_deref().is_some_and(|found| found.starts_with(&format!("{reason} "))), || format!("{found:?}"))
        })
        .await;
    }

    /// Waits until its worker reports again, as it does when it takes a queue.
    pub async fn reported_after(&self, name: &str, earlier: Option<String>) {
        eventually(&format!("a report of {name}"), async || holds(self.field(name, "at") != earlier, || "none yet".into())).await;
    }

    /// Waits until the standalone tells this on `/metrics`.
    pub async fn measured(&self, line: &str) {
        eventually(line, async || {
            let page = self.metrics().await;
            holds(page.lines().any(|told| told == line), || page)
        })
        .await;
    }

    /// The page `/metrics` of the standalone.
    pub async fn metrics(&self) -> String {
        String::from_utf8_lossy(&client::get(self.admin, "/metrics").await.unwrap().body).into_owned()
    }

    /// A key of Redis.
    pub fn key(&self, kind: &str, name: &str) -> String {
        let uid = stored::uid(&self.redis, "default", &full(name)).unwrap_or_else(|| panic!("no destination {name}"));
        format!("ph:{{default}}:{kind}:{uid}")
    }

    /// Every dead letter's fields, oldest first.
    pub fn dead_letters(&self, name: &str) -> Vec<HashMap<String, String>> {
        let entries: Vec<(String, HashMap<String, String>)> =
            self.redis.query(redis::cmd("XRANGE").arg(self.key("dead", name)).arg("-").arg("+"));
        entries.into_iter().map(|(_, fields)| fields).collect()
    }

    /// The history of a destination with a lane for each type of event.
    pub fn history_of_types<'a>(&'a self, name: &'a str, log: &'a [Seen], stored: &'a Stored) -> History<'a> {
        History { lane: &|seen| seen.event_type().unwrap_or_default().to_owned(), ..self.history(name, log, stored) }
    }

    /// The history of a destination without order.
    pub fn history_unordered<'a>(&'a self, name: &'a str, log: &'a [Seen], stored: &'a Stored) -> History<'a> {
        History { lane: &|seen| seen.id().unwrap_or_default().to_owned(), ..self.history(name, log, stored) }
    }

    /// The history of a strict destination that wants everything.
    pub fn history<'a>(&'a self, name: &'a str, log: &'a [Seen], stored: &'a Stored) -> History<'a> {
        History::strict(name, &self.client.accepted, log, stored)
    }
}

impl Drop for World {
    /// A process that is ended in good order would wait for a request that hangs.
    fn drop(&mut self) {
        for process in [&mut self.process, &mut self.front].into_iter().flatten() {
            process.kill9();
        }
    }
}

fn full(name: &str) -> String {
    format!("default/{name}")
}

/// The address in a field of a line of a log.
fn address(line: &str, field: &str) -> SocketAddr {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address {field} in: {line}"))
}
