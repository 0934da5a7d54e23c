//! A bus in pieces: one Redis, each role in a process of its own. The test itself is the control plane.

use super::client::get;
use super::eventually::{eventually, holds};
use super::process::{Posthorn, ready};
use super::redis::{Options, Redis};
use super::stored::{behind, stored};
use posthorn::bus::RedisUrl;
use posthorn::bus::routing::{self, Created, Start, Updated};
use posthorn::bus::{Link, Supervisor};
use posthorn::event::Sequence;
use posthorn::filter::Filter;
use posthorn::plan::{BacklogLimit, BackoffPolicy, Delivery, Format, HttpSink, OnExhausted, Plan, Route, RouteState, Secret, Sink};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Namespace of every destination that is made here.
const NAMESPACE: &str = "t";

/// One Redis, and what the roles are told about it.
pub struct Pieces {
    /// The server.
    pub redis: Redis,
    dir: TempDir,
    control: Supervisor,
    /// How roles reach Redis.
    url: String,
    extra: Vec<String>,
}

/// An ingest.
pub struct Ingest {
    /// The process.
    pub process: Posthorn,
    /// Where it takes events.
    pub addr: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
}

impl Pieces {
    /// With a server that keeps everything, and default settings.
    pub fn start() -> Pieces {
        Pieces::with(Options::default(), "")
    }

    /// With a server and settings (`posthorn.yaml`) of another kind.
    pub fn with(options: Options, settings: &str) -> Pieces {
        let (redis, dir) = (Redis::with(options), TempDir::with_prefix("posthorn-pieces-").unwrap());
        std::fs::write(dir.path().join("posthorn.yaml"), settings).unwrap();
        std::fs::create_dir(dir.path().join("plans")).unwrap();
        let url = redis.url();
        let control = Supervisor::start(url.parse::<RedisUrl>().unwrap(), "test");
        Pieces { redis, dir, control, url, extra: Vec::new() }
    }

    /// Other settings (`posthorn.yaml`) for the roles that are started from now on.
    pub fn settings(&self, settings: &str) {
        std::fs::write(self.dir.path().join("posthorn.yaml"), settings).unwrap();
    }

    /// The file that holds the settings (`posthorn.yaml`).
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("posthorn.yaml")
    }

    /// A flag for every role that is started from now on.
    pub fn flag(&mut self, flag: &str) {
        self.extra.push(flag.to_owned());
    }

    /// How every role that is started from now on reaches Redis.
    pub fn reach(&mut self, url: &str, flags: &[&str]) {
        url.clone_into(&mut self.url);
        self.extra.extend(flags.iter().map(ToString::to_string));
    }

    /// Starts an ingest on a free port and waits until it is ready.
    pub async fn ingest(&self) -> Ingest {
        self.ingest_on(SocketAddr::from(([127, 0, 0, 1], 0)), &self.url).await
    }

    /// Starts an ingest on an address, with Redis at a URL, and waits until it is ready.
    pub async fn ingest_on(&self, addr: SocketAddr, redis: &str) -> Ingest {
        let mut process = self.role(&["ingest", "--listen", &addr.to_string()], redis);
        let admin = address(&process.line("role=\"ingest\"").await, "admin_listen");
        let addr = address(&process.line("ingest is running").await, "listen");
        ready(admin, "/readyz").await;
        Ingest { process, addr, admin }
    }

    /// Starts a router. It may be a standby.
    pub async fn router(&self) -> Posthorn {
        self.router_via(&self.url).await
    }

    /// Starts a router with Redis at a URL.
    pub async fn router_via(&self, redis: &str) -> Posthorn {
        self.router_by(redis, &[]).await
    }

    /// Starts a router with further flags.
    pub async fn router_with(&self, flags: &[&str]) -> Posthorn {
        self.router_by(&self.url, flags).await
    }

    async fn router_by(&self, redis: &str, flags: &[&str]) -> Posthorn {
        let mut process = self.role(&[&["router"], flags].concat(), redis);
        process.line("role=\"router\"").await;
        process
    }

    /// Starts a worker on every plan of [`Pieces::plan`].
    pub async fn worker(&self) -> Posthorn {
        self.worker_with(&[]).await
    }

    /// The same with further flags.
    pub async fn worker_with(&self, flags: &[&str]) -> Posthorn {
        let plans = self.plans().display().to_string();
        let args = [&["worker", "--plans", &plans, "--egress-allow", "127.0.0.0/8"], flags].concat();
        let mut process = self.role(&args, &self.url);
        process.line("role=\"worker\"").await;
        process
    }

    fn role(&self, args: &[&str], redis: &str) -> Posthorn {
        let config = self.dir.path().join("posthorn.yaml").display().to_string();
        let mut all = args.to_vec();
        all.extend(["--redis", redis, "--config", &config, "--admin-listen", "127.0.0.1:0"]);
        all.extend(self.extra.iter().map(String::as_str));
        Posthorn::start(&all)
    }

    fn plans(&self) -> PathBuf {
        self.dir.path().join("plans")
    }

    /// A connection of the control plane.
    pub async fn link(&self) -> Link {
        self.control.link().await
    }

    /// Makes the route of a destination; returns where it begins.
    pub async fn create(&self, uid: &str, filters: Vec<Filter>, start: Start) -> Sequence {
        match routing::create(&self.link().await, "default", uid, &route(uid, 1, filters), start).await.unwrap() {
            Created::New(start) => start,
            other => panic!("{uid}: {other:?}"),
        }
    }

    /// The same with a limit of its backlog.
    pub async fn create_limited(&self, uid: &str, limit: BacklogLimit) {
        let route = Route { limit: Some(limit), ..route(uid, 1, Vec::new()) };
        routing::create(&self.link().await, "default", uid, &route, Start::Latest).await.unwrap();
    }

    /// Changes the filters of a destination.
    pub async fn update(&self, uid: &str, revision: i64, filters: Vec<Filter>) {
        let done = routing::update(&self.link().await, "default", uid, &route(uid, revision, filters)).await.unwrap();
        assert_eq!(done, Updated::Done, "{uid}");
    }

    /// Deletes a destination.
    pub async fn delete(&self, uid: &str) {
        routing::delete(&self.link().await, "default", uid, &full_name(uid)).await.unwrap();
    }

    /// Gives the workers a plan for a destination.
    pub fn plan(&self, uid: &str, url: &str) {
        self.give(&plan(uid, url));
    }

    /// Gives the workers a plan.
    pub fn give(&self, plan: &Plan) {
        let uid = &plan.uid;
        let (file, new) = (self.plans().join(format!("{uid}.json")), self.plans().join(format!(".{uid}.new")));
        std::fs::write(&new, serde_json::to_vec(plan).unwrap()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Waits until every accepted event was routed and no destination is behind the cursor.
    pub async fn routed(&self) {
        eventually("everything is routed", async || {
            let (behind, fills) = (behind(&self.redis, "default"), self.redis.cli(&["HLEN", "ph:{default}:fills"]));
            holds(behind == 0 && fills == "0", || format!("{behind} behind the cursor, {fills} destinations behind it"))
        })
        .await;
    }

    /// Waits until every accepted event was routed and these destinations owe nothing.
    pub async fn drained(&self, uids: &[&str]) {
        self.routed().await;
        for uid in uids {
            super::stored::settled(&self.redis, "default", &full_name(uid)).await;
        }
    }

    /// What Redis holds of a destination.
    pub fn stored(&self, uid: &str) -> super::stored::Stored {
        stored(&self.redis, "default", &full_name(uid))
    }

    /// A field of the bus.
    pub fn cursor(&self, field: &str) -> String {
        self.redis.cli(&["HGET", "ph:{default}:cursor", field])
    }
}

/// `namespace/name` of a destination that is made here.
pub fn full_name(uid: &str) -> String {
    format!("{NAMESPACE}/{uid}")
}

/// A filter on the `type` of events.
pub fn of_type(event_type: &str) -> Vec<Filter> {
    vec![Filter::Exact([("type".to_owned(), event_type.to_owned())].into())]
}

/// The route of a destination.
pub fn route(uid: &str, rev: i64, filters: Vec<Filter>) -> Route {
    Route {
        owner: "test".into(),
        rev,
        namespace: NAMESPACE.into(),
        name: uid.into(),
        created: "2026-01-01T00:00:00Z".into(),
        sink_uri: "http://receiver.example/".into(),
        filters,
        state: RouteState::Open,
        suspend: false,
        dead_letter_max_age: Duration::from_secs(3600),
        limit: None,
        dead_letters_to: None,
        drain: None,
        unresolved: None,
    }
}

/// A plan that tries for ever, soon again.
pub fn plan(uid: &str, url: &str) -> Plan {
    let sink = HttpSink {
        uri: Secret::new(url),
        in_cluster: false,
        format: Format::Binary,
        headers: Vec::new(),
        auth: None,
        batch: None,
        ca_bundle: None,
        client_certificate: None,
        insecure_skip_verify: false,
        server_name: None,
        signing: Vec::new(),
        halt_on_status_codes: Vec::new(),
        retry_after_max: Duration::ZERO,
    };
    let delivery = Delivery {
        retry: None,
        backoff_policy: BackoffPolicy::Constant,
        backoff_delay: Duration::from_millis(50),
        backoff_max: Duration::from_millis(50),
        timeout: Duration::from_secs(2),
        max_event_age: None,
        on_exhausted: OnExhausted::Block,
        max_dead_letters: 1000,
        dead_letters_to: None,
    };
    let id = format!("{uid} {url}");
    Plan {
        ordering: Default::default(),
        rate: None,
        id,
        uid: uid.into(),
        bus: "default".into(),
        namespace: NAMESPACE.into(),
        name: uid.into(),
        suspend: false,
        sink: Sink::Http(sink),
        delivery,
        replicas: 0,
    }
}

/// The address in a field of a line of a log.
pub fn address(line: &str, field: &str) -> SocketAddr {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address {field} in: {line}"))
}

/// A number of the page `/metrics`; 0 if it is not there.
pub async fn metric(admin: SocketAddr, series: &str) -> f64 {
    let page = String::from_utf8_lossy(&get(admin, "/metrics").await.unwrap().body).into_owned();
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
}
