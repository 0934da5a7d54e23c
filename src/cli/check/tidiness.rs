//! What belongs to nobody.

use super::Finding;
use crate::bus::overview::{Oddity, Orphans, oddities, orphans};
use crate::bus::{Error, Link};
use crate::plan::Route;
use std::collections::{BTreeMap, BTreeSet};

/// Things named in one line; more would bury the message.
const SHOWN: usize = 5;

pub(super) async fn look(link: &Link, bus: &str, routes: &BTreeMap<String, Route>) -> Result<Vec<Finding>, Error> {
    let name = |uid: &str| routes.get(uid).map_or_else(|| uid.to_owned(), Route::full_name);
    let mut findings: Vec<_> = oddities(link, bus).await?.into_iter().map(|(uid, oddity)| odd(&name(&uid), oddity)).collect();
    findings.extend(strays(&orphans(link, bus).await?));
    if findings.is_empty() {
        findings.push(Finding::ok("orphans", "none: every queue, state and name belongs to a destination"));
    }
    Ok(findings)
}

fn odd(name: &str, oddity: Oddity) -> Finding {
    match oddity {
        Oddity::Missing => {
            Finding::warn(name, "its queue, or the group in it, is not in Redis", "the next worker makes it again; find out who deleted it")
        }
        Oddity::Consumer(consumer, pending) => Finding::warn(
            name,
            format!("somebody else reads its queue, as consumer {consumer:?}, and holds {pending} events"),
            "find out who; those events are delivered once the lease is taken anew (restart the worker)",
        ),
    }
}

fn strays(orphans: &Orphans) -> Vec<Finding> {
    let Orphans { keys, names, unnamed, fills } = orphans;
    let finding = |set: &BTreeSet<String>, what: &str, to_do: &str| {
        (!set.is_empty()).then(|| Finding::warn("orphans", format!("{what}: {}", some(set)), to_do))
    };
    [
        finding(keys, "keys of destinations that are not there", "delete them if they are not of a newer version: redis-cli UNLINK KEY"),
        finding(
            names,
            "names of destinations that are not there",
            "create the destination again, or delete the field from the hash `names`",
        ),
        finding(
            unnamed,
            "destinations without a name, which no command finds",
            "restart the operator or standalone: it writes the name again",
        ),
        finding(fills, "fill positions of destinations that are not there", "delete the field from the hash `fills`"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn some(set: &BTreeSet<String>) -> String {
    let shown: Vec<_> = set.iter().take(SHOWN).map(String::as_str).collect();
    let more = set.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
