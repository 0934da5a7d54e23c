//! Names of destinations, as people write them.

use crate::bus::{Link, routing};
use anyhow::bail;
use std::collections::BTreeMap;

/// The namespace where none is named.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Known names in an error; more would bury the message.
const SHOWN: usize = 20;

/// One destination.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// NAME or NAMESPACE/NAME of the destination
    #[arg(value_name = "NAME")]
    name: String,
    /// Its namespace [default: default]
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// A destination that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `namespace/name`.
    pub full_name: String,
    /// Its UID, the name of its queue.
    pub uid: String,
}

impl Target {
    /// Whether it says nothing of a namespace.
    pub fn is_bare(&self) -> bool {
        is_bare(&self.name, self.namespace.as_deref())
    }

    /// Finds the destination.
    ///
    /// # Errors
    /// If Redis does not answer, or there is no such destination: then with the names of those that are there.
    pub async fn find(&self, link: &Link, bus: &str) -> anyhow::Result<Named> {
        resolve(&routing::names(link, bus).await?, &self.name, self.namespace.as_deref())
    }
}

/// Finds a destination by name.
///
/// # Errors
/// If there is none, with the names of those that are there.
pub fn resolve(names: &BTreeMap<String, String>, name: &str, namespace: Option<&str>) -> anyhow::Result<Named> {
    let full_name = full_name(name, namespace)?;
    match names.get(&full_name) {
        Some(uid) => Ok(Named { full_name, uid: uid.clone() }),
        None => bail!("there is no destination {full_name}; {}", known(names)),
    }
}

/// Whether a name comes without a namespace.
pub fn is_bare(name: &str, namespace: Option<&str>) -> bool {
    namespace.is_none() && !name.contains('/')
}

fn full_name(name: &str, namespace: Option<&str>) -> anyhow::Result<String> {
    match (name.split_once('/'), namespace) {
        (Some((other, _)), Some(namespace)) if other != namespace => {
            bail!("{name} names the namespace {other}, --namespace another ({namespace}): leave one of them out")
        }
        (Some(_), _) => Ok(name.to_owned()),
        (None, namespace) => Ok(format!("{}/{name}", namespace.unwrap_or(DEFAULT_NAMESPACE))),
    }
}

fn known(names: &BTreeMap<String, String>) -> String {
    if names.is_empty() {
        return "there are none on this bus".to_owned();
    }
    let shown: Vec<&str> = names.keys().take(SHOWN).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let rest = if more > 0 { format!(" and {more} more (posthorn get -A lists them)") } else { String::new() };
    format!("known are {}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> BTreeMap<String, String> {
        (0..count).map(|n| (format!("default/d{n:02}"), format!("uid-{n}"))).chain([("team/x".into(), "uid-x".into())]).collect()
    }

    fn found(name: &str, namespace: Option<&str>) -> String {
        match resolve(&names(3), name, namespace) {
            Ok(found) => format!("{} {}", found.full_name, found.uid),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_is_of_the_default_namespace_unless_it_says_otherwise() {
        assert_eq!(found("d01", None), "default/d01 uid-1");
        assert_eq!(found("team/x", None), "team/x uid-x");
        assert_eq!(found("x", Some("team")), "team/x uid-x");
        assert_eq!(found("team/x", Some("team")), "team/x uid-x");
        assert!(found("team/x", Some("default")).contains("leave one of them out"));
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        assert_eq!(found("x", None), "there is no destination default/x; known are default/d00, default/d01, default/d02, team/x");
        assert!(resolve(&BTreeMap::new(), "x", None).unwrap_err().to_string().contains("there are none"));
        assert!(resolve(&names(30), "x", None).unwrap_err().to_string().contains("and 11 more"));
    }
}
