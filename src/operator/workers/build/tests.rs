use super::*;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

const REDIS: Option<&str> = Some("redis://redis:6379");

fn dedicated(name: &str, uid: &str) -> Worker {
    Worker::Dedicated(Destination { uid: uid.into(), namespace: "shop".into(), name: name.into() })
}

fn merged(admins: Value) -> Value {
    let admins: PodTemplateSpec = serde_json::from_value(admins).unwrap();
    serde_json::to_value(Template::new(admins, "posthorn:1", REDIS).unwrap().of(&Worker::Pool(3))).unwrap()
}

fn env(template: &Value) -> Vec<(String, String)> {
    let env = template["spec"]["containers"][0]["env"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    env.iter().map(|variable| (text(&variable["name"]), text(variable.get("value").unwrap_or(&variable["valueFrom"])))).collect()
}

#[test]
fn names_say_whom_they_are_for() {
    assert_eq!(Worker::Pool(0).name(), "posthorn-pool-0");
    let hash = dedicated("billing", "u1").name();
    assert!(hash.starts_with("posthorn-billing-") && hash.len() == "posthorn-billing-".len() + 10, "{hash}");
    assert!(dedicated("a.b", "u1").name().starts_with("posthorn-a-b-"));
    // cut where a hyphen would be doubled
    let long = format!("{}-{}", "a".repeat(42), "b".repeat(20));
    assert!(dedicated(&long, "u1").name().starts_with(&format!("posthorn-{}-", "a".repeat(42))));
}

#[test]
fn a_destination_that_is_made_again_gets_another_name() {
    assert_ne!(dedicated("billing", "u1").name(), dedicated("billing", "u2").name());
    assert_eq!(dedicated("billing", "u1").name(), dedicated("billing", "u1").name());
}

proptest! {
    #[test]
    fn names_and_labels_are_allowed_and_lead_back(
        name in "[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", namespace in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", uid in "[0-9a-f-]{36}", number: u32,
    ) {
        let label = regex::Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").unwrap();
        for worker in [Worker::Dedicated(Destination { uid, namespace, name }), Worker::Pool(number)] {
            let name = worker.name();
            prop_assert!(name.len() <= 63 && label.is_match(&name), "{}", name);
            prop_assert!(worker.labels().values().all(|value| value.len() <= 63));
            prop_assert_eq!(Worker::of_labels(&worker.labels()), Some(worker));
        }
    }
}

#[test]
fn labels_of_others_are_nobodys() {
    assert_eq!(Worker::of_labels(&[].into()), None);
    assert_eq!(Worker::of_labels(&[(POOL.to_owned(), "x".to_owned())].into()), None);
    assert_eq!(Worker::of_labels(&[(DESTINATION_UID.to_owned(), "u".to_owned())].into()), None);
}

#[test]
fn without_a_word_of_the_admin_a_pod_is_locked_down_and_probed() {
    let template = merged(json!({}));
    let pod = &template["spec"];
    let container = &pod["containers"][0];
    assert_eq!((&container["image"], &container["command"]), (&json!("posthorn:1"), &json!(["posthorn", "worker"])));
    assert_eq!(
        container["securityContext"],
        json!({
            "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        })
    );
    assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}));
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/livez", "port": "admin"}));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "admin"}));
    assert_eq!(container["ports"], json!([{"name": "admin", "containerPort": 9090, "protocol": "TCP"}]));
    assert_eq!(container["resources"], json!({"requests": {"cpu": "10m", "memory": "32Mi"}}));
    assert_eq!(pod["topologySpreadConstraints"][0]["whenUnsatisfiable"], "ScheduleAnyway");
    let expected = [
        ("POSTHORN_REDIS_URL", "redis://redis:6379"),
        ("POSTHORN_ADMIN_LISTEN", "0.0.0.0:9090"),
        ("POSTHORN_PLANS", "/etc/posthorn/plans"),
        ("POSTHORN_TOKEN_DIR", "/run/posthorn"),
    ];
    assert_eq!(env(&template), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(
        container["volumeMounts"],
        json!([
            {"name": "plans", "mountPath": "/etc/posthorn/plans", "readOnly": true}, {"name": "tokens", "mountPath": "/run/posthorn", "readOnly": false},
        ])
    );
    assert_eq!(
        pod["volumes"],
        json!([
            {"name": "plans", "secret": {"secretName": "posthorn-pool-3", "defaultMode": 0o440}},
            {"name": "tokens", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        ])
    );
}

#[test]
fn what_the_admin_gives_stays_where_it_is_theirs() {
    let template = merged(json!({
        "metadata": {"labels": {"team": "a", "posthorn.dev/worker": "not theirs"}, "annotations": {"note": "b"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "terminationGracePeriodSeconds": 60,
            "topologySpreadConstraints": [],
            "automountServiceAccountToken": true,
            "securityContext": {"fsGroup": 7},
            "volumes": [{"name": "ca", "configMap": {"name": "ca"}}, {"name": "plans", "emptyDir": {}}],
            "containers": [
                {"name": "proxy", "image": "proxy:2"},
                {
                    "name": "worker", "image": "theirs", "command": ["sh"], "args": ["--halt-probe", "1m"],
                    "resources": {"limits": {"memory": "1Gi"}},
                    "securityContext": {"runAsUser": 5, "readOnlyRootFilesystem": false},
                    "livenessProbe": {"httpGet": {"path": "/livez", "port": "admin"}, "periodSeconds": 60},
                    "env": [{"name": "RUST_LOG", "value": "debug"}, {"name": "POSTHORN_PLANS", "value": "/x"}],
                    "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
                },
            ],
        },
    }));
    let (metadata, pod, container) = (&template["metadata"], &template["spec"], &template["spec"]["containers"][1]);
    assert_eq!((&metadata["labels"]["team"], &metadata["annotations"]["note"]), (&json!("a"), &json!("b")));
    assert_eq!(metadata["labels"]["posthorn.dev/worker"], "posthorn-pool-3");
    assert_eq!((&pod["nodeSelector"]["disk"], &pod["containers"][0]["image"]), (&json!("ssd"), &json!("proxy:2")));
    assert_eq!((&pod["terminationGracePeriodSeconds"], &pod["topologySpreadConstraints"]), (&json!(60), &json!([])));
    assert_eq!((&pod["securityContext"]["fsGroup"], &pod["automountServiceAccountToken"]), (&json!(7), &json!(false)));
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 3);
    assert_eq!((&container["image"], &container["command"]), (&json!("posthorn:1"), &json!(["posthorn", "worker"])));
    assert_eq!((&container["args"], &container["resources"]), (&json!(["--halt-probe", "1m"]), &json!({"limits": {"memory": "1Gi"}})));
    let security = &container["securityContext"];
    assert_eq!(
        (&security["runAsUser"], &security["readOnlyRootFilesystem"], &security["runAsNonRoot"]),
        (&json!(5), &json!(false), &json!(true))
    );
    assert_eq!(container["livenessProbe"]["periodSeconds"], 60);
    assert_eq!(container["volumeMounts"].as_array().unwrap().len(), 3);
    let plans: Vec<_> = pod["containers"][1]["env"].as_array().unwrap().iter().filter(|env| env["name"] == "POSTHORN_PLANS").collect();
    assert_eq!(plans, [&json!({"name": "POSTHORN_PLANS", "value": "/etc/posthorn/plans"})]);
}

#[test]
fn a_password_for_redis_comes_from_a_secret_or_not_at_all() {
    let none = Template::new(PodTemplateSpec::default(), "posthorn:1", None).unwrap_err();
    assert!(none.to_string().contains("secretKeyRef"), "{none}");
    let own = Template::new(PodTemplateSpec::default(), "posthorn:1", REDIS).unwrap().require_settings("orders").unwrap_err();
    assert!(own.to_string().contains("bus orders") && own.to_string().contains("POSTHORN_CONFIG"), "{own}");
    let from = json!({"secretKeyRef": {"key": "url", "name": "redis"}});
    let container = json!({"name": "worker", "env": [{"name": "POSTHORN_REDIS_URL", "valueFrom": from}]});
    let admins: PodTemplateSpec = serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap();
    for redis in [None, REDIS] {
        let template = serde_json::to_value(Template::new(admins.clone(), "posthorn:1", redis).unwrap().of(&Worker::Pool(0))).unwrap();
        assert_eq!(env(&template)[0], ("POSTHORN_REDIS_URL".to_owned(), from.to_string()));
    }
    let container = json!({"name": "worker", "env": [{"name": "POSTHORN_CONFIG", "value": "/etc/posthorn/posthorn.yaml"}]});
    let admins: PodTemplateSpec = serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap();
    assert_eq!(Template::new(admins, "posthorn:1", REDIS).unwrap().require_settings("orders"), Ok(()));
}

#[test]
fn workers_are_told_whom_to_trust_or_the_operator_says_how() {
    let none = Template::new(PodTemplateSpec::default(), "posthorn:1", REDIS).unwrap().require_authorities().unwrap_err();
    assert!(none.to_string().contains("POSTHORN_REDIS_CA"), "{none}");
    let container = json!({"name": "worker", "env": [{"name": "POSTHORN_REDIS_CA", "value": "/run/secrets/redis/ca.crt"}]});
    let admins: PodTemplateSpec = serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap();
    assert_eq!(Template::new(admins, "posthorn:1", REDIS).unwrap().require_authorities(), Ok(()));
}

#[test]
fn workers_learn_whether_any_certificate_is_good_enough() {
    let plain = Template::new(PodTemplateSpec::default(), "posthorn:1", REDIS).unwrap();
    let told = |template: &Template| {
        let variables = env(&serde_json::to_value(template.of(&Worker::Pool(0))).unwrap());
        variables.contains(&("POSTHORN_ALLOW_INSECURE_TLS".to_owned(), "true".to_owned()))
    };
    assert!(!told(&plain));
    assert!(told(&plain.with_insecure_tls()));
}

#[test]
fn a_successor_is_there_before_the_old_pod_goes() {
    let template = Template::new(PodTemplateSpec::default(), "posthorn:1", REDIS).unwrap();
    let worker = dedicated("billing", "u1");
    let deployment = serde_json::to_value(deployment(&worker, "posthorn", &template, 0)).unwrap();
    let spec = &deployment["spec"];
    assert_eq!(spec["strategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}));
    assert_eq!(spec["replicas"], 0);
    // a selector finds the pods that the template makes
    let labels = spec["template"]["metadata"]["labels"].as_object().unwrap();
    let selector = spec["selector"]["matchLabels"].as_object().unwrap();
    assert!(selector.iter().all(|(name, value)| labels[name] == *value), "{selector:?} {labels:?}");
    assert_eq!(deployment["metadata"]["labels"]["posthorn.dev/destination-namespace"], "shop");
    assert_eq!(deployment["metadata"]["name"], spec["template"]["spec"]["volumes"][0]["secret"]["secretName"]);
}

#[test]
fn a_secret_holds_one_file_for_each_plan() {
    let container = Container { name: "worker".into(), ..Container::default() };
    let mut admins = PodTemplateSpec::default();
    admins.spec.get_or_insert_default().containers.push(container);
    admins.metadata.get_or_insert_default().labels.get_or_insert_default().insert("app.kubernetes.io/instance".into(), "red".into());
    let template = Template::new(admins, "posthorn:1", REDIS).unwrap();
    let plans: [(&str, &[u8]); 2] = [("u1", b"{}"), ("u2", b"[]")];
    let secret = serde_json::to_value(secret(&Worker::Pool(1), "posthorn", &template, plans)).unwrap();
    assert_eq!(secret["data"], json!({"u1.json": "e30=", "u2.json": "W10="}));
    assert_eq!((&secret["metadata"]["name"], &secret["metadata"]["namespace"]), (&json!("posthorn-pool-1"), &json!("posthorn")));
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/instance"], "red");
    assert_eq!((uid_of_file("u1.json"), uid_of_file("note.txt"), uid_of_file(".json")), (Some("u1"), None, None));
}
