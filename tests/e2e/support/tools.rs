//! `kubectl` and `helm`, as a user has them: from the `PATH`, on the cluster that `KUBECONFIG` names.

use super::it::eventually::{eventually_within, holds};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Runs `kubectl`.
pub fn kubectl(args: &[&str]) -> Output {
    run("kubectl", args, "")
}

/// Runs `kubectl`, which must succeed, and returns what it printed.
pub fn ok(args: &[&str]) -> String {
    printed("kubectl", args, kubectl(args))
}

/// Runs `kubectl` and returns what it printed, or why it failed: for conditions that are waited for.
pub fn try_ok(args: &[&str]) -> Result<String, String> {
    let output = kubectl(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs `helm`, which must succeed, and returns what it printed.
pub fn helm(args: &[&str]) -> String {
    printed("helm", args, run("helm", args, ""))
}

/// `kubectl apply` of YAML, one or more documents.
pub fn apply(yaml: &str) -> String {
    let args = ["apply", "-f", "-"];
    printed("kubectl", &args, run("kubectl", &args, yaml))
}

/// Runs `kubectl … -o json`.
pub fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(&[args, &["-o", "json"]].concat())).unwrap()
}

/// Runs `kubectl posthorn`, the plugin, which must succeed.
pub fn plugin(args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_posthorn"), folder.path().join("kubectl-posthorn")).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&path))).unwrap();
    let output = Command::new("kubectl").arg("posthorn").args(args).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    printed("kubectl posthorn", args, output)
}

/// The `items` of `kubectl get … -o json`.
pub fn items(args: &[&str]) -> Vec<Value> {
    json(args)["items"].as_array().cloned().unwrap_or_default()
}

/// A value of an object by its JSONPath (`{.status.backlog}`), or why there is none.
pub fn value(namespace: &str, object: &str, path: &str) -> String {
    let output = kubectl(&["get", "-n", namespace, object, "-o", &format!("jsonpath={path}")]);
    String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr }).into_owned()
}

/// Waits until a value of an object is this.
pub async fn until(within: Duration, namespace: &str, object: &str, path: &str, wanted: &str) {
    eventually_within(within, &format!("{path} of {object} is {wanted}"), async || {
        let found = value(namespace, object, path);
        holds(found == wanted, || found)
    })
    .await;
}

/// Runs a program with something to read.
pub fn run(program: &str, args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}: put it on the PATH"));
    // It may end without reading all of it.
    let _ = child.stdin.take().expect("it is a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn printed(program: &str, args: &[&str], output: Output) -> String {
    let (out, stderr) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {}: {stderr}{out}", args.join(" "), output.status);
    out
}
