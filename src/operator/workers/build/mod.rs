//! The objects of a worker, as they should be: names, labels, plan Secret, Deployment. Pure.
//!
//! An owner reference cannot cross namespaces, so labels say to which destination an object belongs, and we delete what is ours.

mod labels;
mod template;

pub use labels::{DESTINATION_UID, Destination, POOL, SELECTOR, WORKER, Worker};
pub use template::{IncompleteTemplate, Template};

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// After how many seconds without progress a Deployment says so.
const PROGRESS_DEADLINE: i32 = 120;

/// The Secret with the plans of a worker, one file each: UID of the destination, plan in JSON.
pub fn secret<'a>(worker: &Worker, namespace: &str, template: &Template, plans: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Secret {
    let files = plans.into_iter().map(|(uid, json)| (file_name(uid), ByteString(json.to_vec()))).collect();
    Secret { metadata: metadata(worker, namespace, template), data: Some(files), type_: Some("Opaque".to_owned()), ..Secret::default() }
}

/// The file that holds the plan of a destination.
pub fn file_name(uid: &str) -> String {
    format!("{uid}.json")
}

/// The destination whose plan a file holds.
pub fn uid_of_file(name: &str) -> Option<&str> {
    name.strip_suffix(".json").filter(|uid| !uid.is_empty())
}

/// The Deployment of a worker.
pub fn deployment(worker: &Worker, namespace: &str, template: &Template, replicas: i32) -> Deployment {
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        selector: LabelSelector { match_labels: Some(worker.selector()), ..LabelSelector::default() },
        template: template.of(worker),
        strategy: Some(successor_first()),
        // there is nothing to go back to: the operator decides
        revision_history_limit: Some(1),
        progress_deadline_seconds: Some(PROGRESS_DEADLINE),
        ..DeploymentSpec::default()
    };
    Deployment { metadata: metadata(worker, namespace, template), spec: Some(spec), status: None }
}

/// The new pod is there before the old one goes. A queue is read under a lease, so an overlap does no harm: the new pod waits for the lease, the old
/// one gives it back when it ends, and nothing stands still while an image is pulled.
fn successor_first() -> DeploymentStrategy {
    let rolling = RollingUpdateDeployment { max_surge: Some(IntOrString::Int(1)), max_unavailable: Some(IntOrString::Int(0)) };
    DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update: Some(rolling) }
}

fn metadata(worker: &Worker, namespace: &str, template: &Template) -> ObjectMeta {
    let mut labels = worker.labels();
    labels.extend(template.instance());
    ObjectMeta { name: Some(worker.name()), namespace: Some(namespace.to_owned()), labels: Some(labels), ..ObjectMeta::default() }
}

#[cfg(test)]
mod tests;
