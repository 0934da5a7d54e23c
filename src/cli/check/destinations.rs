//! Every destination: its worker, its state.

use super::Finding;
use crate::bus::state::Snapshot;
use crate::bus::{Error, Link};
use crate::cli::all::snapshots;
use crate::cli::table::age;
use crate::plan::Route;
use crate::status;
use std::collections::BTreeMap;

/// A new destination has so long to find its worker, milliseconds.
const BEGINS: u64 = 60_000;

pub(super) async fn look(link: &Link, bus: &str, routes: &BTreeMap<String, Route>, now: u64) -> Result<Vec<Finding>, Error> {
    let all = snapshots(link, bus, routes.clone()).await?;
    let mut findings: Vec<_> = all.iter().flat_map(|(_, route, snapshot)| judge(snapshot, route, now)).collect();
    findings.sort_by(|a, b| a.check.cmp(&b.check));
    Ok(findings)
}

fn judge(snapshot: &Snapshot, route: &Route, now: u64) -> Vec<Finding> {
    let (name, found) = (route.full_name(), status::delivering(snapshot, route));
    let waits = match &snapshot.head {
        Some(head) => format!("{} events wait, the oldest for {}", snapshot.backlog, age(head.sequence.ms, now)),
        None => "nothing waits".to_owned(),
    };
    let said = if found.message.is_empty() { waits } else { format!("{waits}; {}", found.message) };
    let message = format!("{}: {said}", found.reason);
    let describe = describe_of(&name);
    let created = u64::try_from(status::created(route).0.as_millisecond()).unwrap_or(0);
    let is_new = now.saturating_sub(created) < BEGINS;
    let first = match found.reason.as_str() {
        _ if route.unresolved.is_some() => {
            let why = status::resolved(route).message;
            Finding::fail(&name, format!("it cannot be run: {why}"), "mend that; its events are queued and wait")
        }
        "Halted" | "Blocked" | "NoWorker" | "KeyBacklogFull" => Finding::fail(&name, message, describe),
        "Pending" if !is_new => Finding::fail(&name, message, describe),
        "Retrying" | "Pending" => Finding::warn(&name, message, describe),
        _ => Finding::ok(&name, message),
    };
    let behind = status::keeping_up(snapshot, route);
    let lost = status::data_lost(snapshot);
    std::iter::once(first)
        .chain((snapshot.fill.is_some()).then(|| Finding::warn(&name, behind.message, describe_of(&name))))
        .chain(lost.map(|lost| Finding::warn(&name, lost.message, describe_of(&name))))
        .collect()
}

fn describe_of(name: &str) -> String {
    format!("posthorn describe {name} tells what to do")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::event::Sequence;
    use crate::plan::Unresolved;
    use crate::status::tests::route;

    #[test]
    fn a_destination_fails_where_a_person_must_act() {
        let running = |state: &str| Snapshot { owned: true, state: Some(state.into()), ..Snapshot::default() };
        let levels =
            |snapshot: Snapshot, route: &Route, now| judge(&snapshot, route, now).iter().map(|found| found.level).collect::<Vec<_>>();
        // the route of these tests was created then
        let created = 1_767_323_045_000;
        let later = created + BEGINS + 1;
        for (snapshot, now, expected) in [
            (running("Idle"), later, vec![Level::Ok]),
            (running("Suspended"), later, vec![Level::Ok]),
            (running("Retrying"), later, vec![Level::Warn]),
            (running("Blocked"), later, vec![Level::Fail]),
            (running("Halted"), later, vec![Level::Fail]),
            (Snapshot { owned: false, ..running("Idle") }, later, vec![Level::Fail]),
            (Snapshot::default(), later, vec![Level::Fail]),
            (Snapshot::default(), created + 1, vec![Level::Warn]),
            (
                Snapshot { fill: Some(Sequence { ms: 1, seq: 0 }), data_lost: Some(1), ..running("Active") },
                later,
                vec![Level::Ok, Level::Warn, Level::Warn],
            ),
        ] {
            assert_eq!(levels(snapshot.clone(), &route(), now), expected, "{snapshot:?}");
        }
        let unresolved = Some(Unresolved { reason: "SecretNotFound".into(), message: "no Secret".into() });
        assert_eq!(levels(running("Idle"), &Route { unresolved, ..route() }, later), [Level::Fail]);
    }
}
