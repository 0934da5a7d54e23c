//! What pods run: flags that the binary knows, volumes that are there, and no more rights than they need.

use crate::helm::{ALL_VALUES, found, render, render_values};
use crate::objects::lost;
use clap::{Arg, ArgAction, CommandFactory, Parser};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use posthorn::cli::Cli;
use posthorn::operator::workers::build::{Template, Worker, deployment};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Variables that are not flags of the command itself.
const OF_COMMANDS: [&str; 2] = ["POSTHORN_REDIS_URL", "POSTHORN_REDIS_CA"];

/// The Deployment that the operator makes of the chart's template for workers.
fn workers(objects: &[Value]) -> Value {
    let text = found(objects, "ConfigMap", "posthorn-worker-template")["data"]["template.yaml"].as_str().unwrap();
    let template: PodTemplateSpec = serde_saphyr::from_str(text).unwrap();
    let given: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(lost(&given, &serde_json::to_value(&template).unwrap(), ""), Vec::<String>::new());
    let complete = Template::new(template, "posthorn:test", None).unwrap();
    complete.require_settings("payments").unwrap();
    let operator = found(objects, "Deployment", "posthorn-operator").to_string();
    assert!(!operator.contains("POSTHORN_REDIS_CA") || complete.require_authorities().is_ok());
    serde_json::to_value(deployment(&Worker::Pool(0), "events", &complete, 1)).unwrap()
}

/// The name and the template of every pod, those of workers too.
fn pods(objects: &[Value]) -> Vec<(String, Value)> {
    let template = |object: &Value| match object["kind"].as_str() {
        Some("Pod") => Some(json!({"metadata": object["metadata"], "spec": object["spec"]})),
        Some("Deployment" | "StatefulSet") => Some(object["spec"]["template"].clone()),
        _ => None,
    };
    let all = [objects, &[workers(objects)]].concat();
    all.iter().filter_map(|object| Some((object["metadata"]["name"].as_str()?.to_owned(), template(object)?))).collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn command(container: &Value) -> Vec<String> {
    let words = list(container, "command").iter().chain(list(container, "args"));
    words.map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// What may stand where the value comes from somewhere else.
fn value(variable: &Value) -> String {
    match variable["name"].as_str().unwrap() {
        "POSTHORN_REDIS_URL" => "redis://redis".to_owned(),
        _ => variable["value"].as_str().unwrap_or("x").to_owned(),
    }
}

/// The command line that means the same as a container's command with its environment; what no flag reads.
fn command_line(container: &Value) -> (Vec<String>, Vec<String>) {
    let mut words = command(container);
    let cli = Cli::command();
    let role = cli.find_subcommand(&words[1]).unwrap_or_else(|| panic!("there is no command {}", words[1]));
    let arguments: Vec<&Arg> = cli.get_arguments().chain(role.get_arguments()).collect();
    let mut unknown = Vec::new();
    for variable in list(container, "env").iter().filter(|it| it["name"].as_str().unwrap().starts_with("POSTHORN_")) {
        let name = variable["name"].as_str().unwrap();
        let flag = arguments.iter().find(|argument| argument.get_env().is_some_and(|env| env == name));
        match flag {
            Some(flag) if matches!(flag.get_action(), ArgAction::SetTrue) => {
                words.extend((value(variable) == "true").then(|| format!("--{}", flag.get_long().unwrap())));
            }
            Some(flag) => words.push(format!("--{}={}", flag.get_long().unwrap(), value(variable))),
            None => unknown.push(name.to_owned()),
        }
    }
    (words, unknown)
}

#[test]
fn every_variable_is_a_flag_and_every_command_line_parses() {
    for values in ALL_VALUES {
        let mut count = 0;
        for (name, pod) in pods(&render_values(values)) {
            for container in list(&pod["spec"], "containers").iter().filter(|it| command(it).first().is_some_and(|word| word == "posthorn"))
            {
                count += 1;
                let (words, mut unknown) = command_line(container);
                // commands look for Redis by themselves
                let is_role = ["operator", "ingest", "router", "worker"].contains(&words[1].as_str());
                unknown.retain(|variable| is_role || !OF_COMMANDS.contains(&variable.as_str()));
                assert_eq!(unknown, Vec::<String>::new(), "{values}: {name}");
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{values}: {name}: {words:?}: {error}");
                }
            }
        }
        assert_eq!(count, 6, "{values}");
    }
}

#[test]
fn every_mount_has_a_volume_and_every_variable_is_there_once() {
    for values in ALL_VALUES {
        for (name, pod) in pods(&render_values(values)) {
            let volumes: BTreeSet<&str> = list(&pod["spec"], "volumes").iter().map(|volume| volume["name"].as_str().unwrap()).collect();
            let claimed = BTreeSet::from(["data"]);
            for container in list(&pod["spec"], "containers") {
                for mount in list(container, "volumeMounts").iter().map(|mount| mount["name"].as_str().unwrap()) {
                    assert!(volumes.contains(mount) || (name == "posthorn-redis" && claimed.contains(mount)), "{values}: {name}: {mount}");
                }
                let names: Vec<&str> = list(container, "env").iter().map(|variable| variable["name"].as_str().unwrap()).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{values}: {name}: {names:?}");
                let ports: BTreeSet<&str> = list(container, "ports").iter().map(|port| port["name"].as_str().unwrap()).collect();
                for probe in ["livenessProbe", "readinessProbe"] {
                    let probe = &container[probe];
                    let port = probe["httpGet"]["port"].as_str().or(probe["tcpSocket"]["port"].as_str());
                    assert!(port.is_none_or(|port| ports.contains(port)), "{values}: {name}: {probe}");
                }
            }
        }
    }
}

/// The rules of the Pod Security Standard `restricted` that a template could break; the API server judges by all of them.
#[test]
fn every_pod_is_restricted_and_only_the_operator_has_a_token() {
    for values in ALL_VALUES {
        for (name, pod) in pods(&render_values(values)) {
            let spec = &pod["spec"];
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(spec["securityContext"]["runAsUser"], 65532, "{name}");
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            assert_eq!(spec["enableServiceLinks"], false, "{name}");
            assert_eq!(spec["automountServiceAccountToken"] != false, name == "posthorn-operator", "{name}");
            for container in list(spec, "containers").iter().filter(|container| container["name"] != "proxy") {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{name}");
            }
        }
    }
}

#[test]
fn a_changed_bus_starts_every_role_again_but_not_redis() {
    let hashes = |args: &[&str]| -> Vec<(String, Value)> {
        pods(&render(args)).into_iter().map(|(name, pod)| (name, pod["metadata"]["annotations"]["checksum/config"].clone())).collect()
    };
    let (before, after) = (hashes(&[]), hashes(&["--set=buses.default.watermark=80%"]));
    for ((name, before), (_, after)) in before.iter().zip(&after).filter(|((name, _), _)| name != "posthorn-test") {
        assert!(before.is_string(), "{name}");
        assert_eq!(before == after, name == "posthorn-redis", "{name}");
    }
    let template = |args: &[&str]| {
        found(&render(args), "Deployment", "posthorn-operator")["spec"]["template"]["metadata"]["annotations"]["checksum/worker-template"]
            .clone()
    };
    assert_ne!(template(&[]), template(&["--set=worker.log=debug"]), "the operator reads the template at its start");
}

#[test]
fn an_upgrade_of_the_chart_does_not_start_redis_again() {
    let pod = &found(&render_values(""), "StatefulSet", "posthorn-redis")["spec"]["template"].to_string();
    assert!(!pod.contains("helm.sh/chart") && !pod.contains("app.kubernetes.io/version"), "{pod}");
}

#[test]
fn ingest_has_the_time_that_it_needs_to_end() {
    let objects = render(&["--set=ingest.preStopSeconds=7,ingest.gracePeriodSeconds=11"]);
    let pod = &found(&objects, "Deployment", "posthorn-ingest")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 7);
    let grace = list(container, "env").iter().find(|variable| variable["name"] == "POSTHORN_GRACE_PERIOD").unwrap();
    assert_eq!(grace["value"], "11s");
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 7 + 11);
}

#[test]
fn workers_have_the_image_of_the_operator() {
    let objects = render(&["--set=image.tag=v7,image.repository=registry.example/posthorn"]);
    let container = &found(&objects, "Deployment", "posthorn-operator")["spec"]["template"]["spec"]["containers"][0];
    let worker = list(container, "env").iter().find(|variable| variable["name"] == "POSTHORN_WORKER_IMAGE").unwrap();
    assert_eq!((&container["image"], &worker["value"]), (&"registry.example/posthorn:v7".into(), &"registry.example/posthorn:v7".into()));
}
