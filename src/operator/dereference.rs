//! Fetches what a destination points at, by name, and nothing else.

mod reference;

use super::api::call;
use super::board::Key;
use super::error::Error;
use super::references::{Kind, References, Target, Versions};
use crate::api::EventDestination;
use crate::api::objects::{ALLOW_LABEL, Objects, SecretObject};
use crate::api::sink::{self as spec, AddressableRef, CaBundleKind, SecretKeyRef};
use crate::plan::{Address, Plan, Surroundings};
use aws_lc_rs::digest;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a destination points at.
#[derive(Clone, Debug, PartialEq)]
pub struct Dereferenced {
    /// Secrets (without values where they do not opt in) and ConfigMaps.
    pub objects: Objects,
    /// What `sink.http.ref` stands for.
    pub surroundings: Surroundings,
    /// The versions of all that was read.
    pub versions: Vec<Version>,
}

/// The version of an object that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

impl Dereferenced {
    /// The plan with its name.
    pub fn named(&self, destination: &EventDestination, plan: Plan) -> Plan {
        Plan { id: self.plan_id(destination, &plan), ..plan }
    }

    /// A name for a plan that was made of this: another one whenever the plan is, and after each write of a Secret that it has a value of.
    ///
    /// Not a digest of those values: the name is shown in Redis, and a short value could be guessed from it.
    pub fn plan_id(&self, destination: &EventDestination, plan: &Plan) -> String {
        let unnamed = Plan { id: String::new(), ..plan.without_secrets() };
        let url = match &self.surroundings {
            Surroundings::Cluster(Some(Ok(Address { url, .. }))) => url.as_str(),
            _ => "",
        };
        let secrets: Vec<&Version> = self.versions.iter().filter(|version| version.kind == "Secret").collect();
        let parts = serde_json::to_vec(&(unnamed, &destination.spec.sink, url, secrets)).expect("strings and numbers are always JSON");
        digest::digest(&digest::SHA256, &parts).as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Fetches what the destination `key` points at, and enters it in the index. What is not there is not in the answer; `plan::resolve` says so.
///
/// # Errors
/// If the API server refuses or does not answer. Nothing is known then, and nothing should be changed.
pub async fn dereference(
    client: &Client,
    key: &Key,
    destination: &EventDestination,
    references: &References,
) -> Result<Dereferenced, Error> {
    let wanted = Wanted::of(&destination.spec.sink);
    let mut fetch = Fetch { client, key, references, versions: Vec::new(), seen: Vec::new() };
    let mut objects = Objects::default();
    for name in wanted.secrets {
        if let Some(secret) = fetch.secret(name).await? {
            objects.insert_secret(&key.namespace, name, secret);
        }
    }
    for name in wanted.config_maps {
        if let Some(data) = fetch.config_map(name).await? {
            objects.insert_config_map(&key.namespace, name, data);
        }
    }
    let address = match wanted.reference {
        Some(reference) => fetch.address(reference).await?,
        None => None,
    };
    references.looked(key, fetch.seen);
    Ok(Dereferenced { objects, surroundings: Surroundings::Cluster(address), versions: fetch.versions })
}

/// The names that a sink has in it.
#[derive(Debug, Default, PartialEq)]
struct Wanted<'a> {
    secrets: BTreeSet<&'a str>,
    config_maps: BTreeSet<&'a str>,
    reference: Option<&'a AddressableRef>,
}

impl<'a> Wanted<'a> {
    fn of(spec::Sink { http }: &'a spec::Sink) -> Wanted<'a> {
        let Some(http) = http else { return Wanted::default() };
        let spec::HttpSink {
            uri: _,
            uri_from,
            r#ref,
            format: _,
            batch: _,
            headers,
            auth,
            tls,
            signing,
            retry_after_max: _,
            halt_on_status_codes: _,
        } = http;
        let mut wanted = Wanted { reference: r#ref.as_ref(), ..Wanted::default() };
        wanted.keys(uri_from.iter().map(|spec::UriSource { secret_key_ref }| secret_key_ref));
        wanted.keys(
            headers.iter().filter_map(|header| header.value_from.as_ref()).map(|spec::ValueSource { secret_key_ref }| secret_key_ref),
        );
        wanted.keys(signing.iter().flat_map(|spec::Signing { secret_key_refs }| secret_key_refs));
        if let Some(spec::Auth { basic, bearer, oauth2 }) = auth {
            wanted.secrets.extend(basic.iter().map(|basic| basic.secret_ref.name.as_str()));
            wanted.keys(bearer.iter().map(|bearer| &bearer.secret_key_ref));
            wanted.keys(oauth2.iter().map(|oauth2| &oauth2.client_secret_key_ref));
        }
        if let Some(spec::Tls { ca_bundle_ref, client_certificate_ref, server_name: _, insecure_skip_verify: _ }) = tls {
            wanted.secrets.extend(client_certificate_ref.iter().map(|spec::SecretRef { name }| name.as_str()));
            match ca_bundle_ref {
                Some(spec::CaBundleRef { kind: CaBundleKind::ConfigMap, name, key: _ }) => drop(wanted.config_maps.insert(name)),
                Some(spec::CaBundleRef { kind: CaBundleKind::Secret, name, key: _ }) => drop(wanted.secrets.insert(name)),
                None => {}
            }
        }
        wanted
    }

    fn keys(&mut self, keys: impl Iterator<Item = &'a SecretKeyRef>) {
        self.secrets.extend(keys.map(|SecretKeyRef { name, key: _ }| name.as_str()));
    }
}

/// What one destination fetches.
struct Fetch<'a> {
    client: &'a Client,
    key: &'a Key,
    references: &'a References,
    versions: Vec<Version>,
    seen: Vec<(Target, Versions)>,
}

impl Fetch<'_> {
    async fn secret(&mut self, name: &str) -> Result<Option<SecretObject>, Error> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.key.namespace);
        let target = self.in_own_namespace(Kind::Secret, name);
        let Some(Secret { metadata, type_, data, .. }) = self.get(&api, "Secret", target).await? else { return Ok(None) };
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(ALLOW_LABEL));
        let allowed = SecretObject::opts_in(label.map(String::as_str), type_.as_deref());
        // The values of a Secret that may not be used are let go of here.
        let data = data.filter(|_| allowed).unwrap_or_default();
        Ok(Some(SecretObject { allowed, data: data.into_iter().map(|(key, value)| (key, value.0)).collect() }))
    }

    async fn config_map(&mut self, name: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.key.namespace);
        let target = self.in_own_namespace(Kind::ConfigMap, name);
        Ok(self.get(&api, "ConfigMap", target).await?.map(|config_map| config_map.data.unwrap_or_default()))
    }

    fn in_own_namespace(&self, kind: Kind, name: &str) -> Target {
        Target { kind, namespace: self.key.namespace.clone(), name: Some(name.to_owned()) }
    }

    /// Fetches one object, after it was entered in the index.
    async fn get<K>(&mut self, api: &Api<K>, kind: &str, target: Target) -> Result<Option<K>, Error>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + kube::Resource,
    {
        let name = target.name.clone().unwrap_or_default();
        if !is_name(&name) || !is_name(&target.namespace) {
            return Ok(None);
        }
        self.references.looking(self.key, target.clone());
        let object = call(format!("get {kind} {}/{name}", target.namespace), api.get_opt(&name)).await?;
        let versions = object.iter().map(|object| version(kind, object.meta()));
        let versions: Vec<Version> = versions.collect();
        self.seen.push((target, versions.iter().map(|version| (name.clone(), version.resource_version.clone())).collect()));
        self.versions.extend(versions);
        Ok(object)
    }
}

fn version(kind: &str, metadata: &ObjectMeta) -> Version {
    let ObjectMeta { namespace, name, uid, resource_version, .. } = metadata.clone();
    Version {
        kind: kind.to_owned(),
        namespace: namespace.unwrap_or_default(),
        name: name.unwrap_or_default(),
        uid: uid.unwrap_or_default(),
        resource_version: resource_version.unwrap_or_default(),
    }
}

/// Whether an object or API group can have this name (RFC 1123, in lower case). Others are not asked for: the client puts names into paths as they
/// are, and `../../other/secrets/x` would be read with the operator's rights.
fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253 && name.chars().all(legal) && name.starts_with(end) && name.ends_with(end)
}

#[cfg(test)]
mod tests;
