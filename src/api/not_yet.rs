//! What the schema offers and the data plane does not do yet. Such a field is refused with a sentence, never accepted and ignored.

use serde_json::Value;
use std::sync::LazyLock;

/// Where destinations are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a cluster.
    Cluster,
    /// In one process, from a directory.
    Standalone,
}

/// A field, or one of its values, that is not there yet.
pub struct NotYet {
    /// The field: names joined by `.`, `[]` for the items of a list. All below it is not there either.
    pub path: String,
    /// Other fields that only mean something beside it.
    pub with: &'static [&'static str],
    /// What is said.
    pub sentence: &'static str,
    when: fn(&Value) -> bool,
    only_in: Option<Place>,
}

/// A field that was found and is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The field: `spec.ordering.mode`.
    pub path: String,
    /// What is said.
    pub sentence: &'static str,
}

impl NotYet {
    fn new(path: impl Into<String>, when: fn(&Value) -> bool, sentence: &'static str) -> NotYet {
        NotYet { path: path.into(), with: &[], sentence, when, only_in: None }
    }

    fn with(mut self, with: &'static [&'static str]) -> NotYet {
        self.with = with;
        self
    }

    fn only_in(mut self, place: Place) -> NotYet {
        self.only_in = Some(place);
        self
    }

    /// Whether a field of the schema is this one, lies below it or goes with it.
    pub fn covers(&self, field: &str) -> bool {
        let below = |path: &str| field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        below(&self.path) || self.with.iter().any(|path| below(path))
    }
}

fn present(_: &Value) -> bool {
    true
}

static ALL: LazyLock<Vec<NotYet>> = LazyLock::new(|| {
    vec![
        NotYet::new("spec.sink.http.ref", present, "sink.http.ref needs a cluster; give the address as uri").only_in(Place::Standalone),
        NotYet::new("spec.deletionPolicy", |it| it == "Drain", "deletionPolicy: Drain needs a cluster; use Discard")
            .with(&["spec.drainTimeout"])
            .only_in(Place::Standalone),
    ]
});

/// All of it.
pub fn all() -> &'static [NotYet] {
    &ALL
}

/// What a valid object uses of it.
pub fn find(object: &Value, place: Place) -> Vec<Found> {
    let here = all().iter().filter(|row| row.only_in.is_none_or(|only| only == place));
    here.flat_map(|row| {
        let used = values_at(object, &row.path).into_iter().filter(|(_, value)| (row.when)(value));
        used.map(|(path, _)| Found { path, sentence: row.sentence })
    })
    .collect()
}

/// What has no effect outside a cluster, though it may be given.
pub fn notes(object: &Value, place: Place) -> Vec<Found> {
    let sentence = "isolation has no effect outside a cluster: all destinations run in one process";
    let isolation = object["spec"].get("isolation").filter(|_| place == Place::Standalone);
    isolation.map(|_| Found { path: "spec.isolation".into(), sentence }).into_iter().collect()
}

/// The values at a schema path, each with its own path.
fn values_at<'a>(object: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let mut found = vec![(String::new(), object)];
    for step in path.split('.') {
        let (name, items) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let fields = found.into_iter().filter_map(|(path, value)| Some((path, value.get(name)?)));
        let named = fields.map(|(path, value)| if path.is_empty() { (name.to_owned(), value) } else { (format!("{path}.{name}"), value) });
        found = if items { named.flat_map(items_of).collect() } else { named.collect() };
    }
    found
}

fn items_of((path, value): (String, &Value)) -> Vec<(String, &Value)> {
    let items = value.as_array().into_iter().flatten().enumerate();
    items.map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_needs_a_cluster_is_refused_outside_one_only() {
        let object = json!({"spec": {"isolation": "Shared", "deletionPolicy": "Drain", "sink": {"http": {"ref": {"name": "billing"}}}}});
        assert_eq!(find(&object, Place::Cluster), []);
        assert_eq!(find(&object, Place::Standalone).len(), 2);
        assert_eq!((notes(&object, Place::Cluster).len(), notes(&object, Place::Standalone).len()), (0, 1));
    }

    #[test]
    fn every_sentence_names_its_field() {
        for row in all() {
            let name = row.path.rsplit('.').next().unwrap_or_default();
            assert!(row.sentence.contains(name), "{}: {}", row.path, row.sentence);
        }
    }
}
