//! `helm`, and what it renders.

use posthorn::api::manifest;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The namespace that charts are rendered for.
pub const NAMESPACE: &str = "events";

/// The values in `charts/posthorn/ci`; empty: the defaults.
pub const ALL_VALUES: [&str; 3] = ["", "minimal", "maximal"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs `helm` in the chart's folder.
pub fn helm(args: &[&str]) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let output = Command::new(root().join("hack/helm.sh")).stderr(std::process::Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "hack/helm.sh failed: see above");
        String::from_utf8(output.stdout).unwrap().trim().into()
    });
    Command::new(program).args(args).current_dir(root().join("charts/posthorn")).env_remove("KUBECONFIG").output().unwrap()
}

/// The flag for one of [`ALL_VALUES`].
pub fn values_flag(values: &str) -> Vec<String> {
    if values.is_empty() { Vec::new() } else { vec![format!("--values=ci/{values}-values.yaml")] }
}

/// What `helm template` says of a chart that it refuses; the documents otherwise.
pub fn try_render(args: &[&str]) -> Result<Vec<Value>, String> {
    let output = helm(&[&["template", "green", ".", "--namespace", NAMESPACE], args].concat());
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let (documents, problems) = manifest::read("rendered", &String::from_utf8(output.stdout).unwrap());
    assert_eq!(problems, []);
    Ok(documents.iter().map(|document| document.value().clone()).collect())
}

pub fn render(args: &[&str]) -> Vec<Value> {
    try_render(args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// What a file of values makes: a number in it is another one than on a command line.
pub fn try_render_file(values: &str) -> Result<Vec<Value>, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values).unwrap();
    try_render(&["--values", file.path().to_str().unwrap()])
}

/// What one of [`ALL_VALUES`] makes.
pub fn render_values(values: &str) -> Vec<Value> {
    let flag = values_flag(values);
    render(&flag.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The one object of this kind and name.
pub fn found<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    find(objects, kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

pub fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
}
