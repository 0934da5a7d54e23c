//! The installation: its pods, its Redis, its commands.

use super::it::eventually::{eventually_within, holds};
use super::it::stored::Stored;
use super::settings::release_namespace;
use super::tools::{items, kubectl, ok};
use super::{PATIENCE, tools};
use base64::Engine as _;
use serde_json::Value;

/// Reads a destination in one step, as text that any version of redis-cli prints alike.
const READ: &str = "#!lua flags=no-writes,allow-oom
local counters, queue, dead = {}, {}, {}
local pairs = redis.call('HGETALL', KEYS[1])
for i = 1, #pairs, 2 do counters[pairs[i]] = pairs[i + 1] end
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do queue[#queue + 1] = entry[1] end
for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '-', '+')) do
  for i = 1, #entry[2], 2 do if entry[2][i] == 'orig' then dead[#dead + 1] = entry[2][i + 1] end end
end
return cjson.encode({counters = counters, queue = queue, dead = dead})";

/// How many events the router has not decided on yet.
const BEHIND: &str = "#!lua flags=no-writes,allow-oom
local position = redis.call('HGET', KEYS[1], 'pos') or '0-0'
return #redis.call('XRANGE', KEYS[2], '(' .. position, '+')";

/// Selects the pods of a role.
pub fn selector(role: &str) -> String {
    format!("app.kubernetes.io/name=posthorn,app.kubernetes.io/component={role}")
}

/// The pods of a role that are not on their way out.
pub fn pods(role: &str) -> Vec<Value> {
    let mut pods = items(&["get", "pods", "-n", &release_namespace(), "-l", &selector(role)]);
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods
}

/// Names of the pods of a role.
pub fn pod_names(role: &str) -> Vec<String> {
    pods(role).iter().map(|pod| pod["metadata"]["name"].as_str().expect("every pod has one").to_owned()).collect()
}

/// Takes all pods of a role away at once, as a node that is lost would.
pub fn kill(role: &str) -> usize {
    let names = pod_names(role);
    assert!(!names.is_empty(), "there is no pod of the {role}");
    let mut args = vec!["delete", "pod", "-n"];
    let namespace = release_namespace();
    args.extend([namespace.as_str(), "--force", "--grace-period=0", "--wait=false"]);
    args.extend(names.iter().map(String::as_str));
    ok(&args);
    names.len()
}

/// Waits until every pod of a role is ready, and there are at least so many: where there is a metrics API, their number may have grown.
pub async fn ready(role: &str, count: usize) {
    eventually_within(PATIENCE, &format!("{count} pods of the {role} are ready"), async || {
        let pods = pods(role);
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        holds(ready == pods.len() && ready >= count, || format!("{ready} of {} are", pods.len()))
    })
    .await;
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Runs a command of `posthorn` in the cluster, which must succeed.
pub fn posthorn(args: &[&str]) -> String {
    let namespace = release_namespace();
    ok(&[&["exec", "-n", &namespace, "deploy/posthorn-operator", "--", "posthorn"], args].concat())
}

/// What Redis holds of a destination, `namespace/name`; an error while Redis is away.
pub fn stored(destination: &str) -> Result<Stored, String> {
    let uid = redis(&["HGET", "ph:{default}:names", destination])?;
    let key = |kind: &str| format!("ph:{{default}}:{kind}:{uid}");
    let text = redis(&["EVAL_RO", READ, "3", &key("st"), &key("q"), &key("dead")])?;
    let read: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let count = |name: &str| read["counters"][name].as_str().map_or(0, |value| value.parse().unwrap());
    let ids = |name: &str| {
        let ids = read[name].as_array().into_iter().flatten();
        ids.map(|id| id.as_str().unwrap_or_default().parse().unwrap()).collect()
    };
    Ok(Stored::counted(count, ids("queue"), ids("dead")))
}

/// Accepted events that the router has not decided on yet; an error while Redis is away.
pub fn behind() -> Result<u64, String> {
    let text = redis(&["EVAL_RO", BEHIND, "2", "ph:{default}:cursor", "ph:{default}:in"])?;
    text.parse().map_err(|error| format!("{error}: {text}"))
}

/// Asks the bundled Redis.
fn redis(args: &[&str]) -> Result<String, String> {
    let (namespace, password) = (release_namespace(), password());
    // beside the server, whatever it is called: valkey-server has a valkey-cli
    let server = tools::value(&namespace, "statefulset/posthorn-redis", "{.spec.template.spec.containers[0].command[0]}");
    let client = server.replace("-server", "-cli");
    let mut command = vec!["exec", "-n", &namespace, "statefulset/posthorn-redis", "-c", "redis", "--", &client, "--no-auth-warning"];
    if !password.is_empty() {
        command.extend(["-a", &password]);
    }
    let output = kubectl(&[&command[..], args].concat());
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = text.trim_end_matches('\n').to_owned();
    if !output.status.success() || text.contains("ERR ") || text.contains("NOAUTH") || text.starts_with("LOADING") {
        return Err(format!("{client}: {text} {error}"));
    }
    Ok(text)
}

fn password() -> String {
    let encoded = tools::value(&release_namespace(), "secret/posthorn-redis", "{.data.password}");
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// Names of everything that carries our labels, `kind/namespace/name`, in all namespaces. A kind may go while it is looked for.
///
/// # Errors
/// What `kubectl` said.
pub fn left() -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for (scope, all) in [("true", &["-A"][..]), ("false", &[])] {
        let kinds = tools::try_ok(&["api-resources", "--verbs=list,delete", &format!("--namespaced={scope}"), "-o", "name"])?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let kinds = kinds.join(",");
        let selector = "app.kubernetes.io/name=posthorn";
        let path = "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
        let args = [&["get", &kinds, "-l", selector, "--ignore-not-found", "-o", path], all].concat();
        found.extend(tools::try_ok(&args)?.lines().map(str::to_owned));
    }
    Ok(found)
}
