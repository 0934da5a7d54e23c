//! Helm, and a cluster that takes what the chart and the manifests are made of.

use super::Cluster;
use super::cluster::{foreign_crds, script};
use std::path::Path;
use std::process::{Command, Output};

/// The namespace that manifests name.
pub const NAMESPACE: &str = "posthorn-system";

/// A cluster that knows these kinds, with the namespace.
pub async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    for definition in foreign_crds(".").iter().filter(|definition| definition["spec"]["names"]["kind"] != "ReferenceGrant") {
        cluster.define(definition).await;
    }
    cluster.create_namespace(NAMESPACE);
    cluster
}

/// Runs `helm` in the folder of the chart, as the administrator of a cluster.
pub fn helm(cluster: &Cluster, args: &[&str]) -> Output {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm");
    let mut command = Command::new(script("hack/helm.sh", &[]));
    command
        .args(args)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/posthorn"))
        .env("KUBECONFIG", cluster.admin())
        .env("HOME", home);
    command.output().unwrap()
}

/// Runs `helm`, which must succeed, and returns what it printed.
pub fn ok(cluster: &Cluster, args: &[&str]) -> String {
    let output = helm(cluster, args);
    assert!(output.status.success(), "helm {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `kubectl apply` with strict validation says of each object; nothing is stored.
pub fn dry_run(cluster: &Cluster, yaml: &str) -> Vec<String> {
    let args = ["apply", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"];
    let output = cluster.kubectl_with(&cluster.admin(), &args, yaml);
    assert!(output.status.success(), "{}\n{yaml}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
