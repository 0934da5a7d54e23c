//! From the object that `sink.http.ref` names to a URL, or why it has none. Pure.
//!
//! A Service is reached at `name.namespace.svc`, which every cluster resolves whatever its domain is. Any other object publishes its URL in its
//! status (`status.address.url`, as Knative has it).

use crate::api::KIND;
use crate::api::rules;
use crate::api::sink::{AddressableRef, Scheme};
use crate::plan::{Address, Problem, Reason};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// The API group of destinations.
const GROUP: &str = "posthorn.dev";

/// The field that all this is about.
const PATH: &str = "spec.sink.http.ref";

/// A problem of the reference.
pub fn problem(reason: Reason, message: impl Into<String>) -> Problem {
    Problem::new(PATH, reason, message)
}

/// The API group that a reference names; empty for the core one.
pub fn group(reference: &AddressableRef) -> &str {
    reference.api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether a reference names a Service of Kubernetes, rather than of Knative, say.
pub fn is_service(reference: &AddressableRef) -> bool {
    reference.api_version == "v1" && reference.kind == "Service"
}

/// The address of a Service in a namespace.
///
/// # Errors
/// If it has none, or the port is not clear.
pub fn of_service(reference: &AddressableRef, namespace: &str, service: &Service) -> Result<Address, Problem> {
    let name = &reference.name;
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        // It stands for any name, private ones and those of other namespaces too: it would be a way round the egress policy and grants.
        let message = format!("Service {name} only stands for another name (ExternalName); give that name in uri");
        return Err(problem(Reason::RefNotAddressable, message));
    }
    let port = port(reference, &spec)?;
    let number = if spec.cluster_ip.as_deref() == Some("None") { pods_port(name, port)? } else { port.port };
    let scheme = reference.scheme.unwrap_or_else(|| usual_scheme(port));
    let scheme = if scheme == Scheme::Https { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{name}.{namespace}.svc:{number}"))
        .map_err(|error| problem(Reason::RefNotAddressable, format!("Service {name} has no URL: {error}")))?;
    Ok(Address { url: with_path(url, reference.path.as_deref()), is_service: true })
}

/// The port of a Service that is meant.
fn port<'a>(reference: &AddressableRef, spec: &'a ServiceSpec) -> Result<&'a ServicePort, Problem> {
    let name = &reference.name;
    let tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let ports: Vec<&ServicePort> = spec.ports.iter().flatten().filter(tcp).collect();
    let numbers = ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", ");
    match (reference.port, ports.as_slice()) {
        (_, []) => Err(problem(Reason::PortNotFound, format!("Service {name} has no TCP port"))),
        (None, [port]) => Ok(port),
        (None, _) => Err(problem(Reason::PortAmbiguous, format!("Service {name} has the ports {numbers}; choose one with port"))),
        (Some(wanted), _) => ports
            .iter()
            .find(|port| port.port == wanted)
            .copied()
            .ok_or_else(|| problem(Reason::PortNotFound, format!("Service {name} has no port {wanted}; it has {numbers}"))),
    }
}

/// The port that the pods listen at: that of a headless Service is nowhere translated.
fn pods_port(service: &str, port: &ServicePort) -> Result<i32, Problem> {
    match &port.target_port {
        None => Ok(port.port),
        Some(IntOrString::Int(number)) => Ok(*number),
        Some(IntOrString::String(name)) => {
            let message = format!(
                "Service {service} is headless and its targetPort is a name ({name}), which is a number only in each pod: make targetPort a \
                 number, or give the Service a cluster IP"
            );
            Err(problem(Reason::RefNotAddressable, message))
        }
    }
}

/// The scheme where the reference names none.
fn usual_scheme(port: &ServicePort) -> Scheme {
    let protocol = port.app_protocol.as_deref();
    let https = protocol == Some("https") || (protocol.is_none() && (port.port == 443 || port.name.as_deref() == Some("https")));
    if https { Scheme::Https } else { Scheme::Http }
}

/// The address that any other object publishes in its status.
///
/// # Errors
/// If it publishes none that events can be sent to.
pub fn of_addressable(reference: &AddressableRef, object: &Value) -> Result<Address, Problem> {
    let (kind, name) = (&reference.kind, &reference.name);
    let refuse = |what: &str| problem(Reason::RefNotAddressable, format!("{kind} {name} {what}"));
    let status = &object["status"];
    let published = [&status["address"]["url"], &status["addresses"][0]["url"]].into_iter().find_map(Value::as_str);
    let published = published.ok_or_else(|| refuse("publishes no URL (status.address.url), or not yet"))?;
    if let Some(wrong) = rules::wrong_uri(published) {
        return Err(refuse(&format!("publishes a URL that cannot be used: it {wrong}")));
    }
    let url = Url::parse(published).map_err(|error| refuse(&format!("publishes a URL that cannot be used: {error}")))?;
    Ok(Address { url: with_path(url, reference.path.as_deref()), is_service: false })
}

/// The URL with path and query appended.
fn with_path(mut url: Url, added: Option<&str>) -> Url {
    let Some(added) = added else { return url };
    let (path, query) = added.split_once('?').map_or((added, None), |(path, query)| (path, Some(query)));
    url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
    if let Some(query) = query {
        let both = url.query().map_or_else(|| query.to_owned(), |own| format!("{own}&{query}"));
        url.set_query(Some(&both));
    }
    url
}

/// `spec` of a ReferenceGrant (`gateway.networking.k8s.io`): who may refer from other namespaces to what in its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Grant {
    from: Vec<GrantFrom>,
    to: Vec<GrantTo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct GrantFrom {
    #[serde(default)]
    group: String,
    kind: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct GrantTo {
    #[serde(default)]
    group: String,
    kind: String,
    /// All of that kind if left out.
    name: Option<String>,
}

impl Grant {
    /// Whether destinations of a namespace may refer to what a reference names.
    pub fn permits(&self, namespace: &str, reference: &AddressableRef) -> bool {
        let from = |from: &GrantFrom| from.group == GROUP && from.kind == KIND && from.namespace == namespace;
        let to = |to: &GrantTo| {
            let name = to.name.as_deref().unwrap_or_default(); // an empty name is none
            to.group == group(reference) && to.kind == reference.kind && (name.is_empty() || name == reference.name)
        };
        self.from.iter().any(from) && self.to.iter().any(to)
    }
}

#[cfg(test)]
mod tests;
