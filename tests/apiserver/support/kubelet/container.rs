//! A container as a process of this machine: the command and the environment that its pod gives, with paths and ports in their place.

use super::cache::Cache;
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_posthorn");

/// Where things of the container are on this machine.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Mount path → folder.
    pub mounts: BTreeMap<String, PathBuf>,
    /// Port of the container → port of this machine.
    pub ports: BTreeMap<i32, u16>,
}

/// The one container of a pod, if that can be played.
pub fn of(pod: &Pod) -> Result<&Container, String> {
    let spec = pod.spec.as_ref().ok_or("a pod without spec")?;
    let [container] = &spec.containers[..] else { return Err("only pods of one container are played".into()) };
    let not_played = [
        ("initContainers", spec.init_containers.as_ref().is_some_and(|list| !list.is_empty())),
        ("envFrom", container.env_from.as_ref().is_some_and(|list| !list.is_empty())),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    match not_played.iter().find(|(_, is)| *is) {
        Some((field, _)) => Err(format!("{field} is not played")),
        None => Ok(container),
    }
}

/// The command, ready to be started in a folder.
pub fn command(pod: &Pod, cache: &Cache, places: &Places) -> Result<Command, String> {
    let container = of(pod)?;
    let mut env: BTreeMap<&str, String> = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, pod, cache, &env)? {
            env.insert(&variable.name, value);
        }
    }
    let mut words = container.command.iter().flatten();
    let program = words.next().map_or("posthorn", String::as_str);
    if program.rsplit('/').next() != Some("posthorn") {
        return Err(format!("the image has no program {program}"));
    }
    let mut command = Command::new(BINARY);
    command.args(words.chain(container.args.iter().flatten()).map(|word| places.put(&expand(word, &env))));
    command.env_clear().envs(env.iter().map(|(name, value)| (name, places.put(value))));
    Ok(command)
}

/// The value of a variable; none if it is optional and not there.
fn value(variable: &EnvVar, pod: &Pod, cache: &Cache, before: &BTreeMap<&str, String>) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else { return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), before))) };
    let (what, found, optional) = if let Some(key) = &from.secret_key_ref {
        let data = cache.secret(&key.name).and_then(|secret| secret.present.data?.remove(&key.key));
        (format!("Secret {} key {}", key.name, key.key), data.map(|data| String::from_utf8_lossy(&data.0).into_owned()), key.optional)
    } else if let Some(key) = &from.config_map_key_ref {
        let data = cache.config_map(&key.name).and_then(|map| map.present.data?.remove(&key.key));
        (format!("ConfigMap {} key {}", key.name, key.key), data, key.optional)
    } else if let Some(field) = &from.field_ref {
        (format!("field {}", field.field_path), field_of(pod, &field.field_path), None)
    } else {
        return Err(format!("the source of {} is not played", variable.name));
    };
    if found.is_none() && optional != Some(true) {
        return Err(format!("{}: {what} is not there", variable.name));
    }
    Ok(found)
}

/// A field of the downward API.
fn field_of(pod: &Pod, path: &str) -> Option<String> {
    let entry = |map: &BTreeMap<String, String>, key: &str| Some(map.get(key.strip_suffix("']")?).cloned().unwrap_or_default());
    let spec = pod.spec.as_ref();
    match path {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" | "status.hostIP" => Some("127.0.0.1".into()),
        _ => {
            let label = path.strip_prefix("metadata.labels['").and_then(|key| entry(pod.labels(), key));
            label.or_else(|| entry(pod.annotations(), path.strip_prefix("metadata.annotations['")?))
        }
    }
}

/// Puts variables in the place of `$(NAME)`; one that does not exist stays as it is.
fn expand(text: &str, env: &BTreeMap<&str, String>) -> String {
    env.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

/// The port of a container that a probe names.
pub fn port(container: &Container, port: &IntOrString) -> Option<i32> {
    match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }
    }
}

impl Places {
    /// A word with the paths and ports of the container put in the place where they are here.
    pub fn put(&self, word: &str) -> String {
        self.put_port(word).unwrap_or_else(|| self.put_paths(word))
    }

    /// `0.0.0.0:9090`, `--listen=[::]:9090`: an address to listen on, which must be another one for each pod.
    fn put_port(&self, word: &str) -> Option<String> {
        let (name, address) = word.rsplit_once('=').map_or(("", word), |(name, address)| (&word[..=name.len()], address));
        let (host, port) = address.rsplit_once(':')?;
        let port = self.ports.get(&port.parse().ok()?)?;
        ["0.0.0.0", "[::]", ""].contains(&host).then(|| format!("{name}127.0.0.1:{port}"))
    }

    fn put_paths(&self, word: &str) -> String {
        let (mut done, mut rest) = (String::new(), word);
        while !rest.is_empty() {
            let ends = |path: &String| rest[path.len()..].starts_with(['/', ',', ':', ' ']) || rest.len() == path.len();
            // The longest comes last in order.
            let found = self.mounts.iter().rev().find(|(path, _)| rest.starts_with(*path) && ends(path));
            if let Some((path, folder)) = found {
                done.push_str(&folder.display().to_string());
                rest = &rest[path.len()..];
            } else {
                let next = rest.chars().next().expect("it is not empty");
                done.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        done
    }
}

mod tests {
    use super::*;

    #[test]
    fn paths_and_ports_are_put_in_their_place_and_nothing_else_is() {
        let mounts = [("/etc/posthorn", "/x/config"), ("/etc/posthorn/plans", "/x/plans"), ("/tmp", "/x/tmp")];
        let places =
            Places { mounts: mounts.map(|(path, folder)| (path.to_owned(), PathBuf::from(folder))).into(), ports: [(9090, 40000)].into() };
        let cases = [
            ("/etc/posthorn/plans", "/x/plans"),
            ("--config=/etc/posthorn/posthorn.yaml", "--config=/x/config/posthorn.yaml"),
            ("/etc/posthornish", "/etc/posthornish"),
            ("0.0.0.0:9090", "127.0.0.1:40000"),
            ("--admin-listen=[::]:9090", "--admin-listen=127.0.0.1:40000"),
            ("http://a.example:9090", "http://a.example:9090"),
            ("unix:///tmp/redis.sock", "unix:///x/tmp/redis.sock"),
        ];
        for (word, wanted) in cases {
            assert_eq!(places.put(word), wanted);
        }
    }
}
