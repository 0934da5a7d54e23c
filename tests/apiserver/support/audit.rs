//! What the API server was asked, and by whom: its audit log.

use super::Cluster;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One request that was answered, or a watch that was begun.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    user: User,
    user_agent: Option<String>,
    stage: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    /// What was sent: of writes and of Secrets.
    #[serde(default)]
    pub request_object: Value,
    /// What was answered: of writes and of Secrets. A watch has none.
    #[serde(default)]
    pub response_object: Value,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    code: u16,
}

impl Request {
    /// `system:serviceaccount:<namespace>:<name>`, or `admin`.
    pub fn user(&self) -> &str {
        &self.user.username
    }

    /// What the client calls itself.
    pub fn user_agent(&self) -> &str {
        self.user_agent.as_deref().unwrap_or_default()
    }

    /// `secrets`, `eventdestinations/status`; empty for a path that is no resource.
    pub fn resource(&self) -> String {
        match &self.object_ref {
            Some(it) if it.subresource.is_empty() => it.resource.clone(),
            Some(it) => format!("{}/{}", it.resource, it.subresource),
            None => String::new(),
        }
    }

    /// Namespace; empty if it has none.
    pub fn namespace(&self) -> &str {
        self.object_ref.as_ref().map_or("", |it| &it.namespace)
    }

    /// Name of the object; empty for a list or watch.
    pub fn name(&self) -> &str {
        self.object_ref.as_ref().map_or("", |it| &it.name)
    }

    /// Status code of the answer.
    pub fn code(&self) -> u16 {
        self.response_status.as_ref().map_or(0, |it| it.code)
    }

    /// `kind` of the answer: `PartialObjectMetadataList` for a list that asked for metadata only.
    pub fn answered_kind(&self) -> &str {
        self.response_object["kind"].as_str().unwrap_or_default()
    }

    /// Whether it was meant to change something.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

/// A moment in the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(usize);

impl Cluster {
    /// This moment, for [`Cluster::requests_since`].
    pub fn mark(&self) -> Mark {
        Mark(self.audit_log().len())
    }

    /// All requests so far, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.requests_since(Mark::default())
    }

    /// The requests that were answered after a moment.
    pub fn requests_since(&self, Mark(begin): Mark) -> Vec<Request> {
        let log = self.audit_log();
        // The last line may not be whole yet.
        let lines = log[begin..].split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let requests = lines.map(|line| serde_json::from_str::<Request>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        // A watch is told when it begins and when it ends, every other request once.
        requests.filter(|request| (request.stage == "ResponseStarted") == (request.verb == "watch")).collect()
    }

    /// How often a user wrote since a moment, by verb and resource: `patch eventdestinations/status`. Refused writes count too.
    pub fn writes_since(&self, mark: Mark, user: &str) -> BTreeMap<String, usize> {
        let mut writes = BTreeMap::new();
        for request in self.requests_since(mark).iter().filter(|request| request.is_write() && request.user() == user) {
            *writes.entry(format!("{} {}", request.verb, request.resource())).or_default() += 1;
        }
        writes
    }

    /// The whole audit log, one JSON object a line.
    pub fn audit_log(&self) -> String {
        std::fs::read_to_string(self.guard.file("audit.log")).unwrap_or_default()
    }
}
