//! Two looks at all destinations, and the rates between them.

use crate::bus::overview::{MOST_UNROUTED, Overview, overview};
use crate::bus::state::Snapshot;
use crate::bus::{Link, routing};
use crate::cli::all::snapshots;
use crate::cli::table::{Table, age};
use crate::plan::Route;
use crate::status::delivering;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// One look.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    bus: Overview,
    destinations: BTreeMap<String, (Route, Snapshot)>,
}

/// What happened between two looks.
#[derive(Clone, Debug)]
pub(super) struct Rates {
    now: u64,
    accepted: f64,
    behind: u64,
    rows: Vec<Row>,
}

/// One destination.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    state: String,
    backlog: u64,
    incoming: f64,
    outgoing: f64,
    retries: f64,
    oldest: Option<u64>,
    dead_letters: u64,
}

impl Sample {
    pub(super) async fn take(link: &Link, bus: &str, namespace: Option<&str>) -> anyhow::Result<Sample> {
        let mut routes = routing::routes(link, bus).await?;
        routes.retain(|_, route| namespace.is_none_or(|namespace| route.namespace == namespace));
        let found = snapshots(link, bus, routes).await?;
        let destinations = found.into_iter().map(|(uid, route, snapshot)| (uid, (route, snapshot))).collect();
        Ok(Sample { bus: overview(link, bus).await?, destinations })
    }
}

impl Rates {
    pub(super) fn between(before: &Sample, now: &Sample) -> Rates {
        let mut rows: Vec<Row> = now
            .destinations
            .iter()
            .map(|(uid, (route, snapshot))| Row::new(route, snapshot, before.destinations.get(uid).map(|(_, before)| before)))
            .collect();
        rows.sort_by(|a, b| (Reverse(a.backlog), &a.name).cmp(&(Reverse(b.backlog), &b.name)));
        let accepted = rate(before.bus.accepted, now.bus.accepted, now.bus.now.saturating_sub(before.bus.now));
        Rates { now: now.bus.now, accepted, behind: now.bus.behind, rows }
    }

    /// The table alone.
    pub(super) fn table(&self) -> String {
        let headers = vec!["NAME", "STATUS", "BACKLOG", "IN/S", "OUT/S", "RETRY/S", "OLDEST", "DEAD"];
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.cells(self.now)).collect();
        if rows.is_empty() { "No destinations.\n".to_owned() } else { Table::new(headers).rows(&rows) }
    }

    /// The table below a line about the bus.
    pub(super) fn page(&self, bus: &str) -> String {
        let more = if self.behind < MOST_UNROUTED { "" } else { "+" };
        let waiting: u64 = self.rows.iter().map(|row| row.backlog).sum();
        let head = format!("bus {bus}: {} accepted/s, {}{more} not routed yet, {waiting} wait", number(self.accepted), self.behind);
        format!("{head}; q ends\n\n{}", self.table())
    }

    /// One line for programs.
    pub(super) fn json(&self) -> String {
        let destinations: Vec<Value> = self.rows.iter().map(|row| row.object(self.now)).collect();
        json!({"acceptedPerSecond": rounded(self.accepted), "unrouted": self.behind, "destinations": destinations}).to_string()
    }
}

impl Row {
    /// A destination that was not there at the look before has no rates yet.
    fn new(route: &Route, now: &Snapshot, before: Option<&Snapshot>) -> Row {
        let before = before.unwrap_or(now);
        let millis = now.now.saturating_sub(before.now);
        Row {
            name: route.full_name(),
            state: delivering(now, route).reason,
            backlog: now.backlog,
            incoming: rate(before.routed, now.routed, millis),
            outgoing: rate(before.settled, now.settled, millis),
            retries: rate(before.retried, now.retried, millis),
            oldest: now.head.as_ref().map(|head| head.sequence.ms),
            dead_letters: now.dead_letters,
        }
    }

    fn cells(&self, now: u64) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.clone(),
            self.backlog.to_string(),
            number(self.incoming),
            number(self.outgoing),
            number(self.retries),
            self.oldest.map(|oldest| age(oldest, now)).unwrap_or_default(),
            self.dead_letters.to_string(),
        ]
    }

    fn object(&self, now: u64) -> Value {
        json!({
            "name": self.name,
            "state": self.state,
            "backlog": self.backlog,
            "inPerSecond": rounded(self.incoming),
            "outPerSecond": rounded(self.outgoing),
            "retriesPerSecond": rounded(self.retries),
            "oldestSeconds": self.oldest.map(|oldest| now.saturating_sub(oldest) / 1000),
            "deadLetters": self.dead_letters,
        })
    }
}

/// A second; counters that went back were lost, and begin again.
fn rate(before: u64, now: u64, millis: u64) -> f64 {
    now.saturating_sub(before) as f64 * 1000.0 / millis.max(1) as f64
}

/// One decimal where the number is small.
fn number(rate: f64) -> String {
    match rate {
        _ if rate == 0.0 => "0".to_owned(),
        _ if rate < 10.0 => format!("{rate:.1}"),
        _ => format!("{rate:.0}"),
    }
}

fn rounded(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::route;

    fn sample(now: u64, accepted: u64, destinations: &[(&str, Snapshot)]) -> Sample {
        let one = |(name, snapshot): &(&str, Snapshot)| {
            ((*name).to_owned(), (Route { name: (*name).to_owned(), ..route() }, Snapshot { now, ..snapshot.clone() }))
        };
        Sample { bus: Overview { now, accepted, ..Overview::default() }, destinations: destinations.iter().map(one).collect() }
    }

    fn running(backlog: u64, routed: u64, settled: u64) -> Snapshot {
        Snapshot { owned: true, state: Some("Active".into()), backlog, routed, settled, ..Snapshot::default() }
    }

    #[test]
    fn rates_are_differences_by_the_clock_of_redis_and_the_largest_backlog_comes_first() {
        let before = sample(10_000, 100, &[("a", running(0, 10, 10)), ("b", running(5, 10, 5))]);
        let now = sample(12_000, 400, &[("a", running(1, 13, 12)), ("b", running(105, 310, 205)), ("new", running(0, 7, 7))]);
        let rates = Rates::between(&before, &now);
        let cells: Vec<String> = rates.rows.iter().map(|row| row.cells(now.bus.now)[..5].join(" ")).collect();
        assert_eq!(cells, ["default/b Active 105 150 100", "default/a Active 1 1.5 1.0", "default/new Active 0 0 0"]);
        assert!(rates.page("default").starts_with("bus default: 150 accepted/s, 0 not routed yet, 106 wait"), "{}", rates.page("default"));
        let line: Value = serde_json::from_str(&rates.json()).unwrap();
        assert_eq!((&line["destinations"][1]["inPerSecond"], &line["acceptedPerSecond"]), (&json!(1.5), &json!(150.0)));
    }

    #[test]
    fn counters_that_began_again_are_no_negative_rate() {
        let (before, now) = (sample(0, 9, &[("a", running(0, 9, 9))]), sample(1000, 0, &[("a", running(0, 0, 0))]));
        assert_eq!(Rates::between(&before, &now).rows[0].incoming, 0.0);
    }
}
