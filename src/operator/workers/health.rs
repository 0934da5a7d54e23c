//! Whether a worker's pods run, and why not. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// How a Deployment does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Pods that it should have.
    pub wanted: i32,
    /// Pods that are ready.
    pub available: i32,
    /// What the Deployment itself complains about.
    pub complaint: Option<String>,
}

impl Health {
    /// What a Deployment says of itself.
    pub fn of(deployment: &Deployment) -> Health {
        let status = deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let complaint = |type_: &str, bad: &str| {
            let condition = conditions.iter().find(|condition| condition.type_ == type_ && condition.status == bad)?;
            Some(said(condition.reason.as_deref(), condition.message.as_deref()))
        };
        Health {
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            available: status.available_replicas.unwrap_or(0),
            complaint: complaint("ReplicaFailure", "True").or_else(|| complaint("Progressing", "False")),
        }
    }

    /// Whether a pod runs and reached Redis.
    pub fn runs(&self) -> bool {
        self.available > 0
    }
}

/// Why a pod does not run, as far as its containers say: `ImagePullBackOff: …`, `CrashLoopBackOff: …`, or what the scheduler says.
pub fn why_not(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    // an init container that has done its work is not in the way
    let initial = status.init_container_statuses.iter().flatten().filter(|container| !container.ready);
    let containers = initial.chain(status.container_statuses.iter().flatten());
    containers.filter_map(stopped).next().or_else(|| {
        let unscheduled = |condition: &&_| -> bool {
            let condition: &k8s_openapi::api::core::v1::PodCondition = condition;
            condition.type_ == "PodScheduled" && condition.status == "False"
        };
        let condition = status.conditions.iter().flatten().find(unscheduled)?;
        Some(said(condition.reason.as_deref(), condition.message.as_deref()))
    })
}

/// `ContainerCreating` and `PodInitializing` are on the way to running. One that has ended is started again soon, if it is not the first time.
fn stopped(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        let exit = format!("{} ended with code {}", container.name, ended.exit_code);
        return Some(said(ended.reason.as_deref(), ended.message.as_deref().or(Some(&exit))));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !["ContainerCreating", "PodInitializing"].contains(reason))?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let message = last.and_then(|last| last.message.clone()).or_else(|| waiting.message.clone());
    Some(said(Some(reason), message.as_deref()))
}

fn said(reason: Option<&str>, message: Option<&str>) -> String {
    match (reason, message.map(str::trim).filter(|message| !message.is_empty())) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => "no reason given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn health(status: serde_json::Value) -> Health {
        let value = json!({"metadata": {}, "spec": {"selector": {}, "template": {}}, "status": status});
        Health::of(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_deployment_complains_of_pods_that_it_may_not_make_first_of_all() {
        let progressing = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"});
        let quota = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"});
        assert_eq!(health(json!({"conditions": [progressing, quota]})).complaint.unwrap(), "FailedCreate: exceeded quota");
        assert_eq!(health(json!({"conditions": [progressing]})).complaint.unwrap(), "ProgressDeadlineExceeded: late");
        let fine = json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "done"});
        assert_eq!(health(json!({"availableReplicas": 1, "conditions": [fine]})), Health { wanted: 1, available: 1, complaint: None });
    }

    #[test]
    fn a_pod_tells_why_it_does_not_run() {
        let why = |status: serde_json::Value| why_not(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap());
        let container = |state: serde_json::Value| json!({"containerStatuses": [{"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]});
        let waiting = |reason: &str| container(json!({"waiting": {"reason": reason, "message": "Back-off pulling image \"x\""}}));
        assert_eq!(why(waiting("ImagePullBackOff")).unwrap(), "ImagePullBackOff: Back-off pulling image \"x\"");
        assert_eq!(why(waiting("ContainerCreating")), None);
        assert_eq!(why(container(json!({"running": {}}))), None);
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        assert_eq!(why(container(ended)).unwrap(), "Error: worker ended with code 1");
        let unscheduled =
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
        assert_eq!(why(unscheduled).unwrap(), "Unschedulable: 0/3 nodes");
    }
}
