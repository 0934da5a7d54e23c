//! The watch of all `EventDestination` objects: kept as they are last seen, and each change that matters asks for a reconcile.

use super::api::call;
use super::context::{Watched, key_of};
use super::trigger::Trigger;
use super::watch::{Pauses, Telling};
use crate::admin::Gate;
use crate::api::{EventDestination, KIND};
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether the API server knows the kind by now.
const LOOK: Duration = Duration::from_secs(2);

/// Every object as it is last seen. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    /// What was seen.
    pub store: Store<Watched>,
    listed: watch::Receiver<bool>,
}

impl Objects {
    /// Waits until all objects were listed. Only one may wait for the store itself: it wakes one.
    pub async fn listed(&self) {
        // an error: nobody lists them any more, as the process ends
        let _ = self.listed.clone().wait_for(|listed| *listed).await;
    }
}

/// The objects, and what watches them for as long as it is awaited. `gate` opens once all were listed.
pub fn watch(client: Client, trigger: Trigger, gate: Gate) -> (Objects, impl Future<Output = ()> + Send) {
    let (store, writer) = reflector::store();
    let (sender, listed) = watch::channel(false);
    let objects = Objects { store, listed };
    let complete = {
        let (store, gate) = (objects.store.clone(), gate.clone());
        async move {
            if store.wait_until_ready().await.is_ok() {
                gate.set_ready();
                sender.send_replace(true);
            }
        }
    };
    let follow = async move {
        established(&client, &gate).await;
        gate.set_waiting(format!("{KIND}s are not listed yet"));
        let mut telling = Telling::new(
            KIND,
            "EventDestinations cannot be watched; trying again, what is known goes on",
            "EventDestinations are watched again",
        );
        let api: Api<Watched> = Api::all(client);
        let changes = watcher(api, watcher::Config::default())
            .inspect(|event| telling.tell(event))
            .backoff(Pauses::default())
            .modify(|object| object.managed_fields_mut().clear())
            .reflect(writer)
            .applied_objects()
            .predicate_filter(what_matters(), PredicateConfig::default());
        // an error is followed by another try, after a pause
        let changes = changes.for_each(|change| {
            if let Ok(object) = change {
                trigger.one(key_of(&object));
            }
            std::future::ready(())
        });
        tokio::join!(changes, complete);
    };
    (objects, follow)
}

/// Our own writes of a status change none of this, else each would be a reason to reconcile.
fn what_matters() -> impl Predicate<Watched> {
    predicates::generation.combine(predicates::finalizers).combine(predicates::annotations)
}

/// Waits until the API server serves the kind.
async fn established(client: &Client, gate: &Gate) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = EventDestination::crd_name();
    loop {
        match call(format!("get CustomResourceDefinition {name}"), api.get_opt(name)).await {
            Ok(Some(found)) if is_established(&found) => return,
            Ok(Some(_)) => gate.set_waiting(format!("the API server does not serve {name} yet")),
            Ok(None) => gate.set_waiting(format!("there is no CustomResourceDefinition {name}: apply crds/{name}.yaml")),
            Err(error) => gate.set_waiting(error.to_string()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}
