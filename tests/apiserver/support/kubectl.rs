//! `kubectl`, as a user has it.

use super::Cluster;
use super::it::eventually::{eventually, holds};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

impl Cluster {
    /// Runs `kubectl` as the administrator.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with(&self.admin(), args, "")
    }

    /// Runs `kubectl` with a kubeconfig and with something to read.
    pub fn kubectl_with(&self, kubeconfig: &Path, args: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.args(args).env("KUBECONFIG", kubeconfig).env("HOME", self.guard.path()).env("KUBECACHEDIR", self.guard.file("kubectl"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may end without reading all of it.
        let _ = child.stdin.take().expect("it is a pipe").write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs `kubectl`, which must succeed, and returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        printed(args, self.kubectl(args))
    }

    /// `kubectl apply` of YAML, one or more documents.
    pub fn apply(&self, yaml: &str) -> String {
        let args = ["apply", "-f", "-"];
        printed(&args, self.kubectl_with(&self.admin(), &args, yaml))
    }

    /// `kubectl create` of one object. Returns it as it was stored.
    pub fn create(&self, object: &Value) -> Value {
        let args = ["create", "-o", "json", "-f", "-"];
        serde_json::from_str(&printed(&args, self.kubectl_with(&self.admin(), &args, &object.to_string()))).unwrap()
    }

    /// Runs `kubectl … -o json`.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// Creates a CustomResourceDefinition and waits until its objects can be listed.
    pub async fn define(&self, definition: &Value) {
        self.create(definition);
        let name = definition["metadata"]["name"].as_str().expect("it has a name");
        // it fails at once where there is no condition at all yet
        self.until(&["wait", "--for=condition=Established", "--timeout=30s", "crd", name]).await;
        self.until(&["get", name, "-A"]).await;
    }

    /// The message with which the API server refuses this object, on `kubectl create --dry-run=server` with strict validation.
    pub fn refusal(&self, yaml: &str) -> String {
        let output = self.kubectl_with(&self.admin(), &["create", "--dry-run=server", "-f", "-"], yaml);
        assert!(!output.status.success(), "it was accepted: {yaml}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Deletes what the arguments name, if it is there, and waits until it is gone.
    pub fn delete(&self, args: &[&str]) {
        self.ok(&[&["delete", "--ignore-not-found", "--timeout=60s"], args].concat());
    }

    /// A value of an object by its JSONPath (`{.status.backlog}`); empty if it has none.
    pub fn value(&self, namespace: &str, object: &str, path: &str) -> String {
        self.ok(&["get", "-n", namespace, object, "-o", &format!("jsonpath={path}")])
    }

    /// Waits until a value of an object is this.
    pub async fn eventually(&self, namespace: &str, object: &str, path: &str, wanted: &str) {
        eventually(&format!("{path} of {object} is {wanted}"), async || {
            let output = self.kubectl(&["get", "-n", namespace, object, "-o", &format!("jsonpath={path}")]);
            let found = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr }).into_owned();
            holds(found == wanted, || found)
        })
        .await;
    }

    /// Repeats a command of `kubectl` until it succeeds, and returns what it printed.
    pub async fn until(&self, args: &[&str]) -> String {
        eventually(&format!("kubectl {} succeeds", args.join(" ")), async || {
            let output = self.kubectl(args);
            holds(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
            Ok(String::from_utf8(output.stdout).unwrap())
        })
        .await
    }
}

fn printed(args: &[&str], output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {}: {stderr}", args.join(" "), output.status);
    String::from_utf8(output.stdout).unwrap()
}
