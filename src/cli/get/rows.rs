//! One destination as a row of the table and as an object.

use super::Found;
use crate::api::status::EventDestinationStatus;
use crate::api::{API_VERSION, KIND};
use crate::bus::state::Snapshot;
use crate::cli::table::age;
use crate::status::status;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// Which columns are shown: those of the resource's `additionalPrinterColumns`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// The namespace too.
    pub(super) namespace: bool,
    /// Those of lower priority too.
    pub(super) wide: bool,
}

impl Columns {
    pub(super) fn headers(self) -> Vec<&'static str> {
        let namespace = self.namespace.then_some("NAMESPACE");
        let always = ["NAME", "READY", "STATUS", "BACKLOG", "RETRIES", "DELIVERED", "DEAD", "OLDEST", "AGE"];
        let wide = ["ATTEMPT", "CODE", "LAST-OK", "URL"].into_iter().filter(|_| self.wide);
        namespace.into_iter().chain(always).chain(wide).collect()
    }

    /// The cells; empty for what is not there, as kubectl does.
    pub(super) fn row(self, found: &Found) -> Vec<String> {
        let status = status(&found.snapshot, &found.route);
        let condition = |kind: &str| status.conditions.iter().find(|condition| condition.r#type == kind);
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let since = |time: Option<&Time>| time.map(|time| age(milliseconds(time.0), found.snapshot.now)).unwrap_or_default();
        let mut row: Vec<String> = self.namespace.then(|| found.route.namespace.clone()).into_iter().collect();
        row.extend([
            found.route.name.clone(),
            condition("Ready").map(|condition| format!("{:?}", condition.status)).unwrap_or_default(),
            condition("Delivering").map(|condition| condition.reason.clone()).unwrap_or_default(),
            number(status.backlog),
            number(status.retries),
            number(status.delivered),
            number(status.dead_letters),
            since(status.oldest_pending_time.as_ref()),
            since(found.route.created.parse().ok().map(Time).as_ref()),
        ]);
        if self.wide {
            let head = status.head.unwrap_or_default();
            row.extend([
                number(head.attempts.map(i64::from)),
                number(head.last_status_code.map(i64::from)),
                since(status.last_delivery_time.as_ref()),
                status.sink_uri.unwrap_or_default(),
            ]);
        }
        row
    }
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or_default()
}

/// Whether they differ in more than the time at which they were read.
pub(super) fn differ(before: &Found, after: &Found) -> bool {
    let timeless = |found: &Found| Found { snapshot: Snapshot { now: 0, ..found.snapshot.clone() }, ..found.clone() };
    timeless(before) != timeless(after)
}

/// The resource, as far as Redis holds it: of `spec` the bus, the filters and whether it is suspended.
pub(super) fn object(found: &Found, bus: &str) -> Value {
    let (route, status): (_, EventDestinationStatus) = (&found.route, status(&found.snapshot, &found.route));
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": route.name,
            "namespace": route.namespace,
            "uid": found.uid,
            "generation": route.rev,
            "creationTimestamp": route.created,
        },
        "spec": {"bus": bus, "suspend": route.suspend, "filters": route.filters},
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::state::Head;
    use crate::event::Sequence;
    use crate::filter::Filter;
    use crate::plan::{Route, RouteState};
    use std::time::Duration;

    const NOW: u64 = 1_764_000_332_000;

    fn found() -> Found {
        let route = Route {
            owner: String::new(),
            rev: 2,
            namespace: "default".into(),
            name: "billing".into(),
            created: "2025-11-21T12:00:00Z".into(),
            sink_uri: "https://billing.example/hooks".into(),
            filters: vec![Filter::Prefix([("type".to_owned(), "com.example.".to_owned())].into())],
            state: RouteState::Open,
            suspend: false,
            dead_letter_max_age: Duration::from_secs(1),
            limit: None,
            dead_letters_to: None,
            unresolved: None,
        };
        let head = Head {
            sequence: Sequence { ms: NOW - 332_000, seq: 0 },
            id: "e".into(),
            event_type: "t".into(),
            attempts: 4,
            first: None,
            next: None,
            code: Some(503),
            class: Some("ServerError".into()),
            message: None,
        };
        let snapshot = Snapshot {
            now: NOW,
            backlog: 1204,
            retried: 87,
            settled: 91_233,
            dead_letters: 2,
            owned: true,
            state: Some("Retrying".into()),
            last_ok: Some(NOW - 5000),
            head: Some(head),
            ..Snapshot::default()
        };
        Found { uid: "u1".into(), route, snapshot }
    }

    #[test]
    fn the_cells_are_those_of_the_printer_columns() {
        let row = Columns { namespace: true, wide: true }.row(&found());
        let expected = "default billing True Retrying 1204 87 91233 2 5m32s 3d4h 4 503 5s https://billing.example/hooks";
        assert_eq!(row.join(" "), expected);
        assert_eq!(row.len(), Columns { namespace: true, wide: true }.headers().len());
        let narrow = Columns { namespace: false, wide: false };
        assert_eq!(narrow.row(&found()), row[1..10]);
    }

    #[test]
    fn the_columns_are_those_of_the_resource() {
        let crd = crate::api::crd::crd_json();
        let columns = crd.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array).expect("it has columns");
        let name = |column: &Value| column["name"].as_str().unwrap_or_default().to_uppercase();
        let names: Vec<String> = columns.iter().map(name).collect();
        assert_eq!(Columns { namespace: false, wide: true }.headers()[1..], names);
    }

    #[test]
    fn a_later_look_at_the_same_is_no_change() {
        let before = found();
        let mut after = found();
        after.snapshot.now += 1000;
        assert!(!differ(&before, &after));
        after.snapshot.retried += 1;
        assert!(differ(&before, &after));
    }

    #[test]
    fn the_object_has_what_redis_holds() {
        let object = object(&found(), "default");
        assert_eq!(object["metadata"]["uid"], "u1");
        assert_eq!(object["spec"]["filters"], json!([{"prefix": {"type": "com.example."}}]));
        assert_eq!(object["status"]["backlog"], 1204);
    }
}
