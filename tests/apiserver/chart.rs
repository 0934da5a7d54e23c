//! The Helm chart and the manifests: accepted by a real API server, Pod Security included, and installed, upgraded and uninstalled by Helm.
//!
//! There is no controller here: nothing that is installed runs.

use crate::support::Cluster;
use crate::support::charts::{NAMESPACE, cluster, dry_run, ok};
use crate::support::cluster::script;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use posthorn::operator::workers::build::{Template, Worker, deployment};
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs `hack/uninstall.sh`, with kubectl and helm on the path.
fn uninstall(cluster: &Cluster, args: &[&str]) -> Output {
    let helm = script("hack/helm.sh", &[]);
    let folders = [Path::new(&helm).parent().unwrap().to_owned(), script("hack/apiserver.sh", &[]).into()];
    let path = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
    let path = std::env::join_paths(folders.into_iter().chain(path)).unwrap();
    let mut command = Command::new(format!("{ROOT}/hack/uninstall.sh"));
    command.args(args).env("KUBECONFIG", cluster.admin()).env("PATH", path).output().unwrap()
}

/// What `kubectl apply` says on standard error, where it must succeed.
fn warnings(cluster: &Cluster, args: &[&str], stdin: &str) -> String {
    let args = [&["apply", "--dry-run=server", "--validate=strict"], args].concat();
    let output = cluster.kubectl_with(&cluster.admin(), &args, stdin);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

/// Has the API server complain of pods that are not restricted.
fn restrict(cluster: &Cluster, namespace: &str) {
    let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    cluster.ok(&["label", "namespace", namespace, &labels[0], &labels[1]]);
}

#[tokio::test]
async fn an_api_server_accepts_what_the_chart_makes_of_any_values() {
    let cluster = cluster().await;
    restrict(&cluster, NAMESPACE);
    for values in [&[][..], &["-f", "ci/minimal-values.yaml"], &["-f", "ci/maximal-values.yaml"]] {
        let rendered = ok(&cluster, &[&["template", "posthorn", ".", "-n", NAMESPACE], values].concat());
        let said = warnings(&cluster, &["-f", "-"], &rendered);
        assert!(!said.contains("PodSecurity"), "{values:?}: {said}");

        let config = rendered.split("---\n").find(|document| document.contains("name: posthorn-worker-template\n")).unwrap();
        let config: serde_json::Value = serde_saphyr::from_str(config).unwrap();
        let template: PodTemplateSpec = serde_saphyr::from_str(config["data"]["template.yaml"].as_str().unwrap()).unwrap();
        // what else an admin puts into the pods is theirs to restrict
        let bare = template.spec.iter().all(|spec| spec.containers.len() == 1);
        let workers = deployment(&Worker::Pool(0), NAMESPACE, &Template::new(template, "posthorn:test", None).unwrap(), 1);
        let mut workers = serde_json::to_value(workers).unwrap();
        (workers["apiVersion"], workers["kind"]) = ("apps/v1".into(), "Deployment".into());
        let said = warnings(&cluster, &["-f", "-"], &workers.to_string());
        assert!(!bare || !said.contains("PodSecurity"), "{values:?}: {said}");
    }
}

#[tokio::test]
async fn an_api_server_accepts_every_kustomization() {
    let cluster = cluster().await;
    restrict(&cluster, NAMESPACE);
    cluster.create_namespace("shop");
    for folder in ["base", "overlays/dev", "overlays/production", "samples", "samples/keda"] {
        let said = warnings(&cluster, &["-k", &format!("{ROOT}/manifests/{folder}")], "");
        assert!(!said.contains("PodSecurity"), "{folder}: {said}");
    }
    let install = std::fs::read_to_string(format!("{ROOT}/manifests/install.yaml")).unwrap();
    assert!(dry_run(&cluster, &install).len() > 25);
}

#[tokio::test]
async fn one_command_installs_the_manifests_into_an_empty_cluster() {
    let cluster = Cluster::bare().await;
    let printed = cluster.ok(&["apply", "-k", &format!("{ROOT}/manifests/overlays/dev")]);
    assert!(printed.lines().all(|line| line.ends_with(" created")), "{printed}");
    cluster.until(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "eventdestinations.posthorn.dev"]).await;
    let again = cluster.ok(&["apply", "-f", &format!("{ROOT}/manifests/install.yaml")]);
    assert!(again.lines().all(|line| line.ends_with(" unchanged") || line.ends_with(" configured")), "{again}");
}

#[tokio::test]
async fn an_upgrade_keeps_the_password_and_an_uninstallation_the_destinations_too() {
    let cluster = Cluster::bare().await;
    let password = || cluster.value(NAMESPACE, "secret/posthorn-redis", "{.data.password}");
    let notes = ok(&cluster, &["install", "posthorn", ".", "-n", NAMESPACE, "--create-namespace"]);
    assert!(notes.contains("helm -n posthorn-system test posthorn"), "{notes}");
    let before = password();
    assert_eq!(before.len(), 44, "32 characters in base64");
    ok(&cluster, &["upgrade", "posthorn", ".", "-n", NAMESPACE, "--set", "ingest.log=debug"]);
    assert_eq!(password(), before);

    cluster.until(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "eventdestinations.posthorn.dev"]).await;
    let destination = format!("{ROOT}/manifests/samples/minimal.yaml");
    cluster.create_namespace("shop");
    cluster.until(&["apply", "-f", &destination]).await;
    ok(&cluster, &["uninstall", "posthorn", "-n", NAMESPACE]);
    assert_eq!(cluster.value("shop", "eventdestination/minimal", "{.metadata.name}"), "minimal");
    let left = cluster.ok(&["get", "deployments,statefulsets,secrets,configmaps,services,roles", "-n", NAMESPACE, "-o", "name"]);
    assert_eq!(left.trim(), "secret/posthorn-redis");
    // what was kept does not stand in the way, and workers that were left know the password still
    ok(&cluster, &["install", "posthorn", ".", "-n", NAMESPACE]);
    assert_eq!(password(), before);
}

#[tokio::test]
async fn the_script_uninstalls_in_order_and_leaves_nothing_hanging() {
    let cluster = Cluster::bare().await;
    ok(&cluster, &["install", "posthorn", ".", "-n", NAMESPACE, "--create-namespace"]);
    cluster.until(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "eventdestinations.posthorn.dev"]).await;
    cluster.create_namespace("shop");
    cluster.until(&["apply", "-f", &format!("{ROOT}/manifests/samples/minimal.yaml")]).await;
    // as an operator leaves it that is gone
    let finalizer = r#"{"metadata": {"finalizers": ["posthorn.dev/delivery"]}}"#;
    cluster.ok(&["patch", "eventdestination", "minimal", "-n", "shop", "--type=merge", "-p", finalizer]);
    let made = "{apiVersion: v1, kind: Secret, metadata: {name: posthorn-pool-0, namespace: posthorn-system, labels: {app.kubernetes.io/managed-by: \
                posthorn-operator}}}";
    cluster.apply(made);

    let refused = uninstall(&cluster, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("shop minimal"), "{refused:?}");
    assert_eq!(cluster.value(NAMESPACE, "deployment/posthorn-operator", "{.metadata.name}"), "posthorn-operator", "nothing was touched");
    let done = uninstall(&cluster, &["--delete-destinations", "--timeout", "1s", "--force", "--delete-data"]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(cluster.ok(&["get", "deployments,secrets,configmaps,leases", "-n", NAMESPACE, "-o", "name"]), "");
    cluster.until(&["wait", "--for=delete", "--timeout=30s", "crd", "eventdestinations.posthorn.dev"]).await;
}
