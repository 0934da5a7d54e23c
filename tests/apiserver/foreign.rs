//! Objects of other projects' kinds, of the chart and of the manifests: a real API server with the definitions of these projects accepts them. Nothing
//! acts on them here.

use crate::support::Cluster;
use crate::support::cluster::{foreign_crds, script};
use std::process::Command;

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

/// What the chart makes of these values, of the templates named.
fn render(templates: &[&str], values: &[&str]) -> String {
    let mut command = Command::new(script("hack/helm.sh", &[]));
    command.args(["template", "posthorn", concat!(env!("CARGO_MANIFEST_DIR"), "/charts/posthorn"), "-n", NAMESPACE]);
    command.args(templates.iter().flat_map(|template| ["-s", *template])).args(values.iter().flat_map(|value| ["--set-json", *value]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `kubectl apply` with strict validation says of each object; nothing is stored.
pub fn dry_run(cluster: &Cluster, yaml: &str) -> Vec<String> {
    let args = ["apply", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"];
    let output = cluster.kubectl_with(&cluster.admin(), &args, yaml);
    assert!(output.status.success(), "{}\n{yaml}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_api_server_accepts_what_others_read() {
    let cluster = cluster().await;

    let values = [
        r#"monitoring.podMonitor={"enabled": true, "interval": "30s", "labels": {"release": "kube-prometheus-stack"}}"#,
        r#"monitoring.prometheusRule={"enabled": true, "disabled": ["PosthornEventsDropped"]}"#,
        r#"monitoring.dashboard={"enabled": true, "annotations": {"grafana_folder": "Events"}}"#,
    ];
    let templates = ["pod-monitor", "prometheus-rule", "dashboard"].map(|name| format!("templates/monitoring/{name}.yaml"));
    let monitoring = render(&templates.each_ref().map(String::as_str), &values);
    let accepted =
        ["podmonitor.monitoring.coreos.com/posthorn", "prometheusrule.monitoring.coreos.com/posthorn", "configmap/posthorn-dashboard"];
    let mut found = dry_run(&cluster, &monitoring);
    found.sort_by_key(|name| accepted.iter().position(|accepted| accepted == name));
    assert_eq!(found, accepted);
    assert!(!monitoring.contains("PosthornEventsDropped"), "it is left out");

    let by_service = render(&["templates/monitoring/service-monitor.yaml"], &[r#"monitoring.serviceMonitor={"enabled": true}"#]);
    assert_eq!(dry_run(&cluster, &by_service), ["service/posthorn-metrics", "servicemonitor.monitoring.coreos.com/posthorn"]);

    let route = r#"ingest.httpRoute={"enabled": true, "parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["events.example"]}"#;
    let ingest = dry_run(&cluster, &render(&["templates/ingest.yaml"], &[route]));
    assert!(ingest.contains(&"httproute.gateway.networking.k8s.io/posthorn-ingest".to_owned()), "{ingest:?}");

    let scaled = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples/keda/scaledobject.yaml")).unwrap();
    assert_eq!(dry_run(&cluster, &scaled), ["scaledobject.keda.sh/posthorn-ingest"]);

    // a mistake is seen: the definitions are in force
    let refused = cluster.refusal(&monitoring.replace("podMetricsEndpoints:", "podMetricsEndpoint:"));
    assert!(refused.contains(r#"unknown field "spec.podMetricsEndpoint""#), "{refused}");
    let refused = cluster.refusal(&scaled.replace("maxReplicaCount: 20", "maxReplicaCount: many"));
    assert!(refused.contains("spec.maxReplicaCount"), "{refused}");
}
