//! Objects of other projects' kinds, of the chart and of the manifests: a real API server with the definitions of these projects accepts them. Nothing
//! acts on them here.

use crate::support::Cluster;
use crate::support::charts::{NAMESPACE, cluster, dry_run, ok};

/// What the chart makes of these values, of the templates named.
fn render(cluster: &Cluster, templates: &[&str], values: &[&str]) -> String {
    let mut args = vec!["template", "posthorn", ".", "-n", NAMESPACE];
    args.extend(templates.iter().flat_map(|template| ["-s", *template]));
    args.extend(values.iter().flat_map(|value| ["--set-json", *value]));
    ok(cluster, &args)
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
    let monitoring = render(&cluster, &templates.each_ref().map(String::as_str), &values);
    let accepted =
        ["podmonitor.monitoring.coreos.com/posthorn", "prometheusrule.monitoring.coreos.com/posthorn", "configmap/posthorn-dashboard"];
    let mut found = dry_run(&cluster, &monitoring);
    found.sort_by_key(|name| accepted.iter().position(|accepted| accepted == name));
    assert_eq!(found, accepted);
    assert!(!monitoring.contains("PosthornEventsDropped"), "it is left out");

    let by_service = render(&cluster, &["templates/monitoring/service-monitor.yaml"], &[r#"monitoring.serviceMonitor={"enabled": true}"#]);
    assert_eq!(dry_run(&cluster, &by_service), ["service/posthorn-metrics", "servicemonitor.monitoring.coreos.com/posthorn"]);

    let route = r#"ingest.httpRoute={"enabled": true, "parentRefs": [{"name": "public", "namespace": "gateways"}], "hostnames": ["events.example"]}"#;
    let ingest = dry_run(&cluster, &render(&cluster, &["templates/ingest.yaml"], &[route]));
    assert!(ingest.contains(&"httproute.gateway.networking.k8s.io/posthorn-ingest".to_owned()), "{ingest:?}");

    let scaled = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples/keda/scaledobject.yaml")).unwrap();
    assert_eq!(dry_run(&cluster, &scaled), ["scaledobject.keda.sh/posthorn-ingest"]);

    // a mistake is seen: the definitions are in force
    let refused = cluster.refusal(&monitoring.replace("podMetricsEndpoints:", "podMetricsEndpoint:"));
    assert!(refused.contains(r#"unknown field "spec.podMetricsEndpoint""#), "{refused}");
    let refused = cluster.refusal(&scaled.replace("maxReplicaCount: 20", "maxReplicaCount: many"));
    assert!(refused.contains("spec.maxReplicaCount"), "{refused}");
}
