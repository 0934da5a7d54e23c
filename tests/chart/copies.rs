//! What exists twice is the same: the definition, the roles, the manifests, the table of values.

use crate::helm::{NAMESPACE, found, read, render_values, root};
use posthorn::api::crd::crd_json;
use posthorn::generate::rbac;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// Without what only the chart adds.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("annotations");
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|label, _| !label.starts_with("app.kubernetes.io/") && !label.starts_with("helm.sh/"));
    }
    if metadata.get("labels").is_some_and(|labels| labels.as_object().is_some_and(serde_json::Map::is_empty)) {
        metadata.remove("labels");
    }
    object
}

#[test]
fn the_chart_has_the_definition_as_it_is_generated() {
    let objects = render_values("");
    assert_eq!(bare(found(&objects, "CustomResourceDefinition", "eventdestinations.posthorn.dev")), bare(&crd_json()));
}

#[test]
fn the_chart_has_the_roles_as_they_are_generated() {
    let objects = render_values("");
    for object in rbac::objects(NAMESPACE) {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        assert_eq!(bare(found(&objects, kind, name)), bare(&object), "{kind} {name}");
    }
}

#[test]
fn the_manifests_are_what_the_chart_makes() {
    let output = Command::new(root().join("hack/manifests.sh")).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_kustomization_of_ones_own_names_the_image_of_every_role() {
    let page = read("docs/chart.md");
    let block = page.split("```yaml\n").find(|block| block.contains("kind: Kustomization\n")).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root(), folder.path().join("posthorn")).unwrap();
    let mine = folder.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("kustomization.yaml"), block).unwrap();
    let programs = Command::new(root().join("hack/apiserver.sh")).output().unwrap();
    let kubectl = format!("{}/kubectl", String::from_utf8(programs.stdout).unwrap().trim());
    let output = Command::new(kubectl).arg("kustomize").arg(&mine).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    // three roles, and the variable for the workers
    assert_eq!((made.matches(": registry.example/posthorn:0.1.0\n").count(), made.matches("ghcr.io/").count()), (4, 0));
}

#[test]
fn the_versions_of_the_chart_are_that_of_the_binary() {
    let chart: Value = serde_saphyr::from_str(&read("charts/posthorn/Chart.yaml")).unwrap();
    assert_eq!(
        (chart["version"].as_str(), chart["appVersion"].as_str()),
        (Some(env!("CARGO_PKG_VERSION")), Some(env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn the_table_has_every_value() {
    let readme = read("charts/posthorn/README.md");
    let rows: BTreeSet<&str> = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(path, _)| path)).collect();
    let values: Value = serde_saphyr::from_str(&read("charts/posthorn/values.yaml")).unwrap();
    let mut missing = Vec::new();
    leaves(&values, "", &mut |path| {
        // what is below a described value belongs to it: resources, constraints
        let described = path.match_indices('.').map(|(at, _)| &path[..at]).chain([path]).any(|part| rows.contains(part));
        if !described {
            missing.push(path.to_owned());
        }
    });
    assert_eq!(missing, Vec::<String>::new());
}

fn leaves(value: &Value, path: &str, see: &mut impl FnMut(&str)) {
    match value.as_object().filter(|members| !members.is_empty()) {
        Some(members) => {
            for (name, value) in members {
                leaves(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, see);
            }
        }
        None => see(path),
    }
}
