//! Every object has its type, its labels and its name.

use crate::helm::{ALL_VALUES, NAMESPACE, find, found, helm, render, render_values, values_flag};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use posthorn::api::{EventDestination, validate};
use serde_json::Value;

/// Kinds of others, whose types are not here: the API server judges them, by their own definitions.
const FOREIGN: [&str; 4] = ["HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"];

/// The object as its type writes it; what the type does not know is lost on the way.
fn typed(object: &Value) -> Value {
    fn through<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> Value {
        let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object:#}"));
        serde_json::to_value(typed).unwrap()
    }
    match object["kind"].as_str().unwrap() {
        "ClusterRole" => through::<ClusterRole>(object),
        "ClusterRoleBinding" => through::<ClusterRoleBinding>(object),
        "ConfigMap" => through::<ConfigMap>(object),
        "CustomResourceDefinition" => through::<CustomResourceDefinition>(object),
        "Deployment" => through::<Deployment>(object),
        "EventDestination" => {
            let mut defaulted = object.clone();
            assert_eq!(validate(&mut defaulted, None), []);
            through::<EventDestination>(&defaulted)
        }
        "HorizontalPodAutoscaler" => through::<HorizontalPodAutoscaler>(object),
        "Ingress" => through::<Ingress>(object),
        "NetworkPolicy" => through::<NetworkPolicy>(object),
        "Pod" => through::<Pod>(object),
        "PodDisruptionBudget" => through::<PodDisruptionBudget>(object),
        "Role" => through::<Role>(object),
        "RoleBinding" => through::<RoleBinding>(object),
        "Secret" => through::<Secret>(object),
        "Service" => through::<Service>(object),
        "ServiceAccount" => through::<ServiceAccount>(object),
        "StatefulSet" => through::<StatefulSet>(object),
        foreign => {
            assert!(FOREIGN.contains(&foreign), "a {foreign} is not looked at");
            object.clone()
        }
    }
}

/// The paths of values that are in the first and not in the second. Nothing and an empty list or object are the same.
pub fn lost(from: &Value, to: &Value, path: &str) -> Vec<String> {
    let empty = |value: &Value| {
        matches!(value, Value::Null)
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            from.iter().flat_map(|(name, value)| lost(value, to.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"))).collect()
        }
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            from.iter().zip(to).enumerate().flat_map(|(at, (from, to))| lost(from, to, &format!("{path}[{at}]"))).collect()
        }
        (Value::Number(from), Value::Number(to)) if from.as_f64() == to.as_f64() => Vec::new(),
        (from, to) if from == to || (empty(from) && empty(to)) => Vec::new(),
        (from, to) => vec![format!("{path}: {from}, not {to}")],
    }
}

#[test]
fn the_linter_has_nothing_to_say() {
    for values in ALL_VALUES {
        let flag = values_flag(values);
        let output = helm(&[["lint", "--strict", "."].as_slice(), &flag.iter().map(String::as_str).collect::<Vec<_>>()].concat());
        assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn every_object_has_its_type_and_nothing_is_lost() {
    for values in ALL_VALUES {
        for object in render_values(values) {
            let name = format!("{values}: {} {}", object["kind"], object["metadata"]["name"]);
            assert_eq!(lost(&object, &typed(&object), ""), Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn every_object_is_labelled_and_in_the_namespace_of_the_release() {
    for values in ALL_VALUES {
        let objects = render_values(values);
        assert!(objects.len() > 25);
        for object in objects {
            let metadata = &object["metadata"];
            let in_none = ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"].iter().any(|kind| object["kind"] == *kind);
            assert_eq!(metadata["namespace"].as_str(), (!in_none).then_some(NAMESPACE), "{metadata}");
            for (label, value) in [("name", "posthorn"), ("instance", "green"), ("managed-by", "Helm")] {
                assert_eq!(metadata["labels"][format!("app.kubernetes.io/{label}")], value, "{metadata}");
            }
            assert!(!object.to_string().contains("posthorn-system"), "{metadata}");
        }
    }
}

#[test]
fn names_are_the_same_whatever_the_release_is_called() {
    let objects = render_values("");
    for role in ["operator", "ingest", "router"] {
        let name = format!("posthorn-{role}");
        assert_eq!(found(&objects, "Deployment", &name)["spec"]["template"]["spec"]["serviceAccountName"], name.as_str());
        found(&objects, "ServiceAccount", &name);
        found(&objects, "PodDisruptionBudget", &name);
        found(&objects, "NetworkPolicy", &name);
    }
    let expected = [
        ("ServiceAccount", "posthorn-worker"),
        ("ConfigMap", "posthorn-config"),
        ("ConfigMap", "posthorn-worker-template"),
        ("Service", "posthorn-ingest"),
        ("HorizontalPodAutoscaler", "posthorn-ingest"),
        ("StatefulSet", "posthorn-redis"),
        ("Service", "posthorn-redis"),
        ("Secret", "posthorn-redis"),
    ];
    for (kind, name) in expected {
        found(&objects, kind, name);
    }
}

#[test]
fn every_selector_finds_the_pods_of_one_component() {
    for values in ALL_VALUES {
        let objects = render_values(values);
        let pods = |object: &Value| match object["kind"].as_str() {
            Some("Pod") => Some(object["metadata"]["labels"].clone()),
            Some("Deployment" | "StatefulSet") => Some(object["spec"]["template"]["metadata"]["labels"].clone()),
            _ => None,
        };
        let pods: Vec<Value> = objects.iter().filter_map(pods).collect();
        let matching = |selector: &Value| {
            let labels = selector.as_object().unwrap();
            assert!(labels.len() > 1, "{selector}");
            pods.iter().filter(|pod| labels.iter().all(|(name, value)| pod[name] == *value)).count()
        };
        for object in &objects {
            let spec = &object["spec"];
            let selector = match object["kind"].as_str().unwrap() {
                "Service" => &spec["selector"],
                "PodDisruptionBudget" | "Deployment" | "StatefulSet" => &spec["selector"]["matchLabels"],
                "NetworkPolicy" if object["metadata"]["name"] != "posthorn-worker" => &spec["podSelector"]["matchLabels"],
                _ => continue,
            };
            assert_eq!(matching(selector), 1, "{}", object["metadata"]);
        }
    }
}

#[test]
fn the_definition_is_installed_and_kept_unless_the_values_say_otherwise() {
    let definition = |args: &[&str]| find(&render(args), "CustomResourceDefinition", "eventdestinations.posthorn.dev").cloned();
    let kept = |args: &[&str]| definition(args).map(|found| found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep");
    assert_eq!(kept(&[]), Some(true));
    assert_eq!(kept(&["--set=crds.keep=false"]), Some(false));
    assert_eq!(kept(&["--set=crds.install=false"]), None);
}

#[test]
fn ingest_leaves_its_replicas_to_who_scales_it() {
    let replicas = |args: &[&str]| found(&render(args), "Deployment", "posthorn-ingest")["spec"]["replicas"].as_u64();
    assert_eq!(replicas(&[]), None);
    assert_eq!(replicas(&["--set=ingest.autoscaling.enabled=false"]), Some(2));
    assert_eq!(replicas(&["--set=ingest.autoscaling.enabled=false,ingest.replicas=null"]), None);
}

#[test]
fn the_service_has_the_port_of_what_ingest_speaks() {
    let port = |args: &[&str]| found(&render(args), "Service", "posthorn-ingest")["spec"]["ports"][0].clone();
    let plain = port(&[]);
    assert_eq!((&plain["name"], &plain["port"]), (&"http".into(), &80.into()));
    let tls = port(&["--set=ingest.tls.secretName=cert"]);
    assert_eq!((&tls["name"], &tls["port"]), (&"https".into(), &443.into()));
    assert_eq!(port(&["--set=ingest.service.port=8080"])["port"], 8080);
}

#[test]
fn the_test_is_left_out_where_its_destination_may_not_read_the_bus() {
    let pod = |namespaces: &str| {
        let flag = format!("--set=ingest.nodeSelector.pool=edge,buses.default.allowedNamespaces={namespaces}");
        find(&render(&[&flag]), "Pod", "posthorn-test").cloned()
    };
    assert_eq!(pod("{shop}"), None);
    let pod = pod(&format!("{{shop,{NAMESPACE}}}")).unwrap();
    assert_eq!(pod["spec"]["nodeSelector"]["pool"], "edge");
    assert!(pod["spec"]["containers"].as_array().unwrap().iter().all(|container| container["resources"]["limits"]["memory"].is_string()));
}
