//! Two operators: one writes, the other is ready to.

use super::{PATIENCE, pod, readiness, writes_of_pods};
use crate::support::it::eventually::{eventually_within, holds};
use crate::support::world::{OPERATOR, RELEASE, World, admin_of};
use crate::support::{Cluster, Posthorn};
use posthorn::generate::rbac;
use posthorn::receiver::{Behaviour, Receiver};
use rustix::process::Signal;

/// Which operators wrote, one after the other.
fn writers(cluster: &Cluster) -> Vec<String> {
    let mut pods: Vec<String> = writes_of_pods(cluster).into_iter().map(|(pod, _)| pod).collect();
    pods.dedup();
    pods
}

async fn stands_by(operator: &mut Posthorn, leader: &str) {
    let admin = admin_of(operator).await;
    assert!(readiness(admin, "[+]objects ok").await || readiness(admin, "[+]workers ok").await);
    assert!(readiness(admin, &format!("[+]lease ok: standing by: {leader}_")).await, "one that stands by is ready");
}

async fn leads(operator: &Posthorn) {
    eventually_within(PATIENCE, "it leads", async || holds(operator.log().lines().any(|line| line.contains("leading")), || operator.log()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_operators_writes_at_any_time() {
    let mut world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    world.apply("billing", &receiver.url(), "isolation: Shared");
    world.ready("billing").await;
    let edit = |world: &World, filter: &str| {
        drop(world.apply("billing", &receiver.url(), &format!("isolation: Shared, filters: [{{prefix: {{type: {filter}}}}}]")))
    };

    // killed: the other leads once the lease has ended
    let mut second = world.operator_in("pod-2");
    stands_by(&mut second, "pod-1").await;
    edit(&world, "com.");
    world.ready("billing").await;
    assert_eq!(writers(&world.cluster), ["pod-1"]);
    world.operator.kill9();
    leads(&second).await;
    edit(&world, "com.e");
    world.ready("billing").await;
    assert_eq!(writers(&world.cluster), ["pod-1", "pod-2"]);

    // stopped, and awake again when another leads: it ends, and has written nothing
    let mut third = world.operator_in("pod-3");
    stands_by(&mut third, "pod-2").await;
    second.freeze();
    edit(&world, "com.ex");
    leads(&third).await;
    world.ready("billing").await;
    edit(&world, "com.exa");
    second.thaw();
    let status = second.ended().await;
    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert!(second.log().contains("the lease was lost: pod-3_"), "{}", second.log());
    world.ready("billing").await;
    assert_eq!(writers(&world.cluster), ["pod-1", "pod-2", "pod-3"]);

    // told to end: the other leads at once
    let mut fourth = world.operator_in("pod-4");
    stands_by(&mut fourth, "pod-3").await;
    let status = third.terminate().await;
    assert!(status.success() && third.log().contains("released"), "{}", third.log());
    leads(&fourth).await;
    let released = world.cluster.value(RELEASE, "lease/posthorn-operator", "{.spec.acquireTime}");
    assert!(!released.is_empty());
    edit(&world, "com.exam");
    world.ready("billing").await;
    assert_eq!(writers(&world.cluster), ["pod-1", "pod-2", "pod-3", "pod-4"]);
    assert_eq!(world.cluster.value(RELEASE, "lease/posthorn-operator", "{.spec.leaseTransitions}"), "3");
    let requests = world.cluster.requests();
    assert!(requests.iter().filter(|request| request.user() == OPERATOR).all(|request| pod(request).starts_with("pod-")));
    world.operator = fourth;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_what_it_waits_for() {
    let mut cluster = Cluster::bare().await;
    for namespace in ["posthorn-system", "kube-system"] {
        if !cluster.kubectl(&["get", "namespace", namespace]).status.success() {
            cluster.create_namespace(namespace);
        }
    }
    for object in rbac::objects(RELEASE) {
        cluster.apply(&object.to_string());
    }
    let kubeconfig = cluster.service_account(RELEASE, "posthorn-operator").display().to_string();
    cluster.kill9();
    let args = ["operator", "--namespace", RELEASE, "--redis", "redis://127.0.0.1:9", "--admin-listen", "127.0.0.1:0"];
    let mut operator = Posthorn::start_with(&args, &[("KUBECONFIG", kubeconfig.as_str())]);
    let admin = admin_of(&mut operator).await;
    assert!(!readiness(admin, "[-]objects: get CustomResourceDefinition eventdestinations.posthorn.dev: ").await);
    assert!(!readiness(admin, "[-]lease: waiting for the lease: get Lease posthorn-operator: ").await);
    assert!(!readiness(admin, "[-]workers: Deployments and Secrets of workers are not listed yet").await);
    cluster.resume().await;
    assert!(!readiness(admin, "[-]objects: there is no CustomResourceDefinition eventdestinations.posthorn.dev: apply ").await);
    readiness(admin, "[+]workers ok").await;
    readiness(admin, "[+]lease ok: leading").await;
    cluster.define(&posthorn::api::crd::crd_json()).await;
    readiness(admin, "[+]objects ok").await;
    // Redis is away: that is told on statuses, and is no reason to be replaced
    assert!(readiness(admin, "[+]lease ok: leading").await);
    operator.signal(Signal::TERM);
    assert!(operator.ended().await.success(), "{}", operator.log());
}
