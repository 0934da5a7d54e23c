//! One destination as text and as an object.

use super::Groups;
use super::advice::advice;
use crate::api::status::{Condition, EventDestinationStatus};
use crate::bus::state::{Head, Snapshot};
use crate::cli::names::Named;
use crate::cli::output::harmless;
use crate::cli::table::{Table, age};
use crate::cli::when::shown;
use crate::plan::Route;
use crate::status::{delivering, status};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// All that is known of one destination.
pub(super) struct Report<'a> {
    pub(super) named: &'a Named,
    pub(super) bus: &'a str,
    pub(super) snapshot: &'a Snapshot,
    pub(super) route: &'a Route,
    pub(super) groups: &'a Groups,
}

/// Text with aligned names.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{:<14} {}", format!("{name}:"), harmless(value));
    }

    fn table(&mut self, headers: Vec<&'static str>, rows: &[Vec<String>]) {
        Table::new(headers).rows(rows).lines().for_each(|line| {
            let _ = writeln!(self.0, "  {}", line.trim_end());
        });
    }
}

impl Report<'_> {
    pub(super) fn text(&self) -> String {
        let Report { named, bus, snapshot, route, groups } = self;
        let (mut page, status) = (Page::default(), status(snapshot, route));
        page.line("Name", &named.full_name);
        page.line("UID", &named.uid);
        page.line("Bus", bus);
        page.line("Receiver", &route.sink_uri);
        page.line("Created", &route.created);
        page.line("State", &self.state());
        page.line("Filters", &filters(route));
        page.line("Limits", &limits(route));
        page.line("Delivered", &format!("{}{}", snapshot.settled, since(", the last one", snapshot.last_ok, snapshot.now)));
        page.line("Matched", &format!("{}{}", snapshot.routed, since(", the last one", snapshot.last_match, snapshot.now)));
        page.line("Retries", &snapshot.retried.to_string());
        page.line("Dropped, lost", &format!("{}, {}", snapshot.dropped, snapshot.lost));
        let oldest = snapshot.head.as_ref().map(|head| head.sequence.ms);
        page.line("Backlog", &format!("{}{}", snapshot.backlog, since(", the oldest one", oldest, snapshot.now)));
        if let Some(head) = &snapshot.head {
            self.head(&mut page, head);
        }
        page.line("Dead letters", &snapshot.dead_letters.to_string());
        let group = |(reason, group): (&String, &super::Group)| {
            vec![reason.clone(), group.count.to_string(), age(group.first, snapshot.now), age(group.last, snapshot.now)]
        };
        page.table(vec!["REASON", "COUNT", "OLDEST", "NEWEST"], &groups.iter().map(group).collect::<Vec<_>>());
        page.line("Conditions", "");
        page.table(
            vec!["TYPE", "STATUS", "REASON", "AGE", "MESSAGE"],
            &status.conditions.iter().map(|one| self.condition(one)).collect::<Vec<_>>(),
        );
        page.line("What to do", "");
        advice(snapshot, route).iter().for_each(|line| page.0 += &format!("  - {}\n", harmless(line)));
        page.0.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    fn state(&self) -> String {
        let found = delivering(self.snapshot, self.route);
        let message = Some(found.message).filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default();
        format!("{}{message}", found.reason)
    }

    fn head(&self, page: &mut Page, head: &Head) {
        let Head { sequence, id, event_type, attempts, first, next, code, class, message } = head;
        page.line("Oldest event", "");
        page.line("  Sequence", &sequence.padded());
        page.line("  ID", id);
        page.line("  Type", event_type);
        page.line("  Attempts", &format!("{attempts}{}", since(", the first one", *first, self.snapshot.now)));
        if let Some(class) = class {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            page.line("  Last error", &format!("{class}{code}: {}", message.as_deref().unwrap_or_default()));
        }
        if let Some(next) = next {
            page.line("  Next try", &self.next(*next));
        }
    }

    fn next(&self, next: u64) -> String {
        match next.checked_sub(self.snapshot.now) {
            Some(wait) if wait > 0 => format!("in {} ({})", age(0, wait.max(1000)), shown(next)),
            _ => "now".to_owned(),
        }
    }

    fn condition(&self, condition: &Condition) -> Vec<String> {
        let since = u64::try_from(condition.last_transition_time.0.as_millisecond()).unwrap_or_default();
        vec![
            condition.r#type.clone(),
            format!("{:?}", condition.status),
            condition.reason.clone(),
            age(since, self.snapshot.now),
            condition.message.clone(),
        ]
    }

    pub(super) fn object(&self) -> Value {
        let Report { named, bus, snapshot, route, groups } = self;
        let status: EventDestinationStatus = status(snapshot, route);
        json!({
            "name": route.name,
            "namespace": route.namespace,
            "uid": named.uid,
            "bus": bus,
            "created": route.created,
            "suspend": route.suspend,
            "filters": route.filters,
            "limits": {"backlog": route.limit, "deadLetterMaxAge": format!("{}s", route.dead_letter_max_age.as_secs())},
            "state": self.state(),
            "status": status,
            "deadLettersByReason": groups.iter().map(|(reason, group)| (reason.clone(), group.count.into())).collect::<serde_json::Map<_, _>>(),
            "whatToDo": advice(snapshot, route),
        })
    }
}

/// `, the last one 5s ago`; nothing if it never happened.
fn since(what: &str, ms: Option<u64>, now: u64) -> String {
    ms.map(|ms| format!("{what} {} ago", age(ms, now))).unwrap_or_default()
}

fn filters(route: &Route) -> String {
    match route.filters.as_slice() {
        [] => "none: every event of the bus".to_owned(),
        filters => serde_json::to_string(filters).expect("filters are always JSON"),
    }
}

fn limits(route: &Route) -> String {
    let kept = format!("dead letters are kept {}", age(0, u64::try_from(route.dead_letter_max_age.as_millis()).unwrap_or(u64::MAX)));
    let Some(limit) = route.limit else { return kept };
    let events = limit.max_events.map(|most| format!("{most} events"));
    let bytes = limit.max_bytes.map(|most| format!("{most} bytes"));
    let most = events.into_iter().chain(bytes).collect::<Vec<_>>().join(", ");
    format!("backlog of {most} ({:?}); {kept}", limit.on_overflow)
}
