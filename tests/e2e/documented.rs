//! What `docs/getting-started-cluster.md` tells a beginner to type, given to a shell, one block after the other.

use crate::support::tools::{kubectl, ok};
use crate::support::{PATIENCE, Scene, eventually_within, holds, settings};
use pages::{Page, read, root, typed};
use regex::Regex;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[allow(dead_code, reason = "it has what the tests of the pages need")]
#[path = "../docs/pages.rs"]
mod pages;

const PAGE: &str = "docs/getting-started-cluster.md";

/// How lines begin that are not typed here: the image, the release and the plugin are there before, and `hack/e2e.sh` removes the release.
const DONE_ELSEWHERE: &[&str] =
    &["export IMAGE=", "docker ", "helm ", "cargo ", "ln ", "kubectl delete namespace posthorn-system", "kubectl delete crd "];

/// What the receiver of the moment has accepted at each `kubectl logs`.
const LOGS: &[&[&str]] = &[&["1"], &["2", "3", "4"], &["5"]];

/// `kubectl port-forward`, until it is dropped.
struct Forward(Child, u16);

impl Forward {
    /// To a free port.
    fn start(line: &str) -> Forward {
        let line = line.replace(" 8080:", " :");
        let mut child = Command::new("sh").args(["-c", &format!("exec {line}")]).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is a pipe")).read_line(&mut told).unwrap();
        let port =
            Regex::new(r"127\.0\.0\.1:(\d+) ->").unwrap().captures(&told).unwrap_or_else(|| panic!("{line}: {told}"))[1].parse().unwrap();
        Forward(child, port)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Types a block in a folder that has the saved files, and the plugin in `bin`.
fn run(folder: &Path, script: &str) {
    let image = settings::image();
    let (repository, tag) = image.rsplit_once(':').expect("hack/e2e.sh wants a tag");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder.join("bin")).chain(std::env::split_paths(&path))).unwrap();
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(folder).env("PATH", path).env("IMAGE", repository).env("TAG", tag).stdin(Stdio::null());
    let output = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{PAGE}: {}\n{script}\n{out}{error}", output.status);
}

/// Ids of the events that the receiver of the moment has accepted.
fn accepted(namespace: &str) -> Vec<String> {
    let log = kubectl(&["logs", "-n", namespace, "deployment/receiver"]);
    let text = String::from_utf8_lossy(&log.stdout).into_owned();
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(4) == Some(&"accepted")).filter_map(|row| row.last().map(|id| (*id).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the installation that hack/e2e.sh makes"]
async fn the_first_steps_on_a_cluster_lead_where_the_page_says() {
    let mut scene = Scene::open("documented");
    // the page makes it
    ok(&["delete", "namespace", &scene.namespace, "--timeout=120s"]);
    let names = |text: &str| {
        let text = text.replace("posthorn-system", &settings::release_namespace());
        Regex::new(r"\bshop\b").unwrap().replace_all(&text, &scene.namespace).into_owned()
    };
    let page = Page { path: PAGE.into(), text: read(&root().join(PAGE)) };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_posthorn"), folder.path().join("bin/kubectl-posthorn")).unwrap();
    let saved = Regex::new(r"(?s)Save this as `([^`]+)`:\n\n```yaml\n(.*?)```").unwrap();
    for file in saved.captures_iter(&page.text) {
        std::fs::write(folder.path().join(&file[1]), names(&file[2])).unwrap();
    }

    let (mut forward, mut logs) = (None, LOGS.iter());
    for block in page.blocks().iter().filter(|block| block.language == "sh") {
        let lines: Vec<String> =
            typed(block).into_iter().filter(|line| !DONE_ELSEWHERE.iter().any(|beginning| line.starts_with(beginning))).collect();
        let script = names(&lines.join("\n"));
        if script.starts_with("kubectl port-forward ") {
            forward = Some(Forward::start(&script));
            continue;
        }
        let port = forward.as_ref().map_or(8080, |Forward(_, port)| *port);
        run(folder.path(), &script.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}")));
        if script.starts_with("kubectl create namespace ") {
            scene.mark();
        }
        if script.contains("kubectl logs ") {
            let wanted = logs.next().unwrap_or_else(|| panic!("{}: what should be in this log?", block.place));
            eventually_within(PATIENCE, &format!("{}: the receiver has accepted {wanted:?}", block.place), async || {
                let found = accepted(&scene.namespace);
                holds(found == *wanted, || format!("{found:?}"))
            })
            .await;
        }
    }
    assert_eq!(logs.count(), 0, "{PAGE} shows fewer logs");
    scene.line.count(LOGS.iter().map(|ids| ids.len()).sum(), 0);
    scene.end();
}
