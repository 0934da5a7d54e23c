//! What is scraped, and what Prometheus and Grafana get of it.

use crate::helm::{NAMESPACE, find, found, read, render, try_render};
use posthorn::operator::workers::build::{Template, Worker, deployment};
use serde_json::Value;

const ROLES: [&str; 3] = ["posthorn-ingest", "posthorn-operator", "posthorn-router"];

/// Whether a LabelSelector has room for these labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten().all(|(name, value)| labels[name] == *value);
    let among = selector["matchExpressions"].as_array().into_iter().flatten().all(|expression| {
        assert_eq!(expression["operator"], "In");
        expression["values"].as_array().unwrap().contains(&labels[expression["key"].as_str().unwrap()])
    });
    equal && among
}

/// The pod templates of every role, with one that the operator makes.
fn pods(objects: &[Value]) -> Vec<Value> {
    let roles = ROLES.map(|name| found(objects, "Deployment", name)["spec"]["template"].clone());
    let template = &found(objects, "ConfigMap", "posthorn-worker-template")["data"]["template.yaml"];
    let template = serde_saphyr::from_str(template.as_str().unwrap()).unwrap();
    let workers = deployment(&Worker::Pool(0), NAMESPACE, &Template::new(template, "posthorn:test", None).unwrap(), 1);
    roles.into_iter().chain([serde_json::to_value(workers.spec.unwrap().template).unwrap()]).collect()
}

/// Whether one of its containers has a port of this name.
fn has_port(pod: &Value, name: &Value) -> bool {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    containers.iter().flat_map(|container| container["ports"].as_array().into_iter().flatten()).any(|port| port["name"] == *name)
}

/// Labels of series come from these: alerts and dashboard rely on them.
fn assert_labels(spec: &Value, endpoint: &Value) {
    assert_eq!(
        (&spec["jobLabel"], &endpoint["honorLabels"], &endpoint["path"]),
        (&"app.kubernetes.io/name".into(), &true.into(), &"/metrics".into())
    );
    let relabeling = &endpoint["relabelings"][0];
    assert_eq!(relabeling["sourceLabels"][0], "__meta_kubernetes_pod_label_app_kubernetes_io_component");
    assert_eq!(relabeling["targetLabel"], "component");
}

#[test]
fn nothing_is_made_unless_it_is_switched_on() {
    let objects = render(&[]);
    let made = ["PodMonitor", "ServiceMonitor", "PrometheusRule"].iter().any(|kind| find(&objects, kind, "posthorn").is_some());
    assert!(
        !made && find(&objects, "ConfigMap", "posthorn-dashboard").is_none() && find(&objects, "Service", "posthorn-metrics").is_none()
    );
}

#[test]
fn a_pod_monitor_finds_the_pods_of_every_role_and_not_redis() {
    let objects = render(&["--set=monitoring.podMonitor.enabled=true", "--set=monitoring.podMonitor.labels.release=prometheus"]);
    let monitor = found(&objects, "PodMonitor", "posthorn");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let (spec, endpoint) = (&monitor["spec"], &monitor["spec"]["podMetricsEndpoints"][0]);
    assert_labels(spec, endpoint);
    for pod in pods(&objects) {
        assert!(selects(&spec["selector"], &pod["metadata"]["labels"]) && has_port(&pod, &endpoint["port"]), "{pod:#}");
    }
    let redis = &found(&objects, "StatefulSet", "posthorn-redis")["spec"]["template"];
    assert!(!selects(&spec["selector"], &redis["metadata"]["labels"]));
}

#[test]
fn a_service_monitor_finds_the_same_pods_by_a_service_of_its_own() {
    let objects = render(&["--set=monitoring.serviceMonitor.enabled=true"]);
    let (monitor, service) = (found(&objects, "ServiceMonitor", "posthorn"), found(&objects, "Service", "posthorn-metrics"));
    let (spec, endpoint, port) = (&monitor["spec"], &monitor["spec"]["endpoints"][0], &service["spec"]["ports"][0]);
    assert_labels(spec, endpoint);
    let services = objects.iter().filter(|object| object["kind"] == "Service" && selects(&spec["selector"], &object["metadata"]["labels"]));
    assert_eq!(services.collect::<Vec<_>>(), [service]);
    assert_eq!((&port["name"], &service["metadata"]["labels"]["app.kubernetes.io/name"]), (&endpoint["port"], &"posthorn".into()));
    let selector = serde_json::json!({"matchLabels": service["spec"]["selector"]});
    for pod in pods(&objects) {
        assert!(selects(&selector, &pod["metadata"]["labels"]) && has_port(&pod, &port["targetPort"]), "{pod:#}");
    }
    let redis = &found(&objects, "StatefulSet", "posthorn-redis")["spec"]["template"];
    assert!(!has_port(redis, &port["targetPort"]), "Redis is not taken for a role");
}

#[test]
fn rules_and_dashboard_are_those_of_the_files() {
    let objects = render(&["--set=monitoring.prometheusRule.enabled=true", "--set=monitoring.dashboard.enabled=true"]);
    let file: Value = serde_saphyr::from_str(&read("charts/posthorn/files/alerts.yaml")).unwrap();
    assert_eq!(found(&objects, "PrometheusRule", "posthorn")["spec"], file);
    let dashboard = found(&objects, "ConfigMap", "posthorn-dashboard");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(
        dashboard["data"]["posthorn.json"].as_str().unwrap().trim_end(),
        read("charts/posthorn/files/dashboards/posthorn.json").trim_end()
    );
}

#[test]
fn an_alert_can_be_left_out_and_a_wrong_name_is_refused() {
    let rule = "--set=monitoring.prometheusRule.enabled=true";
    let objects = render(&[rule, "--set=monitoring.prometheusRule.disabled={PosthornRouterLag,PosthornIngestRefusing}"]);
    let groups = found(&objects, "PrometheusRule", "posthorn")["spec"]["groups"].to_string();
    assert!(!groups.contains("PosthornRouterLag") && groups.contains("PosthornRouterWithoutLeader"));
    assert!(!groups.contains("posthorn.ingest"), "a group without rules is left out");
    let said = try_render(&[rule, "--set=monitoring.prometheusRule.disabled={PosthornLag}"]).unwrap_err();
    assert!(said.contains("there is no alert PosthornLag, but PosthornDestinationHalted, "), "{said}");
}

#[test]
fn pods_are_not_scraped_twice() {
    let said = try_render(&["--set=monitoring.podMonitor.enabled=true", "--set=monitoring.serviceMonitor.enabled=true"]).unwrap_err();
    assert!(said.contains("enable one of them"), "{said}");
}
