//! Why a reconcile failed. The class decides delay, label and log level.

use crate::bus::connection;
use std::time::Duration;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{doing}: {source}")]
    Api {
        /// What was tried: `patch Secret posthorn-pool-0`.
        doing: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// Redis refused or did not answer.
    #[error("redis: {0}")]
    Redis(#[from] connection::Error),
    /// The whole reconcile took too long.
    #[error("took longer than {0:?}")]
    Timeout(Duration),
    /// Another operator leads now.
    #[error("no longer the leader")]
    NotLeading,
}

impl Error {
    /// Wraps what the API server said, with what was tried.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Api { doing, source: Box::new(source) }
    }

    /// Whether the API server does not let the operator do this.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_forbidden()))
    }
}
