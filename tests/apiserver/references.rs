//! What destinations point at: Secrets, ConfigMaps, Services, other kinds, grants and buses; each may come late, change and go.

mod addressables;
mod buses;
mod canary;
mod forwarding;
mod secrets;
mod services;
mod watches;

use crate::support::Posthorn;
use crate::support::eventually::{eventually_within, holds};
use crate::support::world::{RELEASE, SHOP, World, condition_of};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use posthorn::receiver::{Behaviour, Receiver};
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long one thing may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A receiver with a certificate of its own, which the ConfigMap `authority` makes trusted: credentials are only sent over TLS.
async fn certified(world: &World, behaviour: Behaviour) -> Receiver {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let authority = json!({"name": "authority", "namespace": SHOP});
    let authority = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": authority, "data": {"ca.crt": cert.pem()}});
    world.cluster.apply(&authority.to_string());
    Receiver::start_tls(Arc::new(config), behaviour).await.unwrap()
}

/// Applies a destination that tries for ever, soon again; `more` are further fields of its spec.
fn apply(world: &World, name: &str, http: &Value, more: &Value) {
    let delivery = json!({"retry": -1, "backoffPolicy": "Constant", "backoffDelay": "100ms", "timeout": "2s"});
    let mut spec = json!({"sink": {"http": http}, "delivery": delivery});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let metadata = json!({"name": name, "namespace": SHOP});
    let object = json!({"apiVersion": "posthorn.dev/v1alpha1", "kind": "EventDestination", "metadata": metadata, "spec": spec});
    world.cluster.apply(&object.to_string());
}

/// Applies a Secret of namespace `shop`; all its values are text.
fn secret(world: &World, name: &str, allow: bool, data: &Value) {
    secret_in(world, SHOP, name, allow, data);
}

fn secret_in(world: &World, namespace: &str, name: &str, allow: bool, data: &Value) {
    let labels = if allow { json!({"posthorn.dev/allow": "true"}) } else { json!({}) };
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let data = data.as_object().unwrap().iter().map(|(key, value)| (key.clone(), BASE64_STANDARD.encode(value.as_str().unwrap()).into()));
    let data: serde_json::Map<String, Value> = data.collect();
    world.cluster.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}).to_string());
}

/// A signing secret.
fn signing(word: &str) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(format!("{word:-<32}")))
}

/// A reference to a key of a Secret.
fn key(secret: &str, key: &str) -> Value {
    json!({"name": secret, "key": key})
}

/// The plan that the release namespace holds for a destination; `None` while it holds none.
fn plan(world: &World, name: &str) -> Option<Value> {
    let file = format!("{}.json", world.uid(name));
    let secrets = world.cluster.json(&["get", "secrets", "-n", RELEASE, "-l", "app.kubernetes.io/managed-by=posthorn-operator"]);
    let found = secrets["items"].as_array().unwrap().iter().find_map(|secret| secret["data"][&file].as_str().map(str::to_owned))?;
    Some(serde_json::from_slice(&BASE64_STANDARD.decode(found).unwrap()).unwrap())
}

/// Waits until a destination is resolved to this address, as its status shows it and as its worker is given it.
async fn resolved_to(world: &World, name: &str, uri: &str) {
    eventually_within(PATIENCE, &format!("{name} goes to {uri}"), async || {
        let object = world.object(name);
        let (shown, resolved) = (&object["status"]["sinkURI"], condition_of(&object, "Resolved"));
        let given = plan(world, name).map(|plan| plan.to_string()).unwrap_or_default();
        let good = shown == uri && resolved["status"] == "True" && given.contains(&format!("\"{uri}\""));
        holds(good, || format!("{} plan {given}; operator: {}", object["status"], world.operator.log()))
    })
    .await;
}

/// Waits until a destination is not resolved for this reason and its worker has no plan of it; returns the message.
async fn unresolved(world: &World, name: &str, reason: &str) -> String {
    let condition = eventually_within(PATIENCE, &format!("{name} is not resolved: {reason}"), async || {
        let object = world.object(name);
        let found = condition_of(&object, "Resolved");
        let good = found["status"] == "False" && found["reason"] == reason && plan(world, name).is_none();
        holds(good, || format!("{}; operator: {}", object["status"], world.operator.log()))?;
        Ok(found)
    })
    .await;
    assert_eq!(world.condition(name, "Ready", "False").await, reason);
    condition["message"].as_str().unwrap().to_owned()
}

/// The operator did not end over it.
fn assert_runs(operator: &mut Posthorn) {
    assert!(operator.runs(), "the operator ended: {}", operator.log());
}
