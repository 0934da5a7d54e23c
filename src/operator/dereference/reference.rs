//! What `sink.http.ref` stands for: the object, and whether it may be referred to.

use super::{Fetch, is_name};
use crate::api::sink::AddressableRef;
use crate::operator::address::{self, Grant};
use crate::operator::api::call;
use crate::operator::error::{Class, Error};
use crate::operator::kinds::Served;
use crate::operator::references::{Kind, Target, Versions};
use crate::plan::{Address, Problem, Reason};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DynamicObject, GroupVersionKind, ListParams};

/// A URL, or why there is none; `None` if there is no such object.
type Found = Option<Result<Address, Problem>>;

fn refuse(reason: Reason, message: String) -> Found {
    Some(Err(address::problem(reason, message)))
}

impl Fetch<'_> {
    /// What a reference stands for.
    pub(super) async fn address(&mut self, reference: &AddressableRef) -> Result<Found, Error> {
        let namespace = reference.namespace.as_ref().unwrap_or(&self.key.namespace).clone();
        if namespace != self.key.namespace
            && let Some(message) = self.not_permitted(reference, &namespace).await?
        {
            return Ok(refuse(Reason::RefNotPermitted, message));
        }
        if address::is_service(reference) {
            let api = Api::<Service>::namespaced(self.client.clone(), &namespace);
            let target = Target { kind: Kind::Service, namespace: namespace.clone(), name: Some(reference.name.clone()) };
            let service = self.get(&api, "Service", target).await?;
            return Ok(service.map(|service| address::of_service(reference, &namespace, &service)));
        }
        self.addressable(reference, namespace).await
    }

    /// Why another namespace does not let this one refer to what is in it.
    async fn not_permitted(&mut self, reference: &AddressableRef, namespace: &str) -> Result<Option<String>, Error> {
        if !is_name(namespace) {
            return Ok(Some(format!("`{namespace}` is not the name of a namespace")));
        }
        let AddressableRef { kind, name, .. } = reference;
        let own = self.key.namespace.clone();
        let Some(grants) = self.grants(namespace).await? else {
            return Ok(Some(format!(
                "{kind} {name} is in another namespace, which takes a ReferenceGrant in namespace {namespace}, and this cluster knows no \
                 ReferenceGrants: install the Gateway API, or use an object of namespace {own}"
            )));
        };
        let missing = format!(
            "{kind} {name} is in another namespace, and no ReferenceGrant of namespace {namespace} lets EventDestinations of namespace {own} refer \
             to it; create one there"
        );
        Ok((!grants.iter().any(|grant| grant.permits(&own, reference))).then_some(missing))
    }

    /// The grants of a namespace; `None` if the API server does not know such objects.
    async fn grants(&mut self, namespace: &str) -> Result<Option<Vec<Grant>>, Error> {
        let target = Target { kind: Kind::ReferenceGrant, namespace: namespace.to_owned(), name: None };
        self.references.looking(self.key, target.clone());
        let found = call("look for the API of ReferenceGrants", self.references.served().find(self.client, &target.kind)).await?;
        let Some(served) = found else {
            self.seen.push((target, Versions::new()));
            return Ok(None);
        };
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &served.resource);
        let list = call(format!("list ReferenceGrants of namespace {namespace}"), api.list(&ListParams::default())).await;
        let list = list.inspect_err(|_| self.references.served().forget(&target.kind))?; // that version may be served no more
        let version = |object: &DynamicObject| {
            let metadata = object.metadata.clone();
            (metadata.name.unwrap_or_default(), metadata.resource_version.unwrap_or_default())
        };
        self.seen.push((target, list.items.iter().map(version).collect()));
        let spec = |object: DynamicObject| serde_json::from_value(object.data["spec"].clone()).unwrap_or_default(); // a malformed one grants nothing
        Ok(Some(list.items.into_iter().map(spec).collect()))
    }

    /// The address of an object that publishes it.
    async fn addressable(&mut self, reference: &AddressableRef, namespace: String) -> Result<Found, Error> {
        let AddressableRef { api_version, kind, name, .. } = reference;
        if api_version == "v1" {
            // Among the core kinds are Secrets, which are not to be read in this way.
            let message = format!("a {kind} of v1 publishes no URL; name a Service, or an object that has status.address.url");
            return Ok(refuse(Reason::RefNotAddressable, message));
        }
        let unknown = format!("this cluster knows no {kind} of {api_version}; install what serves it, or correct apiVersion and kind");
        let Some((group, version)) = api_version.split_once('/').filter(|(group, version)| is_name(group) && is_name(version)) else {
            return Ok(refuse(Reason::RefKindNotFound, unknown));
        };
        let kind_of = Kind::Addressable(GroupVersionKind::gvk(group, version, kind));
        let target = Target { kind: kind_of, namespace, name: Some(name.clone()) };
        self.references.looking(self.key, target.clone());
        let found =
            call(format!("look for the API of {kind}, {api_version}"), self.references.served().find(self.client, &target.kind)).await?;
        match found {
            Some(served) if served.namespaced => self.published(reference, target, &served).await,
            Some(_) => {
                self.seen.push((target, Versions::new()));
                let message = format!("a {kind} of {api_version} is in no namespace; name an object of a namespace");
                Ok(refuse(Reason::RefNotAddressable, message))
            }
            None => {
                self.seen.push((target, Versions::new()));
                Ok(refuse(Reason::RefKindNotFound, unknown))
            }
        }
    }

    async fn published(&mut self, reference: &AddressableRef, target: Target, served: &Served) -> Result<Found, Error> {
        let AddressableRef { api_version, kind, .. } = reference;
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &target.namespace, &served.resource);
        match self.get(&api, kind, target.clone()).await {
            Ok(Some(object)) => Ok(Some(address::of_addressable(reference, &object.data))),
            Ok(None) => {
                self.references.served().forget(&target.kind); // the kind itself may be gone
                Ok(None)
            }
            Err(error) if error.class() == Class::Forbidden => {
                // a version that no listing has: the first that is allowed makes us look again
                self.seen.push((target, Versions::from([(reference.name.clone(), String::new())])));
                let message =
                    format!("the operator may not read {kind} of {api_version}; ask the cluster admin to let it get, list and watch them");
                Ok(refuse(Reason::RefForbidden, message))
            }
            Err(error) => Err(error),
        }
    }
}
