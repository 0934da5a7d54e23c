//! A namespace of a test's own. It is dumped if the test fails, and removed in any case.

use super::load::Shape;
use super::receiver::{PORT, run_pod};
use super::report::Line;
use super::tools::{apply, items, json, kubectl, ok, value};
use super::{PATIENCE, Receiver, eventually_within, holds, settings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Marks what was made here, for `hack/e2e.sh` to remove.
const LABEL: &str = "posthorn.dev/e2e";

/// A namespace, and what a test does in it.
pub struct Scene {
    /// Its name.
    pub namespace: String,
    /// What the events of this scene have as the beginning of their source, and of no other one.
    pub source: String,
    /// Its line of the table.
    pub line: Line,
}

impl Scene {
    /// Makes the namespace.
    pub fn open(name: &str) -> Scene {
        Scene::of_namespace(format!("posthorn-e2e-{name}"), name)
    }

    /// The namespace that the samples are for, which must not be somebody else's.
    pub fn of_samples() -> Scene {
        let labels = value("", "namespace/shop", "{.metadata.labels}");
        assert!(labels.contains("NotFound") || labels.contains(LABEL), "the namespace `shop` is in use: the samples are not tried there");
        Scene::of_namespace("shop".to_owned(), "samples")
    }

    fn of_namespace(namespace: String, name: &str) -> Scene {
        ok(&["delete", "namespace", &namespace, "--ignore-not-found", "--timeout=120s"]);
        ok(&["create", "namespace", &namespace]);
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let scene = Scene { source: format!("/{namespace}/{run}"), namespace, line: Line::begin(name) };
        scene.mark();
        scene
    }

    /// Marks the namespace as one that was made here.
    pub fn mark(&self) {
        ok(&["label", "namespace", &self.namespace, &format!("{LABEL}=true"), "--overwrite"]);
    }

    /// A receiver.
    pub async fn receiver(&self, name: &str, flags: &[&str]) -> Receiver {
        Receiver::start(&self.namespace, name, flags).await
    }

    /// A pod of the image under test that runs a command of `posthorn`. `spec` is laid over its own.
    pub fn pod(&self, name: &str, args: &[&str], spec: Value) {
        run_pod(&self.namespace, name, args, json!({}), spec);
    }

    /// A destination of the same name as its receiver, that takes the events of this scene. `more` is laid over its spec, `http` over its sink.
    pub fn destination(&self, name: &str, http: Value, more: Value) {
        let mut sink = json!({"ref": {"name": name, "port": PORT}});
        merge(&mut sink, http);
        let mut spec = json!({"filters": [{"prefix": {"source": format!("{}/", self.source)}}], "sink": {"http": sink}});
        merge(&mut spec, more);
        let metadata = json!({"name": name, "namespace": self.namespace});
        apply(&json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": metadata, "spec": spec}).to_string());
    }

    /// Waits until a destination is ready for all that was asked of it.
    pub async fn ready(&self, name: &str) {
        eventually_within(PATIENCE, &format!("{name} is Ready"), async || {
            let object = self.object(name);
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            holds(current && condition(&object, "Ready")["status"] == "True", || object["status"]["conditions"].to_string())
        })
        .await;
    }

    /// Waits until `kubectl get evd` says this of a destination in its column STATUS.
    pub async fn shows(&self, name: &str, status: &str) {
        eventually_within(PATIENCE, &format!("STATUS of {name} is {status}"), async || {
            let found = self.column(name, "STATUS");
            holds(found == status, || found)
        })
        .await;
    }

    /// A column of `kubectl get evd`.
    pub fn column(&self, name: &str, column: &str) -> String {
        let table = ok(&["get", "evd", name, "-n", &self.namespace]);
        let rows: Vec<&str> = table.lines().collect();
        let [head, row] = rows[..] else { panic!("not one row: {table}") };
        // a cell may be empty: it is found by where its head begins
        let from = head.find(column).unwrap_or_else(|| panic!("no column {column}: {head}"));
        row.get(from..).and_then(|rest| rest.split("  ").next()).unwrap_or_default().trim().to_owned()
    }

    /// A destination as it is now.
    pub fn object(&self, name: &str) -> Value {
        json(&["get", "evd", name, "-n", &self.namespace])
    }

    /// A value of a destination by its JSONPath.
    pub fn value(&self, name: &str, path: &str) -> String {
        value(&self.namespace, &format!("evd/{name}"), path)
    }

    /// Asks for a retry of the event that waits, as the documentation says.
    pub fn ask_for_retry(&self, name: &str) {
        let now = jiff::Timestamp::now();
        let annotation = format!("posthorn.dev/retryRequestedAt={now}");
        ok(&["annotate", "evd", name, "-n", &self.namespace, "--overwrite", &annotation]);
    }

    /// So many events of one producer.
    pub fn events(&self, events: u64) -> Shape {
        Shape { clients: 1, pause: Duration::ZERO, events: Some(events), source: self.source.clone() }
    }

    /// Four producers, until they are stopped: at most 160 events a second.
    pub fn stream(&self) -> Shape {
        Shape { clients: 4, pause: Duration::from_millis(25), events: None, source: self.source.clone() }
    }

    /// The pod that delivers a destination: name, UID and how often its container was started again.
    pub fn worker(&self, name: &str) -> (String, String, u64) {
        let worker = self.value(name, "{.status.worker.name}");
        let selector = format!("posthorn.dev/worker={worker}");
        let pods = items(&["get", "pods", "-n", &settings::release_namespace(), "-l", &selector]);
        let [pod] = &pods[..] else { panic!("{} pods of {worker}", pods.len()) };
        let text = |name: &str| pod["metadata"][name].as_str().unwrap_or_default().to_owned();
        (text("name"), text("uid"), pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default())
    }

    /// Ends the test: its line is written.
    pub fn end(mut self) {
        std::mem::replace(&mut self.line, Line::begin("")).end();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let folder = dump(&self.namespace);
            eprintln!("what the namespaces hold is in {}", folder.display());
        }
        if !settings::keep() {
            // What hangs is found by `hack/e2e.sh`, which removes it at the end.
            kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        }
    }
}

/// A condition of an object; null if it has none of that type.
pub fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or(Value::Null)
}

/// Lays one object over another, member by member.
pub fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                merge(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Writes down what a namespace and the release hold. Returns the folder.
pub fn dump(namespace: &str) -> PathBuf {
    let folder = settings::report().join("failed").join(namespace);
    for namespace in [namespace, &settings::release_namespace()] {
        let folder = folder.join(namespace);
        let _ = std::fs::create_dir_all(&folder);
        for (file, args) in [
            ("pods", &["get", "pods,deployments,statefulsets,pvc", "-o", "wide"][..]),
            ("pods.yaml", &["get", "pods", "-o", "yaml"]),
            ("events", &["get", "events", "--sort-by=.lastTimestamp"]),
            ("eventdestinations.yaml", &["get", "evd", "-o", "yaml"]),
        ] {
            let output = kubectl(&[args, &["-n", namespace]].concat());
            let _ = std::fs::write(folder.join(file), [output.stdout, output.stderr].concat());
        }
        logs(namespace, &folder);
    }
    folder
}

fn logs(namespace: &str, folder: &Path) {
    let names = kubectl(&["get", "pods", "-n", namespace, "-o", "name"]);
    for pod in String::from_utf8_lossy(&names.stdout).lines() {
        for (ending, previous) in [("log", "--previous=false"), ("previous.log", "--previous=true")] {
            let output = kubectl(&["logs", "-n", namespace, pod, "--all-containers", "--tail=-1", previous]);
            if output.status.success() {
                let _ = std::fs::write(folder.join(format!("{}.{ending}", pod.trim_start_matches("pod/"))), output.stdout);
            }
        }
    }
}
