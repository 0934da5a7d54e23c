//! The status of Deployments and pods, as controller and kubelet write them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// Whether its condition Ready is True.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The status of a Deployment.
pub fn deployment_status(deployment: &Deployment, wanted: usize, updated: usize, all: usize, ready: usize, is_late: bool) -> Value {
    let is_complete = updated == wanted && all == wanted && ready == wanted;
    let available = if ready >= wanted {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let progressing = if is_complete {
        ("True", "NewReplicaSetAvailable", "The new pods are available.")
    } else if is_late {
        ("False", "ProgressDeadlineExceeded", "The new pods have made no progress.")
    } else {
        ("True", "ReplicaSetUpdated", "The pods are progressing.")
    };
    let condition = |aspect, (status, reason, message): (&str, &str, &str)| json!({"type": aspect, "status": status, "reason": reason, "message": message});
    json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": all,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": wanted.max(all) - ready,
        "conditions": [condition("Available", available), condition("Progressing", progressing)],
    })
}

/// Reason of a container whose volumes are not there yet.
pub const CREATING: &str = "ContainerCreating";

/// What the one container of a pod does.
pub enum Doing {
    /// Not started, or not again yet: reason and message.
    Waiting(&'static str, String),
    /// Its process runs.
    Running,
}

impl Doing {
    /// Why it does not run, if there is a reason.
    pub fn problem(&self) -> Option<String> {
        match self {
            Doing::Waiting(reason, message) if !message.is_empty() => Some(format!("{reason}: {message}")),
            _ => None,
        }
    }
}

/// The status of a pod.
pub fn pod_status(pod: &Pod, doing: &Doing, is_ready: bool, restarts: i32, last_exit: Option<i32>) -> Value {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let (name, image) = container.map_or((None, None), |it| (Some(&it.name), it.image.as_ref()));
    let (phase, state) = match doing {
        Doing::Running => ("Running", json!({"running": {}})),
        Doing::Waiting(reason, message) => {
            let mut waiting = json!({"reason": reason});
            // What a volume waits for, a kubelet tells by an Event.
            if *reason != CREATING {
                waiting["message"] = message.as_str().into();
            }
            (if restarts > 0 { "Running" } else { "Pending" }, json!({"waiting": waiting}))
        }
    };
    let condition = |aspect, is: bool| json!({"type": aspect, "status": if is { "True" } else { "False" }});
    let mut status = json!({
        "phase": phase,
        "podIP": "127.0.0.1",
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true),
            condition("ContainersReady", is_ready), condition("Ready", is_ready),
        ],
        "containerStatuses": [{
            "name": name, "image": image, "imageID": "", "ready": is_ready, "restartCount": restarts,
            "started": matches!(doing, Doing::Running), "state": state,
        }],
    });
    if let Some(code) = last_exit {
        status["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": code}});
    }
    status
}
