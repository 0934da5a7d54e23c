//! The player of the kubelet: it runs a real worker from a Deployment that the test writes by hand.

use crate::support::it::pieces::plan;
use crate::support::kubelet::{Kubelet, Options, PodView};
use crate::support::{Client, Cluster, Pieces, client::Post, eventually, eventually::holds};
use posthorn::bus::routing::Start;
use posthorn::operator::workers::build::{self, Template, Worker};
use posthorn::receiver::{Behaviour, Receiver};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A Deployment as the operator would write one, for a Redis on this machine.
fn deployment(namespace: &str, redis: &str) -> Value {
    let labels = json!({"app": "worker"});
    let env = [
        ("POSTHORN_PLANS", "/etc/posthorn/plans"),
        ("POSTHORN_TOKEN_DIR", "/run/posthorn"),
        ("POSTHORN_ADMIN_LISTEN", "0.0.0.0:9090"),
        ("POSTHORN_EGRESS_ALLOW", "127.0.0.0/8"),
    ];
    let mut env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    env.push(json!({"name": "POSTHORN_REDIS_URL", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}}));
    json!([
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis", "namespace": namespace}, "stringData": {"url": redis}},
        {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "worker", "namespace": namespace, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "containers": [{
                            "name": "worker", "image": "posthorn:1", "command": ["/usr/bin/posthorn", "worker"], "env": env,
                            "ports": [{"name": "admin", "containerPort": 9090}],
                            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "admin"}},
                            "volumeMounts": [
                                {"name": "plans", "mountPath": "/etc/posthorn/plans"}, {"name": "tokens", "mountPath": "/run/posthorn"},
                            ],
                        }],
                        "volumes": [{"name": "plans", "secret": {"secretName": "plans"}}, {"name": "tokens", "emptyDir": {}}],
                    },
                },
            },
        },
    ])
}

/// A bus in pieces, with one destination and a worker for it in a namespace of the shared cluster.
struct Scene {
    cluster: &'static Cluster,
    namespace: String,
    pieces: Pieces,
    kubelet: Kubelet,
}

impl Scene {
    async fn start(options: impl FnOnce(Options) -> Options) -> Scene {
        let cluster = Cluster::shared().await;
        let (namespace, pieces) = (cluster.namespace("kubelet"), Pieces::start());
        pieces.create("a", Vec::new(), Start::Latest).await;
        for object in deployment(&namespace, &pieces.redis.url()).as_array().unwrap() {
            cluster.apply(&object.to_string());
        }
        let kubelet = Kubelet::start(cluster, options(Options::of(&namespace)));
        Scene { cluster, namespace, pieces, kubelet }
    }

    /// Writes the Secret with the plan. Returns its version.
    fn plan(&self, url: &str) -> String {
        let plan = serde_json::to_string(&plan("a", url)).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plans", "namespace": self.namespace}, "stringData": {"a.json": plan},
        });
        self.cluster.apply(&secret.to_string());
        self.cluster.value(&self.namespace, "secret/plans", "{.metadata.resourceVersion}")
    }

    fn change(&self, patch: Value) {
        self.cluster.ok(&["patch", "deployment", "worker", "-n", &self.namespace, "-p", &patch.to_string()]);
    }

    /// Annotates the pods, as the operator does after it wrote a Secret.
    fn nudge(&self, version: &str) {
        let annotation = format!("posthorn.dev/plans={version}");
        self.cluster.ok(&["annotate", "pod", "-l", "app=worker", "--overwrite", "-n", &self.namespace, &annotation]);
    }

    async fn ready(&self) -> PodView {
        self.kubelet.ready("worker", 1).await.remove(0)
    }

    async fn status(&self, path: &str, wanted: &str) {
        self.cluster.eventually(&self.namespace, "deployment/worker", path, wanted).await;
    }
}

#[tokio::test]
async fn it_runs_the_worker_of_a_deployment_which_delivers() {
    let (scene, receiver) = (Scene::start(|options| options).await, Receiver::start(Behaviour::ok()).await.unwrap());
    eventually("the pod waits for its Secret", async || {
        let pods = scene.kubelet.pods_of("worker");
        let problem = pods.first().and_then(|pod| pod.problem.clone()).unwrap_or_default();
        holds(problem.contains("Secret plans is not there"), || format!("{pods:?}"))
    })
    .await;
    scene.plan(&receiver.url());
    let pod = scene.ready().await;
    scene.status("{.status.availableReplicas} {.status.conditions[?(@.type=='Available')].status}", "1 True").await;

    let (ingest, _router) = (scene.pieces.ingest().await, scene.pieces.router().await);
    let mut client = Client::new(ingest.addr);
    for number in 0..5 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    scene.pieces.drained(&["a"]).await;
    assert_eq!(receiver.log().len(), 5);

    scene.kubelet.kill_worker("worker");
    eventually("it is started again", async || {
        let pods = scene.kubelet.pods_of("worker");
        holds(pods[0].restarts == 1 && pods[0].ready && pods[0].pid != pod.pid, || format!("{pods:?}"))
    })
    .await;
    client.post_until_accepted(&Post::numbered(5)).await;
    scene.pieces.drained(&["a"]).await;
    assert_eq!(receiver.log().len(), 6);

    scene.change(json!({"spec": {"replicas": 0}}));
    scene.kubelet.ready("worker", 0).await;
    // 0 is left out of a status.
    scene.status("{.status.replicas}{.status.observedGeneration}", "2").await;
    assert!(scene.kubelet.logs("worker").contains("role=\"worker\""), "{}", scene.kubelet.logs("worker"));
}

#[tokio::test]
async fn a_changed_secret_is_mounted_late_or_at_once_if_the_pod_is_annotated() {
    let scene = Scene::start(|options| Options { pace: 1000.0, ..options }).await;
    scene.plan("http://127.0.0.1:1/");
    let before = scene.ready().await;
    let version = scene.plan("http://127.0.0.1:2/");
    scene.nudge("other");
    scene.nudge(&version);
    eventually("it is mounted", async || {
        let pod = scene.ready().await;
        holds(pod.refreshes == 1 && pod.pid == before.pid, || format!("{pod:?}"))
    })
    .await;
    eventually("the worker has it", async || {
        let log = scene.kubelet.logs("worker");
        holds(log.matches("plan").count() > 1, || log)
    })
    .await;
    let scene = Scene::start(|options| Options { pace: 0.001, ..options }).await;
    scene.plan("http://127.0.0.1:1/");
    scene.ready().await;
    scene.plan("http://127.0.0.1:2/");
    eventually("it is mounted without a word", async || {
        let pod = scene.ready().await;
        holds(pod.refreshes == 1, || format!("{pod:?}"))
    })
    .await;
}

#[tokio::test]
async fn an_annotation_may_come_before_the_secret() {
    let scene = Scene::start(|options| Options { pace: 1000.0, overtaken: 1, ..options }).await;
    scene.plan("http://127.0.0.1:1/");
    scene.ready().await;
    for number in 2..5 {
        let version = scene.plan(&format!("http://127.0.0.1:{number}/"));
        scene.nudge(&version);
        eventually("the one before is mounted", async || {
            let pod = scene.ready().await;
            holds(pod.refreshes == number - 2, || format!("{pod:?}"))
        })
        .await;
    }
}

#[tokio::test]
async fn a_rolling_update_has_the_successor_ready_before_it_ends_the_other() {
    let scene = Scene::start(|options| options).await;
    scene.plan("http://127.0.0.1:1/");
    let before = scene.ready().await;
    scene.kubelet.hold(true);
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": image}]}}}});
    scene.change(image("posthorn:2"));
    eventually("the new pod waits for its image", async || {
        let pods = scene.kubelet.pods_of("worker");
        let waits = pods.iter().any(|pod| pod.problem.as_deref().is_some_and(|problem| problem.starts_with("ImagePullBackOff")));
        holds(pods.len() == 2 && waits && pods.iter().any(|pod| pod.pid == before.pid && pod.ready), || format!("{pods:?}"))
    })
    .await;
    scene.kubelet.hold(false);
    let after = scene.ready().await;
    assert_ne!(after.pid, before.pid);

    scene.change(json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}));
    scene.kubelet.signal("worker", Signal::STOP);
    scene.change(image("posthorn:3"));
    eventually("it waits for the end of the pod", async || {
        let pods = scene.kubelet.pods_of("worker");
        holds(pods.len() == 1 && pods[0].terminating, || format!("{pods:?}"))
    })
    .await;
    scene.kubelet.signal("worker", Signal::CONT);
    assert_ne!(scene.ready().await.pid, after.pid);
    scene.status("{.status.updatedReplicas}{.status.replicas}{.status.availableReplicas}", "111").await;
    scene.cluster.ok(&["delete", "deployment", "worker", "-n", &scene.namespace]);
    scene.kubelet.ready("worker", 0).await;
}

#[tokio::test]
async fn it_runs_what_the_operator_makes_of_a_worker() {
    let scene = Scene::start(|options| Options { selector: build::SELECTOR.to_owned(), ..options }).await;
    scene.plan("http://127.0.0.1:1/");
    let pod = json!({"spec": {"containers": [{"name": "worker", "env": [{"name": "POSTHORN_EGRESS_ALLOW", "value": "127.0.0.0/8"}]}]}});
    let template = Template::new(serde_json::from_value(pod).unwrap(), "posthorn:1", Some(&scene.pieces.redis.url())).unwrap();
    let (worker, plan) = (Worker::Pool(7), serde_json::to_vec(&plan("a", "http://127.0.0.1:1/")).unwrap());
    let secret = build::secret(&worker, &scene.namespace, &template, [("a", &plan[..])]);
    scene.cluster.apply(&serde_json::to_string(&secret).unwrap());
    let deployment = build::deployment(&worker, &scene.namespace, &template, 1);
    scene.cluster.apply(&serde_json::to_string(&deployment).unwrap());
    scene.kubelet.ready(&worker.name(), 1).await;
    assert_eq!(scene.kubelet.pods_of("worker").len(), 0, "the selector does not take it");
    let log = scene.kubelet.logs(&worker.name());
    assert!(log.contains("plan read file=\"a.json\""), "{log}");
}
