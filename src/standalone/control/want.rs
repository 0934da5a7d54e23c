//! What the folder wants: of each destination its route and its plan. Pure.

use super::compare::Wanted;
use crate::api::objects::Objects;
use crate::bus::routing;
use crate::plan::{self, Plan};
use crate::standalone::folder::{Key, Object};
use std::collections::BTreeMap;

/// What one destination is to become; its UID, and with it the name of the plan, are not known yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// For Redis.
    pub wanted: Wanted,
    /// For the worker, or why it may not run yet (a Secret that is missing, say).
    pub plan: Result<Plan, String>,
}

/// Every destination by `namespace/name`: what it is to become, or why it cannot.
///
/// One that would accept any certificate gets no plan unless that is allowed.
pub fn destinations(contents: &BTreeMap<Key, Object>, allow_insecure_tls: bool) -> BTreeMap<String, Result<Destination, String>> {
    let objects = references(contents);
    let mut destinations = BTreeMap::new();
    for (key, object) in contents {
        if let Object::EventDestination(destination) = object {
            let resolved = plan::resolve(destination, "", &objects, &plan::Surroundings::Standalone);
            let resolved = resolved.map(|resolved| if allow_insecure_tls { resolved } else { resolved.without_insecure_tls() });
            destinations.insert(format!("{}/{}", key.namespace, key.name), resolved.map(Destination::from).map_err(text));
        }
    }
    destinations
}

fn text(problems: Vec<plan::Problem>) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What destinations may refer to.
fn references(contents: &BTreeMap<Key, Object>) -> Objects {
    let mut objects = Objects::default();
    for (key, object) in contents {
        match object {
            Object::Secret(secret) => objects.insert_secret(&key.namespace, &key.name, secret.clone()),
            Object::ConfigMap(data) => objects.insert_config_map(&key.namespace, &key.name, data.clone()),
            Object::EventDestination(_) => {}
        }
    }
    objects
}

impl From<plan::Resolved> for Destination {
    fn from(resolved: plan::Resolved) -> Destination {
        let plan::Resolved { plan, route, bus, start } = resolved;
        let (start, start_from) = match start {
            plan::Start::Latest => (routing::Start::Latest, "Latest".to_owned()),
            plan::Start::Earliest => (routing::Start::Earliest, "Earliest".to_owned()),
            plan::Start::Since(millis) => (routing::Start::Since(millis), format!("Time {millis}")),
        };
        Destination { wanted: Wanted { bus, start, start_from, route }, plan: plan.map_err(text) }
    }
}
