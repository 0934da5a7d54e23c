//! Workers in the release namespace: Secrets, Deployments, pools, what others do to them.

mod editing;
mod moving;
mod nudging;
mod trouble;
mod upgrading;

use crate::support::{Cluster, eventually, eventually::holds};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use posthorn::api::spec::Isolation::{self, Dedicated, Shared};
use posthorn::bus::Servers;
use posthorn::operator::OperatorConfig;
use posthorn::operator::config::WorkersConfig;
use posthorn::operator::metrics::OperatorMetrics;
use posthorn::operator::workers::{Changes, Destination, Hooks, Workers};
use posthorn::plan::Plan;
use posthorn::settings::Settings;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A release namespace, and workers in it.
struct Release {
    cluster: &'static Cluster,
    client: Client,
    namespace: String,
    /// UID → the plan that its worker reports.
    reported: Arc<Mutex<HashMap<String, String>>>,
}

impl Release {
    async fn new(prefix: &str) -> Release {
        let cluster = Cluster::shared().await;
        let namespace = cluster.namespace(prefix);
        // a user of its own, for its writes to be told from others'
        cluster.apply(&format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: operator, namespace: {namespace}}}, rules: [
                {{apiGroups: ['', apps], resources: [secrets, deployments], verbs: [get, list, watch, create, patch, delete]}},
                {{apiGroups: [''], resources: [pods], verbs: [list, patch]}}]}}"
        ));
        let account = format!("--serviceaccount={namespace}:operator");
        cluster.ok(&["create", "rolebinding", "operator", "--role=operator", &account, "-n", &namespace]);
        let client = cluster.client_of(&cluster.service_account(&namespace, "operator")).await;
        let release = Release { cluster, client, namespace, reported: Arc::default() };
        let secrets = release.secrets();
        eventually("the role is in force", async || secrets.list(&ListParams::default()).await.map_err(|error| error.to_string())).await;
        release
    }

    fn start(&self) -> (Workers, Changes) {
        let workers = WorkersConfig {
            image: "posthorn:test".into(),
            template: Default::default(),
            allowed: vec![Dedicated, Shared],
            default: Dedicated,
            allow_insecure_tls: false,
        };
        let config = OperatorConfig {
            namespace: self.namespace.clone(),
            redis: "redis://redis".parse().unwrap(),
            servers: Servers::new(&"redis://redis".parse().unwrap(), &Settings::default()).unwrap(),
            settings: Arc::default(),
            workers,
            identity: "test".into(),
            status_writes_per_second: 20,
        };
        let reported = Arc::clone(&self.reported);
        let hooks = Hooks {
            reported: Box::new(move |uid| reported.lock().unwrap().get(uid).cloned()),
            changed: Arc::new(|_| {}),
            may_write: Arc::new(|| true),
            metrics: OperatorMetrics::default(),
        };
        Workers::start(self.client.clone(), &config, hooks).unwrap()
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn writes(&self, mark: crate::support::audit::Mark) -> Vec<(String, usize)> {
        let user = format!("system:serviceaccount:{}:operator", self.namespace);
        self.cluster.writes_since(mark, &user).into_iter().collect()
    }

    /// The plans of a Secret: UID → id.
    async fn plans(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        let secret = self.secrets().get(name).await.map_err(|error| error.to_string())?;
        let id = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap()["id"].as_str().unwrap().to_owned();
        Ok(secret.data.unwrap_or_default().iter().map(|(file, json)| (file.trim_end_matches(".json").to_owned(), id(&json.0))).collect())
    }

    async fn holds(&self, name: &str, expected: &[(&str, &str)]) {
        eventually(&format!("Secret {name} holds {expected:?}"), async || self.holding(name, expected).await).await;
    }

    async fn holding(&self, name: &str, expected: &[(&str, &str)]) -> Result<(), String> {
        let plans = self.plans(name).await?;
        let same = plans.iter().map(|(uid, id)| (uid.as_str(), id.as_str())).eq(expected.iter().copied());
        holds(same, || format!("{plans:?}"))
    }

    async fn gone(&self, name: &str) {
        eventually(&format!("{name} is gone"), async || self.without(name).await).await;
    }

    async fn without(&self, name: &str) -> Result<(), String> {
        let secret = self.secrets().get_opt(name).await.map_err(|error| error.to_string())?;
        let deployment = self.deployments().get_opt(name).await.map_err(|error| error.to_string())?;
        holds(secret.is_none() && deployment.is_none(), || "it is there".into())
    }

    /// Runs the destination whenever it is told of, as the operator does, until the condition holds. What is told first may be of an
    /// earlier change than the last one.
    async fn follow(
        &self,
        workers: &Workers,
        changes: &mut Changes,
        it: &Destination,
        id: &str,
        isolation: Isolation,
        mut until: impl AsyncFnMut() -> Result<(), String>,
    ) {
        use futures::{FutureExt as _, StreamExt as _};
        eventually(&format!("{} follows in {}", it.name, self.namespace), async || {
            while let Some(told) = changes.next().now_or_never() {
                assert_eq!(told.as_ref(), Some(it));
                run(workers, it, id, isolation).await;
            }
            until().await
        })
        .await;
    }

    /// Has a Deployment have this many pods that are available, as its controller would.
    async fn available(&self, name: &str, count: i32) {
        eventually(&format!("Deployment {name} is there"), async || self.deployments().get(name).await.map_err(|error| error.to_string()))
            .await;
        let admin: Api<Deployment> = Api::namespaced(self.cluster.client().await, &self.namespace);
        let status = json!({"status": {"replicas": count, "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count}});
        admin.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    }
}

fn destination(name: &str) -> Destination {
    Destination { uid: format!("uid-{name}"), namespace: "shop".into(), name: name.into() }
}

fn plan(destination: &Destination, id: &str) -> Plan {
    plan_with(destination, id, "https://example.com/secret")
}

fn plan_with(Destination { uid, namespace, name }: &Destination, id: &str, uri: &str) -> Plan {
    let sink = json!({"http": {
        "uri": uri, "format": "Binary", "headers": [], "auth": null, "caBundle": null, "serverName": null, "signing": [],
        "haltOnStatusCodes": [], "retryAfterMax": 0,
    }});
    let delivery = json!({
        "retry": 1, "backoffPolicy": "Constant", "backoffDelay": 1, "backoffMax": 1, "timeout": 1, "onExhausted": "Drop", "maxDeadLetters": 1,
    });
    let plan = json!({
        "id": id, "uid": uid, "bus": "default", "namespace": namespace, "name": name, "suspend": false, "sink": sink, "delivery": delivery,
    });
    serde_json::from_value(plan).unwrap()
}

async fn run(workers: &Workers, destination: &Destination, id: &str, isolation: Isolation) -> String {
    workers.run(destination, false, Some(&plan(destination, id)), isolation).await.unwrap().name.unwrap()
}

#[tokio::test]
async fn a_destination_of_its_own_has_a_secret_and_a_deployment_until_it_goes() {
    let release = Release::new("alone").await;
    let (workers, _changes) = release.start();
    let it = destination("billing");
    let name = run(&workers, &it, "p1", Dedicated).await;
    release.holds(&name, &[(&it.uid, "p1")]).await;
    assert_eq!(release.deployments().get(&name).await.unwrap().spec.unwrap().replicas, Some(1));
    assert!(workers.trouble(&name).is_some());

    let mark = release.cluster.mark();
    run(&workers, &it, "p1", Dedicated).await;
    assert_eq!(release.writes(mark), [], "it is as it should be");

    // something it refers to is missing
    workers.run(&it, false, None, Dedicated).await.unwrap();
    release.holds(&name, &[]).await;
    workers.run(&it, true, Some(&plan(&it, "p2")), Dedicated).await.unwrap();
    release.holds(&name, &[(&it.uid, "p2")]).await;
    assert_eq!(release.deployments().get(&name).await.unwrap().spec.unwrap().replicas, Some(0));

    workers.remove(&it.uid).await.unwrap();
    release.gone(&name).await;
}

#[tokio::test]
async fn what_others_change_or_delete_is_told_and_repaired() {
    let release = Release::new("repair").await;
    let (workers, mut changes) = release.start();
    let it = destination("billing");
    let name = run(&workers, &it, "p1", Dedicated).await;
    let pool = run(&workers, &destination("pooled"), "p2", Shared).await;
    release.holds(&pool, &[("uid-pooled", "p2")]).await;
    let admin = release.cluster.client().await;
    let (secrets, deployments): (Api<Secret>, Api<Deployment>) =
        (Api::namespaced(admin.clone(), &release.namespace), Api::namespaced(admin, &release.namespace));

    let emptied = json!({"data": {format!("{}.json", it.uid): null}});
    secrets.patch(&name, &PatchParams::default(), &Patch::Merge(emptied)).await.unwrap();
    release.follow(&workers, &mut changes, &it, "p1", Dedicated, async || release.holding(&name, &[(&it.uid, "p1")]).await).await;

    for change in [json!({"spec": {"replicas": 0}}), json!({"metadata": {"labels": {"app.kubernetes.io/component": null}}})] {
        deployments.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
        let repaired = async || {
            let found = deployments.get(&name).await.map_err(|error| error.to_string())?;
            let component = found.labels().get("app.kubernetes.io/component").cloned();
            let replicas = found.spec.and_then(|spec| spec.replicas);
            holds(component.as_deref() == Some("worker") && replicas == Some(1), || format!("{component:?}, {replicas:?}"))
        };
        release.follow(&workers, &mut changes, &it, "p1", Dedicated, repaired).await;
    }
    deployments.delete(&name, &DeleteParams::default()).await.unwrap();
    let there = async || deployments.get(&name).await.map(|_| ()).map_err(|error| error.to_string());
    release.follow(&workers, &mut changes, &it, "p1", Dedicated, there).await;

    secrets.delete(&pool, &DeleteParams::default()).await.unwrap();
    release.holds(&pool, &[("uid-pooled", "p2")]).await;
    deployments.delete(&pool, &DeleteParams::default()).await.unwrap();
    eventually("the pool has its Deployment again", async || deployments.get(&pool).await.map_err(|error| error.to_string())).await;

    let mark = release.cluster.mark();
    release.available(&name, 1).await;
    eventually("it runs", async || holds(workers.trouble(&name).is_none(), || workers.trouble(&name).unwrap_or_default())).await;
    run(&workers, &it, "p1", Dedicated).await;
    assert_eq!(release.writes(mark), [], "a status is no change");
}

#[tokio::test]
async fn a_pool_is_filled_in_few_writes_and_known_again_after_a_restart() {
    let release = Release::new("pool").await;
    let (workers, _changes) = release.start();
    let mark = release.cluster.mark();
    let all: Vec<_> = (0..70).map(|number| destination(&format!("d{number:02}"))).collect();
    for it in &all {
        run(&workers, it, "p1", Shared).await;
    }
    let expected: Vec<_> = all[..64].iter().map(|it| (it.uid.as_str(), "p1")).collect();
    release.holds("posthorn-pool-0", &expected).await;
    let expected: Vec<_> = all[64..].iter().map(|it| (it.uid.as_str(), "p1")).collect();
    release.holds("posthorn-pool-1", &expected).await;
    // the Deployment follows its Secret
    let writes = eventually("both Deployments were written", async || {
        let writes: HashMap<String, usize> = release.writes(mark).into_iter().collect();
        holds(writes.get("patch deployments") == Some(&2), || format!("{writes:?}")).map(|()| writes)
    })
    .await;
    // as many as it took seconds: one for each destination would be 70
    assert!(writes["patch secrets"] <= 35, "{writes:?}");

    drop(workers);
    let (workers, _changes) = release.start();
    assert_eq!(run(&workers, &all[69], "p1", Shared).await, "posthorn-pool-1", "it stays where it was");
    let mut orphans = workers.orphans(|uid| uid != "uid-d03").await.unwrap();
    assert_eq!(orphans.pop(), Some(all[3].clone()));
    assert_eq!(orphans, []);
    for it in &all[1..] {
        workers.remove(&it.uid).await.unwrap();
    }
    release.holds("posthorn-pool-0", &[("uid-d00", "p1")]).await;
    release.gone("posthorn-pool-1").await;
    workers.remove("uid-d00").await.unwrap();
    release.gone("posthorn-pool-0").await;
}

#[tokio::test]
async fn who_moves_is_in_the_new_place_before_it_leaves_the_old() {
    let release = Release::new("move").await;
    let (workers, mut changes) = release.start();
    let it = destination("billing");
    let alone = run(&workers, &it, "p1", Dedicated).await;
    release.available(&alone, 1).await;

    let pool = run(&workers, &it, "p2", Shared).await;
    release.holds(&pool, &[(&it.uid, "p2")]).await;
    release.holds(&alone, &[(&it.uid, "p2")]).await;
    release.available(&pool, 1).await;
    release.follow(&workers, &mut changes, &it, "p2", Shared, async || release.without(&alone).await).await;

    run(&workers, &it, "p2", Dedicated).await;
    release.holds(&alone, &[(&it.uid, "p2")]).await;
    release.holds(&pool, &[(&it.uid, "p2")]).await;
    release.available(&alone, 1).await;
    release.follow(&workers, &mut changes, &it, "p2", Dedicated, async || release.without(&pool).await).await;
}

#[tokio::test]
async fn pods_are_told_of_a_new_plan_until_it_is_reported() {
    let release = Release::new("nudge").await;
    let (workers, _changes) = release.start();
    let it = destination("billing");
    let name = run(&workers, &it, "p1", Dedicated).await;
    let template = release.deployments().get(&name).await.unwrap().spec.unwrap().template;
    let mut pod: Pod = serde_json::from_value(json!({"metadata": template.metadata, "spec": template.spec})).unwrap();
    pod.metadata.name = Some("its-pod".into());
    let pods: Api<Pod> = Api::namespaced(release.cluster.client().await, &release.namespace);
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let annotation = async |expected: &str| {
        let secret = release.secrets().get(&name).await.unwrap();
        let expected = format!("{}{expected}", secret.resource_version().unwrap());
        eventually(&format!("the pod is annotated {expected}"), async || {
            let pod = pods.get("its-pod").await.map_err(|error| error.to_string())?;
            let value = pod.annotations().get("posthorn.dev/plans").cloned();
            holds(value.as_ref() == Some(&expected), || format!("{value:?}"))
        })
        .await;
    };
    annotation(".1").await; // as it did not report after 3 s
    run(&workers, &it, "p2", Dedicated).await;
    annotation("").await;
    release.reported.lock().unwrap().insert(it.uid.clone(), "p2".into());
    let stuck = json!({"status": {"containerStatuses": [{
        "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
    }]}});
    pods.patch_status("its-pod", &PatchParams::default(), &Patch::Merge(stuck)).await.unwrap();
    run(&workers, &it, "p3", Dedicated).await;
    annotation("").await;
    assert_eq!(workers.trouble(&name).unwrap(), format!("pod of Deployment {name}: ImagePullBackOff: no such image"));
}
