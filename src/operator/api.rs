//! Calls of the API server: each with a deadline, as the client has none, and with an error that says what was tried.

use super::board::Key;
use super::error::Error;
use crate::api::EventDestination;
use http::HeaderValue;
use http::header::USER_AGENT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use kube::config::InferConfigError;
use kube::core::Status;
use kube::{Api, Client, Config};
use std::future::Future;
use std::time::Duration;

/// The one field manager of all that the operator applies.
pub const FIELD_MANAGER: &str = "posthorn-operator";

/// Longest wait for an answer. A write that was begun while we led must end before another may lead: see [`super::leader`].
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Asks, and gives up after [`DEADLINE`]. Whether a write that was given up took place is unknown: it must be repeated. `doing` is verb, kind and
/// name: `patch Secret posthorn-pool-0`. Not for watches.
///
/// # Errors
/// [`Error::Api`] or [`Error::NoAnswer`].
pub async fn call<T>(doing: impl Into<String>, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    within(DEADLINE, doing, request).await
}

async fn within<T>(after: Duration, doing: impl Into<String>, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(after, request).await {
        Ok(answer) => answer.map_err(Error::api(doing)),
        Err(_) => Err(Error::NoAnswer { doing: doing.into(), after }),
    }
}

/// Longest silence while an answer is read; a watch is asked to end sooner (290 s).
const SILENCE: Duration = Duration::from_secs(300);

/// An API server, as the kubeconfig or the pod says.
pub struct ApiServer {
    /// Talks to it.
    pub client: Client,
    /// The namespace of the pod, or of the kubeconfig's context.
    pub namespace: String,
}

/// Which API server is meant, or how to talk to it, is not to be known.
#[derive(Debug, thiserror::Error)]
pub enum NoApiServer {
    /// Nothing says where it is.
    #[error("no cluster: set KUBECONFIG, or run in a pod with a service account ({0})")]
    Unknown(#[from] InferConfigError),
    /// What was found cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Unusable(#[from] kube::Error),
}

impl ApiServer {
    /// From `KUBECONFIG`, `~/.kube/config` or the service account of the pod. Connects at the first call. `identity` is the name of this process,
    /// by which the audit log of the API server tells one operator from another.
    ///
    /// # Errors
    /// If there is none of them, or it cannot be used.
    pub async fn infer(identity: &str) -> Result<ApiServer, NoApiServer> {
        let mut config = Config::infer().await?;
        config.headers.push((USER_AGENT, user_agent(identity)));
        // each call has a deadline of ours, and is repeated by whoever wanted it
        config.default_retry = false;
        config.read_timeout = Some(SILENCE);
        let namespace = config.default_namespace.clone();
        Ok(ApiServer { client: Client::try_from(config)?, namespace })
    }
}

/// `posthorn-operator/0.1.0 (posthorn-operator-0)`.
fn user_agent(identity: &str) -> HeaderValue {
    const PRODUCT: &str = concat!("posthorn-operator/", env!("CARGO_PKG_VERSION"));
    HeaderValue::try_from(format!("{PRODUCT} ({identity})")).unwrap_or(HeaderValue::from_static(PRODUCT))
}

/// Objects of a namespace whose spec is not looked at: one that does not parse has metadata and a status too.
pub fn unparsed(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<EventDestination>(&()))
}

/// The metadata that the API server itself, not our memory, has of an object now; `None` if it is gone.
///
/// # Errors
/// As [`call`].
pub async fn metadata(client: &Client, key: &Key) -> Result<Option<ObjectMeta>, Error> {
    let api: Api<EventDestination> = Api::namespaced(client.clone(), &key.namespace);
    let found = call(format!("get EventDestination {key}"), api.get_metadata_opt(&key.name)).await?;
    Ok(found.map(|object| object.metadata))
}

/// Whether the API server said that there is no such object.
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if is_not_found(status)))
}

/// Whether the API server said that something is not there. [`Status::is_not_found`] knows a missing object only: that a whole API is not served is
/// said in plain text, which gives no reason.
pub fn is_not_found(status: &Status) -> bool {
    status.code == 404 || status.is_not_found()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_without_an_answer_ends() {
        let after = Duration::from_millis(5);
        let error = within(after, "get Secret a/b", std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "get Secret a/b: no answer of the API server within 5ms");
    }
}
