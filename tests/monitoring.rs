//! Alerts, dashboard and documentation speak of metrics that the binary serves, and of labels that these have.
#![allow(clippy::unwrap_used)]

use posthorn::admin::Metrics;
use posthorn::operator::metrics::{OperatorMetrics, StorageState};
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ALERTS: &str = "charts/posthorn/files/alerts.yaml";
const DASHBOARD: &str = "charts/posthorn/files/dashboards/posthorn.json";
const REPOSITORY: &str = "https://github.com/posthorn/posthorn/blob/main/";

/// Labels that a target gets from the chart's PodMonitor and ServiceMonitor.
const OF_TARGETS: [&str; 5] = ["component", "instance", "job", "namespace", "pod"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A page of everything: what begins with the first event of its kind has one.
fn page() -> String {
    let (metrics, operator) = Metrics::with(OperatorMetrics::register);
    operator.set_storage("default", StorageState::Safe);
    metrics.router("default").destinations.filter_errors("shop", "billing", 1);
    let destination = metrics.destination("shop", "billing");
    destination.attempt("failed", "Timeout");
    destination.dead_lettered("Expired");
    metrics.encode()
}

/// Metrics as the binary serves them, with their types, each with its labels; of a histogram its base name.
fn metrics() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    let mut metrics = BTreeMap::new();
    let mut present = String::new();
    for line in page().lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            present = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            let kind = if kind == "info" { "gauge" } else { kind };
            metrics.insert(present.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&present), "{line} is not of {present}");
            let (_, labels) = metrics.get_mut(&present).unwrap();
            labels.extend(label.captures_iter(line).map(|found| found[1].to_owned()).filter(|label| label != "le"));
        }
    }
    metrics
}

/// Series as they are asked for: a histogram is three of them.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let mut series = BTreeMap::new();
    for (name, (kind, labels)) in metrics() {
        if kind == "histogram" {
            let with_bound = labels.iter().cloned().chain(["le".to_owned()]).collect();
            series.insert(format!("{name}_bucket"), with_bound);
            series.insert(format!("{name}_sum"), labels.clone());
            series.insert(format!("{name}_count"), labels);
        } else {
            series.insert(name, labels);
        }
    }
    series
}

/// What a query asks for that is not there.
fn missing(query: &str, series: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let selector = Regex::new(r"\b(posthorn_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r"([a-z_]+) *(?:=~|!~|!=|=)").unwrap();
    let grouping = Regex::new(r"\b(?:by|without|on|ignoring|group_left) *\(([^)]*)\)").unwrap();
    let mut missing = Vec::new();
    let mut labels: BTreeSet<&str> = OF_TARGETS.into();
    for found in selector.captures_iter(query) {
        let Some(known) = series.get(&found[1]) else {
            missing.push(format!("no metric {} in: {query}", &found[1]));
            continue;
        };
        labels.extend(known.iter().map(String::as_str));
        let asked = found.get(2).map_or("", |matchers| matchers.as_str());
        let unknown = matcher.captures_iter(asked).filter(|label| !known.contains(&label[1]) && !OF_TARGETS.contains(&&label[1]));
        missing.extend(unknown.map(|label| format!("{} has no label {}: {query}", &found[1], &label[1])));
    }
    let grouped =
        grouping.captures_iter(query).flat_map(|found| found[1].split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>());
    missing.extend(
        grouped.filter(|name| !name.is_empty() && !labels.contains(name.as_str())).map(|name| format!("no label {name} in: {query}")),
    );
    missing
}

/// Whether brackets and quotes are closed.
fn is_closed(query: &str) -> bool {
    let bare = Regex::new(r#""(?:[^"\\]|\\.)*""#).unwrap().replace_all(query, "");
    let mut open = Vec::new();
    for c in bare.chars() {
        match c {
            '"' => return false,
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

fn alerts() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&read(ALERTS)).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let alerts: Vec<Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
    assert!(alerts.len() > 10);
    alerts
}

/// Everything in a dashboard that is asked of Prometheus.
fn queries(dashboard: &Value) -> Vec<String> {
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter().filter(|variable| variable["type"] == "query");
    let asked = variables.map(|variable| {
        let query = variable["query"]["query"].as_str().unwrap();
        let parts = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.rsplit_once(", "));
        let (series, label) = parts.unwrap_or_else(|| panic!("{query}"));
        format!("sum by ({label}) ({series})")
    });
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).chain(asked.collect::<Vec<_>>()).collect()
}

#[test]
fn each_alert_says_what_it_is_and_leads_to_its_section() {
    let sections = read("docs/alerts.md");
    let sections: Vec<&str> = sections.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let names: Vec<&str> = alerts.iter().map(|alert| alert["alert"].as_str().unwrap()).collect();
    assert_eq!(names, sections, "alerts and sections, in the same order");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each name once");
    let duration = Regex::new(r"^\d+[smh]$").unwrap();
    for alert in &alerts {
        let text = |field: &Value| field.as_str().filter(|text| !text.is_empty()).map(str::to_owned).unwrap_or_else(|| panic!("{alert:#}"));
        let name = text(&alert["alert"]);
        assert!(duration.is_match(&text(&alert["for"])), "{name}");
        assert!(["critical", "warning"].contains(&text(&alert["labels"]["severity"]).as_str()), "{name}");
        assert!(text(&alert["annotations"]["description"]).ends_with('.'), "{name}");
        text(&alert["annotations"]["summary"]);
        let expected = format!("{REPOSITORY}docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(text(&alert["annotations"]["runbook_url"]), expected);
        assert!(is_closed(&text(&alert["expr"])), "{name}");
    }
}

#[test]
fn alerts_and_dashboard_ask_for_what_is_served() {
    let (series, dashboard) = (series(), serde_json::from_str(&read(DASHBOARD)).unwrap());
    let of_alerts = alerts().into_iter().map(|alert| alert["expr"].as_str().unwrap().to_owned());
    let asked: Vec<String> = of_alerts.chain(queries(&dashboard)).collect();
    assert!(asked.len() > 60, "{}", asked.len());
    let wrong: Vec<String> = asked.iter().flat_map(|query| missing(query, &series)).collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(asked.iter().filter(|query| !is_closed(query)).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_query_for_what_is_not_there_is_found() {
    let (series, wrong) = (series(), |query| missing(query, &series()));
    assert_eq!(missing("sum by (bus) (posthorn_router_lag_seconds{bus=\"a\", pod=~\".+\"})", &series), Vec::<String>::new());
    assert!(wrong("posthorn_router_lag").join("").starts_with("no metric posthorn_router_lag in"));
    assert!(wrong("posthorn_ingest_events").join("").starts_with("no metric"), "a counter ends in _total");
    assert!(wrong("posthorn_ingest_duration_seconds").join("").starts_with("no metric"), "a histogram is three series");
    assert!(wrong("posthorn_operator_leader{bus=\"a\"}").join("").starts_with("posthorn_operator_leader has no label bus"));
    assert!(wrong("sum by (state) (posthorn_router_leader)").join("").starts_with("no label state"));
    assert!(is_closed("rate(a{b=\"}\"}[5m])") && !is_closed("rate(a[5m)") && !is_closed("a{b=\"}"));
}

#[test]
fn the_dashboard_is_laid_out_and_its_variables_are_declared() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each id once");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for (x, y) in (side("y")..side("y") + side("h")).flat_map(|y| (side("x")..side("x") + side("w")).map(move |x| (x, y))) {
            assert!(taken.insert((x, y)), "{} lies on another panel", panel["title"]);
        }
        for part in panel["targets"].as_array().into_iter().flatten().chain((panel["type"] != "row").then_some(panel)) {
            assert_eq!(part["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    let list = dashboard["templating"]["list"].as_array().unwrap();
    let declared: BTreeSet<&str> = list.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    let variable = Regex::new(r"\$\{?([a-z_]+)").unwrap();
    for query in queries(&dashboard) {
        let used = variable.captures_iter(&query).map(|found| found[1].to_owned());
        let unknown: Vec<String> = used.filter(|name| name != "__rate_interval" && !declared.contains(name.as_str())).collect();
        assert_eq!(unknown, Vec::<String>::new(), "{query}");
    }
}

#[test]
fn every_metric_is_documented_with_its_labels_and_its_type() {
    let row = Regex::new(r"(?m)^\| `(posthorn_[a-z_]+)(?:\{([a-z_,]+)\})?` \| ([a-z]+) \|").unwrap();
    let page = read("docs/metrics.md");
    let documented = row.captures_iter(&page).map(|found| {
        let labels = found.get(2).map_or("", |labels| labels.as_str()).split(',').filter(|label| !label.is_empty());
        (found[1].to_owned(), (found[3].to_owned(), labels.map(str::to_owned).collect()))
    });
    let documented: Vec<(String, (String, BTreeSet<String>))> = documented.collect();
    assert_eq!(documented.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), documented.len(), "each metric once");
    assert_eq!(documented.into_iter().collect::<BTreeMap<_, _>>(), metrics());
}

#[test]
fn other_pages_name_metrics_that_are_served() {
    let (name, metrics) = (Regex::new(r"`(posthorn_[a-z_]+)").unwrap(), metrics());
    for path in ["docs/alerts.md", "docs/delivery.md", "docs/logging.md", "docs/standalone.md"] {
        let text = read(path);
        let unknown: Vec<&str> =
            name.captures_iter(&text).map(|found| found.get(1).unwrap().as_str()).filter(|name| !metrics.contains_key(*name)).collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{path}");
    }
}
