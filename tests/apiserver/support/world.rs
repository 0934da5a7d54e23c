//! A whole installation: API server, Redis, ingest, router, an operator with exactly its own role, and the kubelet's player for the workers.

use super::Cluster;
use super::audit::Mark;
use super::it::client::{Post, get};
use super::it::eventually::{eventually, eventually_within, holds};
use super::it::pieces::{Ingest, address};
use super::it::redis::Options as RedisOptions;
use super::it::stored::{Stored, stored};
use super::it::{Client, Pieces, Posthorn};
use super::kubelet::{Kubelet, Options};
use kube::api::{Api, ApiResource, DynamicObject};
use posthorn::api::EventDestination;
use posthorn::bus::state::Snapshot;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The release namespace.
pub const RELEASE: &str = "posthorn-system";
/// The namespace of destinations.
pub const SHOP: &str = "shop";
/// The user that the operator is to the API server.
pub const OPERATOR: &str = "system:serviceaccount:posthorn-system:posthorn-operator";
/// How long a whole installation may take for one thing on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is unusual about an installation.
pub struct Plan {
    /// The API server, if it is not a usual one with our definition.
    pub cluster: Option<Cluster>,
    /// Flags of the operator.
    pub flags: Vec<String>,
    /// `posthorn.yaml`.
    pub settings: String,
    /// How Redis runs.
    pub redis: RedisOptions,
    /// How the kubelet is played.
    pub kubelet: Box<dyn FnOnce(Options) -> Options>,
    /// `POSTHORN_LOG` of every role.
    pub log: &'static str,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            flags: Vec::new(),
            settings: String::new(),
            redis: RedisOptions::default(),
            kubelet: Box::new(|options| options),
            log: "info",
            cluster: None,
        }
    }
}

/// An installation.
pub struct World {
    /// The operator that was started last; more may run.
    pub operator: Posthorn,
    /// Runs the workers.
    pub kubelet: Kubelet,
    /// Takes events.
    pub ingest: Ingest,
    /// Routes them.
    pub router: Posthorn,
    /// Redis and settings.
    pub pieces: Pieces,
    /// The API server, last to end.
    pub cluster: Cluster,
    kubeconfig: PathBuf,
    template: TempDir,
    flags: Vec<String>,
    log: &'static str,
    /// Polled without a process for each look.
    destinations: Api<DynamicObject>,
}

impl World {
    /// The usual one. Its operator is in a pod `pod-1`.
    pub async fn start() -> World {
        World::of(Plan::default()).await
    }

    /// An unusual one.
    pub async fn of(plan: Plan) -> World {
        let Plan { flags, settings, redis, kubelet, log, cluster } = plan;
        let cluster = match cluster {
            Some(cluster) => cluster,
            None => Cluster::start().await,
        };
        for namespace in ["kube-system", RELEASE, SHOP] {
            if !cluster.kubectl(&["get", "namespace", namespace]).status.success() {
                cluster.create_namespace(namespace);
            }
        }
        for object in posthorn::generate::rbac::objects(RELEASE) {
            cluster.apply(&object.to_string());
        }
        let kubeconfig = cluster.service_account(RELEASE, "posthorn-operator");
        let mut pieces = Pieces::with(redis, &settings);
        pieces.flag(&format!("--log={log}"));
        let template = TempDir::with_prefix("posthorn-template-").unwrap();
        let env = [
            ("POSTHORN_REDIS_URL", pieces.redis.url()),
            ("POSTHORN_CONFIG", pieces.config().display().to_string()),
            ("POSTHORN_EGRESS_ALLOW", "127.0.0.0/8".into()),
            ("POSTHORN_LOG", log.into()),
        ];
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let pod = json!({"spec": {"containers": [{"name": "worker", "env": env}]}});
        std::fs::write(template.path().join("template.yaml"), pod.to_string()).unwrap();
        let kubelet = Kubelet::start(&cluster, kubelet(Options::of(RELEASE)));
        let (ingest, router) = (pieces.ingest().await, pieces.router().await);
        let operator = start_operator(&pieces, &kubeconfig, &template, &flags, &[("POSTHORN_LOG", log), ("POSTHORN_POD_NAME", "pod-1")]);
        let kind = ApiResource::erase::<EventDestination>(&());
        let destinations = Api::namespaced_with(cluster.client().await, SHOP, &kind);
        let mut world = World { operator, kubelet, ingest, router, pieces, cluster, kubeconfig, template, flags, log, destinations };
        world.operator.line("leading").await;
        world
    }

    /// Starts one more operator, which may fail at points.
    pub fn another_operator(&self, failpoints: &str) -> Posthorn {
        let env = [("POSTHORN_FAILPOINTS", failpoints), ("POSTHORN_LOG", self.log)];
        start_operator(&self.pieces, &self.kubeconfig, &self.template, &self.flags, &env)
    }

    /// Starts one more operator, in a pod of this name.
    pub fn operator_in(&self, pod: &str) -> Posthorn {
        start_operator(&self.pieces, &self.kubeconfig, &self.template, &self.flags, &[("POSTHORN_POD_NAME", pod)])
    }

    /// Kills the operator and starts another one at once, which leads as soon as the lease of the first is taken to have ended: that is hastened here.
    pub async fn replace_operator(&mut self, failpoints: &str) {
        self.operator.kill9();
        self.release_lease();
        self.operator = self.another_operator(failpoints);
        self.operator.line("leading").await;
    }

    /// Empties the lease, as an operator does that ends in good order.
    pub fn release_lease(&self) {
        let patch = r#"{"spec": {"holderIdentity": null}}"#;
        self.cluster.ok(&["patch", "lease", "posthorn-operator", "-n", RELEASE, "--type=merge", "-p", patch]);
    }

    /// The admin port of the operator.
    pub async fn admin(&mut self) -> SocketAddr {
        admin_of(&mut self.operator).await
    }

    /// Applies a destination of namespace `shop` that tries for ever, soon again; `more` are further fields of its spec (`isolation: Dedicated, …`).
    pub fn apply(&self, name: &str, url: &str, more: &str) -> String {
        self.cluster.apply(&destination(name, url, more))
    }

    /// Waits until a condition of a destination has this status, of its present generation, and returns its reason.
    pub async fn condition(&self, name: &str, condition: &str, status: &str) -> String {
        eventually_within(PATIENCE, &format!("{condition} of {name} is {status}"), async || {
            let object = self.object(name);
            let found = condition_of(&object, condition);
            let current = found["observedGeneration"].is_null() || found["observedGeneration"] == object["metadata"]["generation"];
            holds(found["status"] == status && current, || format!("{found}; operator: {}", self.operator.log()))?;
            Ok(found["reason"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Waits until a condition of a destination has this reason.
    pub async fn reason(&self, name: &str, condition: &str, reason: &str) -> Value {
        eventually_within(PATIENCE, &format!("{condition} of {name} has reason {reason}"), async || {
            let object = self.object(name);
            let found = condition_of(&object, condition);
            holds(found["reason"] == reason, || format!("{}; operator: {}", object["status"], self.operator.log()))?;
            Ok(found)
        })
        .await
    }

    /// Waits until a destination is ready.
    pub async fn ready(&self, name: &str) {
        self.condition(name, "Ready", "True").await;
    }

    /// Waits until a value of the status of a destination is this.
    pub async fn status(&self, name: &str, field: &str, wanted: &Value) {
        eventually_within(PATIENCE, &format!("status.{field} of {name} is {wanted}"), async || {
            let object = self.object(name);
            holds(object["status"][field] == *wanted, || object["status"].to_string())
        })
        .await;
    }

    /// Changes the spec of a destination (a merge patch).
    pub fn patch(&self, name: &str, spec: &Value) {
        let patch = json!({"spec": spec}).to_string();
        self.cluster.ok(&["patch", "evd", name, "-n", SHOP, "--type=merge", "-p", &patch]);
    }

    /// The Deployment of a destination's worker, as its status names it.
    pub fn worker(&self, name: &str) -> String {
        self.cluster.value(SHOP, &format!("evd/{name}"), "{.status.worker.name}")
    }

    /// The plan that the worker of a destination reports to run.
    pub async fn reported_plan(&self, name: &str) -> Option<String> {
        let link = self.pieces.link().await;
        posthorn::bus::state::snapshot(&link, "default", &self.uid(name)).await.unwrap().plan
    }

    /// Waits until nothing is left of a worker: Deployment, plan Secret, pods.
    pub async fn gone(&self, worker: &str) {
        let label = format!("posthorn.dev/worker={worker}");
        eventually_within(PATIENCE, &format!("worker {worker} is gone"), async || {
            let left = self.cluster.ok(&["get", "deployments,secrets,pods", "-n", RELEASE, "-l", &label, "-o", "name"]);
            holds(left.trim().is_empty(), || format!("{left}; operator: {}", self.operator.log()))
        })
        .await;
    }

    /// A Deployment of the release namespace.
    pub fn deployment(&self, worker: &str) -> Value {
        self.cluster.json(&["get", "deployment", worker, "-n", RELEASE])
    }

    /// A number of the operator's metrics.
    pub async fn metric(&mut self, metric: &str) -> f64 {
        let admin = self.admin().await;
        let page = String::from_utf8(get(admin, "/metrics").await.unwrap().body.to_vec()).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("no {metric} in {page}"))
    }

    /// Ends the operator in good order and starts one with other flags.
    pub async fn restart_operator(&mut self, flags: &[&str]) {
        self.operator.terminate().await;
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.operator = self.another_operator("");
        self.operator.line("leading").await;
    }

    /// A destination as the API server has it.
    pub fn object(&self, name: &str) -> Value {
        let found = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.destinations.get(name)));
        match found {
            Ok(object) => serde_json::to_value(object).unwrap(),
            // kubectl connects anew, and says what is wrong
            Err(_) => self.cluster.json(&["get", "evd", name, "-n", SHOP]),
        }
    }

    /// Posts events of these numbers, one after the other.
    pub async fn post(&self, numbers: impl IntoIterator<Item = u64>) -> Client {
        let mut client = Client::new(self.ingest.addr);
        for number in numbers {
            client.post_until_accepted(&Post::numbered(number)).await;
        }
        client
    }

    /// What Redis holds of a destination.
    pub fn stored(&self, name: &str) -> Stored {
        stored(&self.pieces.redis, "default", &format!("{SHOP}/{name}"))
    }

    /// Waits until a destination owes nothing and `count` events were put into its queue.
    pub async fn delivered(&self, name: &str, count: u64) {
        self.delivered_by(&self.uid(name), count).await;
    }

    /// The same of a destination that is known by its UID, as while the API server is away.
    pub async fn delivered_by(&self, uid: &str, count: u64) {
        eventually_within(PATIENCE, &format!("{uid} has delivered {count} events"), async || {
            let snapshot = self.snapshot(uid).await;
            holds(snapshot.settled == count && snapshot.backlog == 0, || format!("{snapshot:?}"))
        })
        .await;
    }

    /// How a destination does, by its UID.
    pub async fn snapshot(&self, uid: &str) -> Snapshot {
        let link = self.pieces.link().await;
        posthorn::bus::state::snapshot(&link, "default", uid).await.unwrap()
    }

    /// The UID of a destination.
    pub fn uid(&self, name: &str) -> String {
        self.object(name)["metadata"]["uid"].as_str().expect("every object has one").to_owned()
    }

    /// The reasons of the Events of a destination, in no order.
    pub fn events(&self, name: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={name}");
        let events = self.cluster.json(&["get", "events", "-n", SHOP, "--field-selector", &selector]);
        events["items"].as_array().into_iter().flatten().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits for an Event of a destination.
    pub async fn event(&self, name: &str, reason: &str) {
        eventually(&format!("an Event {reason} of {name}"), async || {
            let events = self.events(name);
            holds(events.iter().any(|found| found == reason), || events.join(" "))
        })
        .await;
    }

    /// Waits for an Event of a destination and returns its message.
    pub async fn told(&self, name: &str, reason: &str) -> String {
        let selector = format!("involvedObject.name={name},reason={reason}");
        eventually_within(PATIENCE, &format!("an Event {reason} of {name}"), async || {
            let events = self.cluster.json(&["get", "events", "-n", SHOP, "--field-selector", &selector]);
            let message = events["items"][0]["message"].as_str().map(str::to_owned);
            message.ok_or_else(|| format!("{}; operator: {}", self.events(name).join(" "), self.operator.log()))
        })
        .await
    }

    /// What the operator has written since.
    pub fn writes_since(&self, mark: Mark) -> std::collections::BTreeMap<String, usize> {
        self.cluster.writes_since(mark, OPERATOR)
    }
}

/// The admin port of an operator.
pub async fn admin_of(operator: &mut Posthorn) -> SocketAddr {
    address(&operator.line("role=\"operator\"").await, "admin_listen")
}

/// A condition of an object; null if it has none of that type.
pub fn condition_of(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or(Value::Null)
}

/// A destination of namespace `shop`.
pub fn destination(name: &str, url: &str, more: &str) -> String {
    format!(
        "{{apiVersion: posthorn.dev/v1alpha1, kind: EventDestination, metadata: {{name: {name}, namespace: {SHOP}}}, spec: {{sink: {{http: {{uri: \
         \"{url}\"}}}}, delivery: {{retry: -1, backoffPolicy: Constant, backoffDelay: 100ms, timeout: 2s}}, {more}}}}}"
    )
}

fn start_operator(pieces: &Pieces, kubeconfig: &std::path::Path, template: &TempDir, flags: &[String], env: &[(&str, &str)]) -> Posthorn {
    let (config, template) = (pieces.config().display().to_string(), template.path().join("template.yaml").display().to_string());
    let (redis, kubeconfig) = (pieces.redis.url(), kubeconfig.display().to_string());
    let mut args = vec!["operator", "--namespace", RELEASE, "--redis", &redis, "--config", &config, "--admin-listen", "127.0.0.1:0"];
    args.extend(["--worker-template", &template]);
    args.extend(flags.iter().map(String::as_str));
    let env: Vec<(&str, &str)> = env.iter().copied().chain([("KUBECONFIG", kubeconfig.as_str())]).collect();
    Posthorn::start_with(&args, &env)
}
