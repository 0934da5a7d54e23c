//! `posthorn receiver` in a pod with a Service before it. Its log is what it got.

use super::it::eventually::{eventually_within, holds};
use super::scene::merge;
use super::tools::{apply, kubectl, ok, until};
use super::{PATIENCE, settings};
use base64::Engine as _;
use bytes::Bytes;
use jiff::Timestamp;
use posthorn::receiver::Seen;
use serde_json::{Value, json};
use std::time::Duration;

/// Where receivers listen.
pub const PORT: u16 = 8080;

/// A receiver. Its Service keeps its address when another pod takes its place.
pub struct Receiver {
    namespace: String,
    name: String,
    /// What the pods before this one got.
    before: Vec<Got>,
}

/// A request, and when the node wrote it down.
#[derive(Clone, Debug)]
pub struct Got {
    /// By the clock of the node.
    pub at: Timestamp,
    /// What came and what was answered.
    pub seen: Seen,
}

impl Receiver {
    /// Starts one and waits until it can be reached.
    pub async fn start(namespace: &str, name: &str, flags: &[&str]) -> Receiver {
        let receiver = Receiver { namespace: namespace.to_owned(), name: name.to_owned(), before: Vec::new() };
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"port": PORT, "targetPort": PORT}]},
        });
        apply(&service.to_string());
        receiver.run(flags).await;
        receiver
    }

    /// Another pod takes its place, that behaves differently. What this one got is kept.
    pub async fn restart(&mut self, flags: &[&str]) {
        self.stop();
        self.run(flags).await;
    }

    /// Nobody answers any more. What it got is kept.
    pub fn stop(&mut self) {
        self.before = self.log();
        ok(&["delete", "pod", &self.name, "-n", &self.namespace, "--grace-period=1", "--timeout=60s"]);
    }

    /// Begins again after [`Receiver::stop`].
    pub async fn run(&self, flags: &[&str]) {
        let listen = format!("0.0.0.0:{PORT}");
        let args = [&["receiver", "--listen", &listen, "--output", "json"], flags].concat();
        let probe = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
        run_pod(&self.namespace, &self.name, &args, json!({"readinessProbe": probe}), json!({}));
        until(PATIENCE, &self.namespace, &format!("pod/{}", self.name), "{.status.conditions[?(@.type=='Ready')].status}", "True").await;
    }

    /// Everything that it got, in order.
    pub fn log(&self) -> Vec<Got> {
        let output = kubectl(&["logs", "-n", &self.namespace, &self.name, "--timestamps", "--tail=-1"]);
        if !output.status.success() {
            // stopped: all of it is kept
            return self.before.clone();
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let now: Vec<Got> = text.lines().filter_map(parse).collect();
        let numbers = now.iter().map(|got| got.seen.number);
        assert!(numbers.eq(1..=now.len() as u64), "the log of {} is not complete: the node has cut it", self.name);
        [&self.before[..], &now].concat()
    }

    /// What the checker takes.
    pub fn seen(&self) -> Vec<Seen> {
        self.log().into_iter().map(|got| got.seen).collect()
    }

    /// Waits until a request of this kind has come.
    pub async fn gets(&self, within: Duration, what: &str, matches: impl Fn(&Seen) -> bool) -> Seen {
        eventually_within(within, &format!("{} gets {what}", self.name), async || {
            let log = self.seen();
            log.iter().rev().find(|seen| matches(seen)).cloned().ok_or_else(|| format!("{} other requests", log.len()))
        })
        .await
    }

    /// Waits until it has accepted so many requests.
    pub async fn accepts(&self, count: usize) {
        eventually_within(PATIENCE, &format!("{} accepts {count}", self.name), async || {
            let accepted = self.seen().iter().filter(|seen| seen.accepted()).count();
            holds(accepted >= count, || format!("{accepted}"))
        })
        .await;
    }
}

/// A pod of the image under test, locked down as the chart's are. `container` and `spec` are laid over its own.
pub fn run_pod(namespace: &str, name: &str, args: &[&str], container: Value, spec: Value) {
    let mut all = json!({
        "name": "main", "image": settings::image(), "args": args,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
    });
    merge(&mut all, container);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [all],
        },
    });
    merge(&mut pod["spec"], spec);
    apply(&pod.to_string());
}

/// The longest time between two accepted requests.
pub fn longest_gap(log: &[Got]) -> Duration {
    let accepted: Vec<Timestamp> = log.iter().filter(|got| got.seen.accepted()).map(|got| got.at).collect();
    let gaps = accepted.windows(2).map(|pair| Duration::try_from(pair[1].duration_since(pair[0])).unwrap_or_default());
    gaps.max().unwrap_or_default()
}

/// A line of `kubectl logs --timestamps`; what is not a request is for people.
fn parse(line: &str) -> Option<Got> {
    let (at, text) = line.split_once(' ')?;
    let line: Value = serde_json::from_str(text).ok()?;
    let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let headers = line["headers"].as_object()?.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.parse().ok()?, value.as_str()?.parse().ok()?))).collect();
    let body = Bytes::from(base64::engine::general_purpose::STANDARD.decode(word("body")).unwrap());
    let mut seen = Seen::new(word("method").parse().unwrap(), word("path"), headers, body);
    seen.number = line["number"].as_u64()?;
    seen.status = line["status"].as_u64().and_then(|status| status.try_into().ok());
    Some(Got { at: at.parse().unwrap(), seen })
}
