//! `kubectl posthorn`: a script stands for kubectl, writes down what it is asked, and runs here what it should run in the pod.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// `exec … -- posthorn …` runs the binary with the environment of the operator's pod; the rest answers what a cluster would.
const KUBECTL: &str = r#"#!/bin/sh
printf '%s\n' "$*" >> "$RECORD"
while :; do case $1 in --context | --kubeconfig) shift 2 ;; *) break ;; esac; done
case $1 in
get) printf "$OPERATORS" ;;
config) printf shop ;;
exec)
    while [ "$1" != -- ]; do shift; done
    shift 2
    exec env -u POSTHORN_NAMESPACE POSTHORN_REDIS_URL="redis://127.0.0.1:1" "$POSTHORN" "$@" ;;
esac
"#;

/// A PATH with the plugin and with what stands for kubectl.
struct Kubectl(TempDir);

impl Kubectl {
    fn new() -> Kubectl {
        let dir = TempDir::with_prefix("posthorn-plugin-").unwrap();
        let script = dir.path().join("kubectl");
        std::fs::write(&script, KUBECTL).unwrap();
        std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["kubectl-posthorn", "kubectl_complete-posthorn"] {
            symlink(env!("CARGO_BIN_EXE_posthorn"), dir.path().join(name)).unwrap();
        }
        Kubectl(dir)
    }

    /// Runs the plugin; the cluster has operators in these namespaces.
    fn run(&self, name: &str, args: &[&str], operators: &str, env: &[(&str, &str)]) -> Output {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(self.0.path().join(name));
        command.args(args).env_clear().env("PATH", path).env("RECORD", self.record()).env("OPERATORS", operators);
        command.env("POSTHORN", env!("CARGO_BIN_EXE_posthorn")).env("HOME", self.0.path()).envs(env.iter().copied());
        let input = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
    }

    fn record(&self) -> std::path::PathBuf {
        self.0.path().join("record")
    }

    /// What kubectl was asked since the last look.
    fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.record()).unwrap_or_default();
        let _ = std::fs::remove_file(self.record());
        asked.lines().map(str::to_owned).collect()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const LOOK: &str = "get deployments -A -l app.kubernetes.io/name=posthorn,app.kubernetes.io/component=operator -o \
                    jsonpath={range .items[*]}{.metadata.namespace}{\"\\n\"}{end}";

#[test]
fn a_command_runs_in_the_pod_of_the_operator_with_the_namespace_of_the_context() {
    let kubectl = Kubectl::new();
    let run = |args: &[&str]| kubectl.run("kubectl-posthorn", args, "posthorn-system\n", &[]);
    let output = run(&["dead", "list", "billing", "--context", "blue", "--kubeconfig=/k"]);
    // it ran there: nobody answers at the address of the pod's environment
    assert!(text(&output).contains("no connection to Redis at redis://127.0.0.1:1"), "{}", text(&output));
    assert_eq!(output.status.code(), Some(1));
    let flags = "--context blue --kubeconfig /k";
    let exec = "exec -n posthorn-system deploy/posthorn-operator -- posthorn";
    assert_eq!(
        kubectl.asked(),
        [
            format!("{flags} config view --minify -o jsonpath={{..namespace}}"),
            format!("{flags} {LOOK}"),
            format!("{flags} {exec} dead list billing --namespace=shop"),
        ]
    );
    run(&["get", "-n", "team"]);
    assert_eq!(kubectl.asked(), [LOOK.to_owned(), format!("{exec} get -n team")]);
    let named = kubectl.run("kubectl-posthorn", &["check"], "", &[("POSTHORN_NAMESPACE", "events")]);
    assert_eq!(named.status.code(), Some(1));
    assert_eq!(kubectl.asked(), ["exec -n events deploy/posthorn-operator -- posthorn check"]);
    run(&["send", "--file", "-", "--retry-for", "1s"]);
    assert_eq!(kubectl.asked()[1], format!("{} send --file - --retry-for 1s", exec.replace("exec", "exec -i")));
}

#[test]
fn what_needs_no_cluster_asks_for_none() {
    let kubectl = Kubectl::new();
    let run = |args: &[&str], env: &[(&str, &str)]| kubectl.run("kubectl-posthorn", args, "posthorn-system\n", env);
    assert!(text(&run(&["--help"], &[])).contains("Usage: kubectl posthorn"));
    assert!(text(&run(&["man"], &[])).contains(".TH POSTHORN 1"));
    let wrong = run(&["get", "--nonsense"], &[]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("Usage: kubectl posthorn get"), "{}", text(&wrong));
    for (args, env) in
        [(&["get", "--redis", "redis://127.0.0.1:2"][..], &[][..]), (&["get"], &[("POSTHORN_REDIS_URL", "redis://127.0.0.1:2")])]
    {
        assert!(text(&run(args, env)).contains("redis://127.0.0.1:2"));
    }
    assert_eq!(kubectl.asked(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_done_in_the_cluster_is_refused_with_what_to_do() {
    let kubectl = Kubectl::new();
    let run = |args: &[&str], operators: &str| text(&kubectl.run("kubectl-posthorn", args, operators, &[]));
    let file = run(&["send", "--file", "events.jsonl"], "posthorn-system\n");
    assert!(file.contains("kubectl posthorn send --file - < FILE"), "{file}");
    let export = run(&["dead", "export", "billing", "-o", "x"], "posthorn-system\n");
    assert!(export.contains("kubectl posthorn dead export NAME > FILE"), "{export}");
    assert_eq!(kubectl.asked(), Vec::<String>::new());
    let none = run(&["check"], "");
    assert!(none.contains("no operator of Posthorn") && none.contains("POSTHORN_NAMESPACE"), "{none}");
    let several = run(&["check"], "a\\nb\\n");
    assert!(several.contains("operators in a, b; choose one by POSTHORN_NAMESPACE"), "{several}");
    std::fs::remove_file(kubectl.0.path().join("kubectl")).unwrap();
    let nowhere = kubectl.run("kubectl-posthorn", &["check"], "", &[("PATH", "/nowhere")]);
    assert!(text(&nowhere).contains("is it on the PATH?"), "{}", text(&nowhere));
}

#[test]
fn kubectl_is_told_how_a_line_may_go_on() {
    let kubectl = Kubectl::new();
    let output = kubectl.run("kubectl_complete-posthorn", &["dead", "re"], "", &[]);
    assert_eq!(text(&output), "redrive\tPuts dead letters back, so that they are delivered again, oldest first\n:4\n");
}
