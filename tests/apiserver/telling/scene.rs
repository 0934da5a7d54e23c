//! A bus in pieces, and of the operator what tells how destinations do. The test itself reconciles.

use crate::support::{Cluster, Pieces};
use crate::table::destination;
use posthorn::admin::Metrics;
use posthorn::api::status::WorkerStatus;
use posthorn::bus::routing::{self, Created, Start};
use posthorn::bus::{Link, Links, RedisUrl, Servers};
use posthorn::operator::board::{Applied, Board, Key, Outcome, Reconciled};
use posthorn::operator::events::Events;
use posthorn::operator::leader::Leader;
use posthorn::operator::metrics::OperatorMetrics;
use posthorn::operator::observe::Observer;
use posthorn::operator::status::StatusWriter;
use posthorn::plan::{Route, RouteState};
use posthorn::settings::Settings;
use posthorn::shutdown::Shutdown;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Scene {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub pieces: Pieces,
    pub links: Links,
    pub board: Board,
    pub events: Events,
    pub metrics: OperatorMetrics,
    page: Arc<Metrics>,
    /// What is wrong with every worker.
    pub trouble: Arc<Mutex<Option<String>>>,
    shutdown: Shutdown,
}

impl Scene {
    pub async fn start(prefix: &str) -> Scene {
        let cluster = Cluster::shared().await;
        let (namespace, pieces, client) = (cluster.namespace(prefix), Pieces::start(), cluster.client().await);
        let settings = Arc::new(Settings::default());
        let (board, shutdown) = (Board::new(settings.buses.keys().cloned()), Shutdown::new());
        let (page, metrics) = Metrics::with(OperatorMetrics::register);
        let leader = Leader::new(client.clone(), &namespace, "operator-0", metrics.clone());
        let (leadership, trouble) = (leader.leadership(), Arc::new(Mutex::new(None::<String>)));
        let (events, teller) = Events::new(client.clone(), "operator-0", metrics.clone());
        let url: RedisUrl = pieces.redis.url().parse().unwrap();
        let servers = Servers::new(&url, &settings).unwrap();
        let links = servers.connect("operator");
        let troubled = trouble.clone();
        let writer = StatusWriter::new(
            board.clone(),
            client,
            leadership,
            events.clone(),
            Arc::new(move |_: &str| troubled.lock().unwrap().clone()),
            metrics.clone(),
            20,
        );
        tokio::spawn(leader.run(shutdown.clone()));
        tokio::spawn(teller.run(shutdown.clone()));
        tokio::spawn(writer.run(shutdown.clone()));
        tokio::spawn(Observer::new(board.clone(), settings, servers, links.clone(), OperatorMetrics::default()).run(shutdown.clone()));
        Scene { cluster, namespace, pieces, links, board, events, metrics, page, trouble, shutdown }
    }

    pub async fn link(&self) -> Link {
        self.links.of("default").link().await
    }

    /// `kubectl create` of a destination; its uid.
    pub fn object(&self, name: &str) -> String {
        let mut object = destination("sink: {http: {uri: https://a.example/h}}");
        (object["metadata"]["namespace"], object["metadata"]["name"]) = (self.namespace.clone().into(), name.into());
        self.cluster.create(&object)["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    pub fn key(&self, name: &str) -> Key {
        Key { namespace: self.namespace.clone(), name: name.into() }
    }

    pub fn route(&self, name: &str) -> Route {
        Route {
            owner: "test".into(),
            rev: 1,
            namespace: self.namespace.clone(),
            name: name.into(),
            created: "2026-01-01T00:00:00Z".into(),
            sink_uri: "https://a.example/h".into(),
            filters: Vec::new(),
            state: RouteState::Open,
            suspend: false,
            dead_letter_max_age: Duration::from_secs(3600),
            limit: None,
            dead_letters_to: None,
            unresolved: None,
        }
    }

    /// Makes the route of an object, and says that it was applied. Its worker is to report this plan.
    pub async fn apply(&self, name: &str, uid: &str, plan: &str) {
        let created = routing::create(&self.link().await, "default", uid, &self.route(name), Start::Latest).await.unwrap();
        assert!(matches!(created, Created::New(_) | Created::Existed(_)), "{created:?}");
        self.tell(name, uid, plan);
    }

    /// Says that it was applied.
    pub fn tell(&self, name: &str, uid: &str, plan: &str) {
        let worker = WorkerStatus { isolation: None, name: Some("w".into()) };
        let outcome = Outcome::Applied(Applied { route: self.route(name), plan: Some(plan.into()), worker });
        self.outcome(name, uid, outcome);
    }

    pub fn outcome(&self, name: &str, uid: &str, outcome: Outcome) {
        let status = serde_json::from_value(self.status(name)).unwrap();
        self.board.set(self.key(name), Reconciled { uid: uid.into(), generation: 1, bus: "default".into(), outcome, status });
    }

    pub fn status(&self, name: &str) -> Value {
        self.cluster.json(&["get", "evd", name, "-n", &self.namespace])["status"].clone()
    }

    /// Waits until a condition of an object is `Status/Reason`.
    pub async fn condition(&self, name: &str, kind: &str, wanted: &str) {
        let path = format!("{{.status.conditions[?(@.type==\"{kind}\")].status}}/{{.status.conditions[?(@.type==\"{kind}\")].reason}}");
        self.cluster.eventually(&self.namespace, &format!("evd/{name}"), &path, wanted).await;
    }

    pub async fn value(&self, name: &str, path: &str, wanted: &str) {
        self.cluster.eventually(&self.namespace, &format!("evd/{name}"), path, wanted).await;
    }

    /// Statuses that could not be written.
    pub fn failures(&self) -> u64 {
        let page = self.page.encode();
        let counts = page.lines().filter(|line| line.starts_with("posthorn_operator_status_failures_total"));
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Events about an object: type, reason, note.
    pub fn events_of(&self, name: &str) -> Vec<(String, String, String)> {
        let list = self.cluster.json(&["get", "events.events.k8s.io", "-n", &self.namespace]);
        let about = list["items"].as_array().unwrap().iter().filter(|event| event["regarding"]["name"] == name);
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        about.map(|event| (text(event, "type"), text(event, "reason"), text(event, "note"))).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}
