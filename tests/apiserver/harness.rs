//! The harness itself.

use crate::support::{Cluster, eventually, eventually::holds};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams};
use serde_json::json;
use std::process::Command;

#[tokio::test]
async fn a_service_account_is_known_by_its_token_and_bound_by_its_role() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("accounts");
    let account = cluster.service_account(&namespace, "robot");
    cluster.ok(&["create", "role", "reads", "--verb=get", "--resource=configmaps", "-n", &namespace]);
    cluster.ok(&["create", "rolebinding", "reads", "--role=reads", &format!("--serviceaccount={namespace}:robot"), "-n", &namespace]);
    let client = cluster.client_of(&account).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    eventually("the role is in force", async || {
        let found = config_maps.get_opt("nothing").await.map_err(|error| error.to_string())?;
        holds(found.is_none(), || "there is something".into())
    })
    .await;
    let refused = config_maps.list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("system:serviceaccount:{namespace}:robot")), "{refused}");
}

#[tokio::test]
async fn the_audit_log_tells_writes_and_what_lists_of_secrets_answered() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("audited");
    let client = cluster.client_of(&cluster.service_account(&namespace, "robot")).await;
    cluster.ok(&["create", "role", "edits", "--verb=list,create", "--resource=secrets", "-n", &namespace]);
    cluster.ok(&["create", "rolebinding", "edits", "--role=edits", &format!("--serviceaccount={namespace}:robot"), "-n", &namespace]);
    let (secrets, mark): (Api<Secret>, _) = (Api::namespaced(client, &namespace), cluster.mark());
    eventually("the role is in force", async || secrets.list_metadata(&ListParams::default()).await.map_err(|error| error.to_string()))
        .await;
    let secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"key": "value"}})).unwrap();
    secrets.create(&Default::default(), &secret).await.unwrap();
    secrets.list_metadata(&ListParams::default()).await.unwrap();
    secrets.list(&ListParams::default()).await.unwrap();

    let user = format!("system:serviceaccount:{namespace}:robot");
    assert_eq!(cluster.writes_since(mark, &user), [("create secrets".to_owned(), 1)].into());
    let mut lists = cluster.requests_since(mark);
    lists.retain(|request| request.user() == user && request.verb == "list" && request.code() == 200);
    let kinds: Vec<&str> = lists.iter().rev().take(2).map(|request| request.answered_kind()).collect();
    assert_eq!(kinds, ["SecretList", "PartialObjectMetadataList"]);
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let mut cluster = Cluster::bare().await;
    let namespace = cluster.namespace("kept");
    cluster.restart().await;
    cluster.until(&["get", "namespace", &namespace]).await;
    cluster.stop();
    assert!(!cluster.kubectl(&["get", "namespace", &namespace]).status.success(), "it is stopped");
    cluster.resume().await;
    cluster.delete_namespace(&namespace).await;
    cluster.eventually("", "namespace/default", "{.status.phase}", "Active").await;
    assert!(!cluster.kubectl(&["get", "namespace", &namespace]).status.success(), "it is deleted");
}

/// Set for the process that is to be killed by [`nothing_outlives_a_test_that_is_killed`].
const VICTIM: &str = "POSTHORN_TEST_VICTIM";

#[tokio::test]
async fn a_cluster_for_the_test_that_kills_its_process() {
    let Some(file) = std::env::var_os(VICTIM) else { return };
    let cluster = Cluster::bare().await;
    std::fs::write(&file, cluster.url()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_outlives_a_test_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("url");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "harness::a_cluster_for_the_test_that_kills_its_process", "--nocapture"]).env(VICTIM, &file);
    let mut victim = command.spawn().unwrap();
    let url = eventually("it has a cluster", async || std::fs::read_to_string(&file).map_err(|error| error.to_string())).await;
    let address = url.trim_start_matches("https://");
    assert!(std::net::TcpStream::connect(address).is_ok(), "its API server listens");
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("its API server is gone", async || holds(std::net::TcpStream::connect(address).is_err(), || "it listens".into())).await;
}
