//! The Deployment controller: Pod objects for each Deployment, by its strategy, and its status.

use super::cache::Cache;
use super::node::NODE;
use super::status::{deployment_status, is_ready};
use super::{Options, ask};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Label of a pod that names the template it was made from, as in a cluster.
const HASH: &str = "pod-template-hash";

/// The controller, and what it remembers.
pub struct Deployments {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    pace: f64,
    progress: BTreeMap<String, Progress>,
    count: u64,
}

/// How far a Deployment has come, and since when.
struct Progress {
    reached: (String, usize, usize),
    since: Instant,
    written: Value,
}

/// The pods of one Deployment.
struct Pods {
    new: Vec<Pod>,
    old: Vec<Pod>,
    /// Of both, those that are told to end.
    ending: usize,
}

impl Deployments {
    /// With nothing to remember.
    pub fn new(client: &Client, options: &Options) -> Deployments {
        let (deployments, pods) =
            (Api::namespaced(client.clone(), &options.namespace), Api::namespaced(client.clone(), &options.namespace));
        Deployments { deployments, pods, pace: options.pace, progress: BTreeMap::new(), count: options.seed }
    }

    /// Takes each Deployment one step further, and deletes the pods of those that are gone.
    pub async fn pass(&mut self, cache: &Cache) {
        let deployments = cache.deployments();
        for deployment in &deployments {
            let pods = Pods::of(deployment, cache);
            self.step(deployment, &pods, cache).await;
            self.tell(deployment, &Pods::of(deployment, cache)).await;
        }
        for pod in cache.pods() {
            let owner = owner(&pod).map(|owner| &owner.uid);
            if owner.is_some_and(|uid| !deployments.iter().any(|deployment| deployment.uid().as_ref() == Some(uid))) {
                self.delete(&pod).await;
            }
        }
        self.progress.retain(|uid, _| deployments.iter().any(|deployment| deployment.uid().as_ref() == Some(uid)));
    }

    async fn step(&mut self, deployment: &Deployment, pods: &Pods, cache: &Cache) {
        let wanted = replicas(deployment);
        if is_recreate(deployment) {
            for pod in &pods.old {
                self.delete(pod).await;
            }
            if pods.old.is_empty() && pods.ending == 0 {
                self.create(deployment, wanted.saturating_sub(pods.new.len()), cache).await;
            }
        } else {
            let (surge, unavailable) = rolling(deployment, wanted);
            let all = pods.new.len() + pods.old.len();
            let room = (wanted + surge).saturating_sub(all);
            self.create(deployment, wanted.saturating_sub(pods.new.len()).min(room), cache).await;
            let ready = pods.new.iter().chain(&pods.old).filter(|pod| is_ready(pod)).count();
            let mut spare = ready.saturating_sub(wanted.saturating_sub(unavailable));
            for pod in &pods.old {
                if !is_ready(pod) {
                    self.delete(pod).await;
                } else if spare > 0 {
                    spare -= 1;
                    self.delete(pod).await;
                }
            }
        }
        // Those that are not ready go first.
        let mut new: Vec<&Pod> = pods.new.iter().collect();
        new.sort_by_key(|pod| is_ready(pod));
        for pod in new.iter().take(pods.new.len().saturating_sub(wanted)) {
            self.delete(pod).await;
        }
    }

    async fn create(&mut self, deployment: &Deployment, count: usize, cache: &Cache) {
        for _ in 0..count {
            self.count += 1;
            if let Some(pod) = ask(self.pods.create(&PostParams::default(), &new_pod(deployment, self.count))).await {
                cache.created(pod);
            }
        }
    }

    async fn delete(&self, pod: &Pod) {
        if pod.metadata.deletion_timestamp.is_none() {
            ask(self.pods.delete(&pod.name_any(), &DeleteParams::default())).await;
        }
    }

    /// Writes the status if it is another one.
    async fn tell(&mut self, deployment: &Deployment, pods: &Pods) {
        let ready = |pods: &[Pod]| pods.iter().filter(|pod| is_ready(pod)).count();
        let reached = (hash(template(deployment)), pods.new.len(), ready(&pods.new));
        let progress = self.progress.entry(deployment.uid().unwrap_or_default()).or_insert_with(|| Progress {
            reached: reached.clone(),
            since: Instant::now(),
            written: Value::Null,
        });
        if progress.reached != reached {
            (progress.reached, progress.since) = (reached, Instant::now());
        }
        let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds).unwrap_or(600);
        let is_late = progress.since.elapsed() > Duration::from_secs_f64(f64::from(deadline) * self.pace);
        let (updated, all) = (pods.new.len(), pods.new.len() + pods.old.len());
        let status = deployment_status(deployment, replicas(deployment), updated, all, ready(&pods.new) + ready(&pods.old), is_late);
        if progress.written == status {
            return;
        }
        let patch = Patch::Merge(json!({"status": status}));
        if ask(self.deployments.patch_status(&deployment.name_any(), &PatchParams::default(), &patch)).await.is_some() {
            progress.written = status;
        }
    }
}

impl Pods {
    fn of(deployment: &Deployment, cache: &Cache) -> Pods {
        let (uid, hash) = (deployment.uid(), hash(template(deployment)));
        let mut pods = cache.pods();
        pods.retain(|pod| owner(pod).map(|owner| &owner.uid) == uid.as_ref());
        let all = pods.len();
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        let ending = all - pods.len();
        let (new, old) = pods.into_iter().partition(|pod| pod.labels().get(HASH) == Some(&hash));
        Pods { new, old, ending }
    }
}

/// The Deployment that a pod was made for.
pub fn owner(pod: &Pod) -> Option<&OwnerReference> {
    pod.owner_references().iter().find(|owner| owner.kind == "Deployment")
}

fn replicas(deployment: &Deployment) -> usize {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

fn template(deployment: &Deployment) -> &PodTemplateSpec {
    &deployment.spec.as_ref().expect("a Deployment has a spec").template
}

fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"))
}

/// How many pods more, and how many ready ones fewer, a rolling update may make; a quarter each by default.
fn rolling(deployment: &Deployment, replicas: usize) -> (usize, usize) {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let number = |value: Option<&IntOrString>, round_up: bool| match value {
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(percent)) => share(percent, replicas, round_up),
        None => share("25%", replicas, round_up),
    };
    let surge = number(rolling.and_then(|rolling| rolling.max_surge.as_ref()), true);
    let unavailable = number(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), false);
    if surge + unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn share(percent: &str, of: usize, round_up: bool) -> usize {
    let percent: usize = percent.trim_end_matches('%').parse().unwrap_or(0);
    if round_up { (of * percent).div_ceil(100) } else { of * percent / 100 }
}

fn hash(template: &PodTemplateSpec) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(template).expect("a template is JSON").hash(&mut hasher);
    format!("{:010x}", hasher.finish() >> 24)
}

fn new_pod(deployment: &Deployment, number: u64) -> Pod {
    let (template, hash) = (template(deployment), hash(template(deployment)));
    let mut metadata = template.metadata.clone().unwrap_or_default();
    metadata.name = Some(format!("{}-{hash}-{number:05}", deployment.name_any()));
    metadata.labels.get_or_insert_default().insert(HASH.to_owned(), hash);
    metadata.owner_references = deployment.controller_owner_ref(&()).map(|owner| vec![owner]);
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.node_name = Some(NODE.to_owned());
    Pod { metadata, spec: Some(spec), status: None }
}
