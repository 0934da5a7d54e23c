//! Who may import whom. Reads the imports of `src/` and fails on a forbidden edge.
//!
//! Test modules are exempt: they may use what they like.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// No tokio, no redis, no HTTP, no Kubernetes client, and nothing of ours that has them.
const PURE: &[&str] = &[
    "event",
    "filter",
    "api",
    "plan",
    "settings",
    "status",
    "worker::attempt",
    "worker::retry",
    "worker::halt",
    "worker::lanes",
    "worker::rate",
    "operator::workers::build",
    "operator::workers::placement",
    "operator::workers::memory",
    "operator::workers::health",
    "operator::board::entry",
    "operator::events::notes",
    "operator::status::make",
    "receiver::check",
    "receiver::seen",
    "operator::address",
    "operator::rbac",
];

/// Plain data of modules that are not pure, for pure ones to take.
const DATA: &[&str] = &["bus::state::Head", "bus::state::Snapshot"];

/// Plain data of the operator, for those who make files of it.
const OPERATOR_DATA: (&str, &str) = ("generate", "crate::operator::rbac");

/// Of crate `kube`: what talks to an API server.
const KUBE_CLIENT: &[&str] =
    &["kube::Api", "kube::Client", "kube::Config", "kube::client", "kube::config", "kube::runtime", "kube_runtime"];

const IMPURE: &[&str] = &["tokio", "tokio_util", "tokio_rustls", "redis", "hyper", "hyper_util"];

/// A module, what it must not import, and why.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("worker", &["crate::api", "crate::standalone", "crate::router", "crate::ingest"], "a worker knows a destination by its plan alone"),
    (
        "router",
        &["crate::api", "crate::standalone", "crate::worker", "crate::ingest"],
        "the router knows destinations by their routes alone",
    ),
    ("ingest", &["crate::api", "crate::standalone", "crate::worker", "crate::router", "crate::plan"], "ingest never looks at destinations"),
    (
        "operator",
        &["crate::standalone", "crate::router", "crate::ingest", "crate::cli"],
        "the operator says what the roles are to do, it does none of it",
    ),
    (
        "bus",
        &["crate::api", "crate::standalone", "crate::worker", "crate::router", "crate::ingest", "crate::cli"],
        "the bus serves the roles, it knows none",
    ),
];

/// One import: the file, the module it is of, the path that it names from the crate's root or another crate's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    module: String,
    path: String,
}

#[test]
fn no_import_crosses_a_forbidden_edge() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files(&src);
    assert!(files.len() > 20, "the sources are not in {}", src.display());
    let broken: Vec<String> = files
        .iter()
        .flat_map(|file| imports(&module_of(file.strip_prefix(&src).unwrap()), &std::fs::read_to_string(file).unwrap()))
        .filter_map(|import| Some(format!("{} imports {}: {}", import.module, import.path, broken_rule(&import)?)))
        .collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn forbidden_imports_are_found() {
    let broken = |module: &str, source: &str| imports(module, source).iter().any(|import| broken_rule(import).is_some());
    assert!(broken("event::json", "use tokio::sync::mpsc;"));
    assert!(broken("status", "use crate::bus::state::snapshot;"));
    assert!(broken("plan", "use crate::{filter::Filter, bus::Link};"));
    assert!(broken("worker::retry", "use super::sink::http;"));
    assert!(broken("api", "fn f() -> kube::Api<Pod> { todo!() }"));
    assert!(broken("worker::lane", "fn f() { redis::cmd(\"GET\"); }"));
    assert!(broken("worker::lane", "use crate::{\n    api::Spec,\n};"));
    assert!(broken("standalone", "use kube::{Client, ResourceExt};"));
    assert!(broken("router", "use crate::operator;"));
    assert!(broken("generate", "use crate::operator::{rbac::RULES, leader};"));
    assert!(broken("plan", "use crate::operator::rbac::RULES;"));
    assert!(broken("operator::rbac", "use super::leader;"));
    assert!(broken("event", "use std::{io, sync::{Arc, Mutex}}; use crate::{plan::{self, Plan}, event::{http as h}, bus};"));
}

#[test]
fn allowed_imports_are_not_found() {
    let kept = |module: &str, source: &str| imports(module, source).iter().all(|import| broken_rule(import).is_none());
    assert!(kept("bus::queue", "use redis::Script; use super::keys; use crate::event::Event;"));
    assert!(kept("event", "/// Not tokio::spawn.\n// use redis::cmd;\nconst A: &str = \"tokio::spawn\";"));
    assert!(kept("plan", "#[cfg(test)]\nmod tests {\n    use tokio::test;\n}\n"));
    assert!(kept("worker::halt", "use super::attempt::Class; use std::time::Duration;"));
    assert!(kept("api", "use kube::CustomResource;"));
    assert!(kept("status", "use crate::bus::state::Snapshot;"));
    assert!(kept("operator::watch", "use kube::{Api, Client}; use crate::operator::error;"));
    assert!(kept("cli", "use crate::operator;"));
    assert!(kept("generate::rbac", "use crate::operator::rbac::{RULES, Rule};"));
}

fn broken_rule(import: &Import) -> Option<&'static str> {
    let Import { module, path } = import;
    let is_pure = |module: &str| PURE.iter().any(|pure| within(module, pure));
    if is_pure(module) {
        let ours = path.strip_prefix("crate::");
        // `crate::worker` alone is a re-export of something below it; which, the compiler knows.
        if ours.is_some_and(|ours| ours != "worker" && !is_pure(ours) && !DATA.contains(&ours))
            || IMPURE.iter().any(|other| within(path, other))
        {
            return Some("it is pure: no I/O, and nothing that does I/O");
        }
    }
    if within(path, "redis") && !within(module, "bus") {
        return Some("only `bus` speaks to Redis");
    }
    if KUBE_CLIENT.iter().any(|client| within(path, client)) && !within(module, "operator") {
        return Some("only `operator` speaks to the API server");
    }
    let is_data = within(module, OPERATOR_DATA.0) && within(path, OPERATOR_DATA.1);
    if within(path, "crate::operator") && !is_data && !["operator", "cli", "main"].iter().any(|root| within(module, root)) {
        return Some("nothing imports `operator`");
    }
    let forbidden = FORBIDDEN.iter().find(|(of, paths, _)| within(module, of) && paths.iter().any(|other| within(path, other)));
    forbidden.map(|(_, _, why)| *why)
}

/// Whether a path is another one or lies below it.
fn within(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// `worker/sink/mod.rs` → `worker::sink`.
fn module_of(file: &Path) -> String {
    let file = file.with_extension("");
    let parts: Vec<_> = file.iter().map(|part| part.to_str().unwrap()).filter(|part| *part != "mod").collect();
    parts.join("::")
}

/// Every path that the source names in `use` or in place, expanded and absolute.
fn imports(module: &str, source: &str) -> BTreeSet<Import> {
    let tokens = tokens(&code(source));
    let mut paths = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at = expand(&tokens, at + 1, "", &mut paths);
        } else if is_name(&tokens[at]) && tokens.get(at + 1).is_some_and(|next| next == "::") {
            at = expand(&tokens, at, "", &mut paths);
        } else {
            at += 1;
        }
    }
    paths.iter().filter_map(|path| absolute(module, path)).map(|path| Import { module: module.to_owned(), path }).collect()
}

/// Reads one path, with its `{…}`, from `at`; returns where it ends, which is always further on.
fn expand(tokens: &[String], mut at: usize, prefix: &str, paths: &mut BTreeSet<String>) -> usize {
    let token = |at: usize| tokens.get(at).map(String::as_str);
    let begin = at;
    let mut path = prefix.to_owned();
    while token(at).is_some_and(|name| is_name(name) || name == "*") {
        path.push_str(&tokens[at]);
        at += 1;
        if token(at) != Some("::") {
            break;
        }
        path.push_str("::");
        at += 1;
    }
    if token(at) == Some("{") && path.ends_with("::") {
        at += 1;
        while token(at).is_some_and(|next| next != "}") {
            at = expand(tokens, at, &path, paths);
        }
        return at + 1;
    }
    if at == begin {
        return at + 1; // a comma, mostly
    }
    paths.insert(path.trim_end_matches("::").to_owned());
    at
}

/// Resolves `crate`, `super` and `self`; `None` for what is no import.
fn absolute(module: &str, path: &str) -> Option<String> {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut rest = path;
    if let Some(inner) = path.strip_prefix("self::") {
        return Some(format!("crate::{module}::{inner}"));
    }
    while let Some(outer) = rest.strip_prefix("super::") {
        base.pop();
        rest = outer;
    }
    if rest.len() < path.len() {
        base.push(rest);
        return Some(format!("crate::{}", base.join("::")));
    }
    (!path.is_empty()).then(|| path.to_owned())
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(char) = chars.next() {
        if char.is_alphanumeric() || char == '_' {
            let mut name = String::from(char);
            while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                name.push(next);
            }
            tokens.push(name);
        } else if char == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".into());
        } else if !char.is_whitespace() {
            tokens.push(char.into());
        }
    }
    tokens
}

/// The source without comments, strings, and inline test modules.
fn code(source: &str) -> String {
    let strings = regex::Regex::new(r##"(?s)//[^\n]*|/\*.*?\*/|r#".*?"#|"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^'\\])'"##).unwrap();
    let bare = strings.replace_all(source, " ").into_owned();
    match bare.find("#[cfg(test)]\nmod tests {") {
        Some(tests) => bare[..tests].to_owned(),
        None => bare,
    }
}
