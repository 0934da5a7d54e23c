//! What `docs/commands.md` shows is what the commands print: each block of a session is typed again on a real installation. What changes from run
//! to run (times, numbers, sequences) is not compared. `hack/commands-docs.sh` writes the page anew.

use crate::support::eventually;
use crate::support::eventually::holds;
use crate::support::home::{Home, Standalone};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use regex::Regex;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Set by `hack/commands-docs.sh`.
const WRITE: &str = "POSTHORN_WRITE_COMMANDS_DOCS";

/// Sessions that are not typed again: they end with Ctrl-C, or leave lines out.
const APART: [&str; 3] = ["posthorn receiver", "posthorn generate", "posthorn get crm -o yaml"];
/// What these say depends on how fast the worker is.
const RACES: [&str; 1] = ["posthorn retry"];
/// Ports that the page shows instead of those of the run.
const PORTS: [u16; 3] = [9001, 9002, 9003];

/// An installation with three destinations: one does well, one is blocked, one is halted.
struct Installation {
    home: Home,
    dir: TempDir,
    receivers: Vec<Receiver>,
    _standalone: Standalone,
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md")
}

fn manifests(urls: &[String]) -> [(&'static str, String); 3] {
    let manifest = |name: &str, uri: &str, http: &str, spec: &str| {
        format!(
            "apiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata: {{name: {name}}}\nspec:\n  sink:\n    http:\n      uri: {uri}\n{http}{spec}"
        )
    };
    let billing = "      headers: [{name: X-Team, value: shop}]\n      signing: {secretKeyRefs: [{name: billing, key: signing}]}\n";
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: billing, labels: {posthorn.dev/allow: 'true'}}\nstringData: {signing: \
                  whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0}\n";
    let wants = "  filters: [{prefix: {type: com.example.order.}}, {not: {exact: {source: /test}}}]\n  delivery: {retry: 0}\n";
    let blocks =
        "  filters: [{exact: {type: com.example.order.shipped}}]\n  delivery: {retry: 1, backoffDelay: 100ms, onExhausted: Block}\n";
    [
        ("billing.yaml", manifest("billing", &format!("{}hooks", urls[0]), billing, wants) + secret),
        ("shipping.yaml", manifest("shipping", &urls[1], "", blocks)),
        ("crm.yaml", manifest("crm", &urls[2], "", "  filters: [{exact: {type: com.example.order.shipped}}]\n")),
    ]
}

impl Installation {
    async fn start() -> Installation {
        let garbled = |seen: &posthorn::receiver::Seen| seen.event_type() == Some("com.example.order.garbled");
        let behaviours = [
            Behaviour::new(move |seen| Answer::Status(if garbled(seen) { 422 } else { 204 })),
            Behaviour::always(Answer::Status(503)),
            Behaviour::always(Answer::Status(401)),
        ];
        let (mut home, dir, mut receivers) = (Home::new(), TempDir::with_prefix("posthorn-docs-").unwrap(), Vec::new());
        for behaviour in behaviours {
            receivers.push(Receiver::start(behaviour).await.unwrap());
        }
        let urls: Vec<String> = receivers.iter().map(Receiver::url).collect();
        manifests(&urls).iter().for_each(|(file, text)| home.write(file, text));
        std::os::unix::fs::symlink(home.folder(), dir.path().join("destinations")).unwrap();
        let event = r#"{"specversion":"1.0","id":"b4","source":"/shops/cadiz","type":"com.example.order.placed","data":{"order": 4}}"#;
        let bad = "apiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata:\n  name: shipping\nspec:\n  filters:\n  - exact: {type: a}\n  sink:\n    \
                   http:\n      uri: 127.0.0.1:9002\n  delivery:\n    backoffDelay: 5 seconds\n";
        std::fs::write(dir.path().join("event.json"), event).unwrap();
        std::fs::write(dir.path().join("bad.yaml"), bad).unwrap();
        let standalone = home.start(&["--max-memory", "1Gi"]).await;
        let installation = Installation { home, dir, receivers, _standalone: standalone };
        installation.fill().await;
        installation
    }

    /// Brings every destination into its state.
    async fn fill(&self) {
        let send = |event_type: &str, id: &str, data: &str| {
            let line = format!("posthorn send --type com.example.order.{event_type} --source /shops/cadiz --id {id} --data '{data}'");
            assert!(self.run(&line).contains("stored as"), "{line}");
        };
        for id in ["b1", "b2", "b3"] {
            send("placed", id, "{\"order\": 1}");
        }
        send("garbled", "g1", "{\"order\": null}");
        send("garbled", "g2", "{\"order\": null}");
        send("shipped", "s1", "{\"order\": 1}");
        send("shipped", "s2", "{\"order\": 2}");
        self.settled().await;
        eventually("every destination in its state", async || {
            let table = self.run("posthorn get");
            let is = |name: &str, state: &str| table.lines().any(|line| line.starts_with(name) && line.contains(state));
            holds(is("billing", "Idle") && is("crm", "Halted") && is("shipping", "Blocked"), || table.clone())
        })
        .await;
    }

    /// Waits until billing owes nothing.
    async fn settled(&self) {
        eventually("billing owes nothing", async || {
            let (router, row) = (self.run("posthorn check"), self.run("posthorn get billing"));
            let backlog = row.lines().nth(1).and_then(|row| row.split_whitespace().nth(3)).map(str::to_owned);
            holds(router.contains("all that was accepted is routed") && backlog.as_deref() == Some("0"), || router.clone() + &row)
        })
        .await;
    }

    /// What a command line prints, both streams; the ports are those of the page.
    fn run(&self, line: &str) -> String {
        let binary = Path::new(env!("CARGO_BIN_EXE_posthorn")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1; {line}")]).current_dir(self.dir.path()).env("PATH", path);
        shell.env("POSTHORN_DATA_DIR", self.home.data()).env("COLUMNS", "140").stdin(std::process::Stdio::null());
        let mut text = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        for (receiver, port) in self.receivers.iter().zip(PORTS) {
            text = text.replace(&format!(":{}", receiver.addr.port()), &format!(":{port}"));
        }
        text
    }

    /// Types the commands of a session again.
    async fn session(&self, block: &str, last: &mut Option<String>) -> String {
        let sequence = Regex::new(r"\d{16}-\d{10}").unwrap();
        let mut session = String::new();
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            // a sequence that is typed is the one that was shown last
            let line = match last.as_deref() {
                Some(shown) if line.starts_with("posthorn dead show") || line.starts_with("posthorn skip") => {
                    sequence.replace(line, shown).into_owned()
                }
                _ => line.to_owned(),
            };
            let printed = self.run(&line);
            if line.starts_with("posthorn send") || line.starts_with("posthorn dead redrive") {
                self.settled().await;
            }
            *last = sequence.find_iter(&printed).last().map(|found| found.as_str().to_owned()).or(last.take());
            let printed = printed.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            let _ = writeln!(session, "$ {line}\n{}", printed.trim_end());
        }
        session.lines().map(|line| line.to_owned() + "\n").collect()
    }
}

/// The page in parts, in turn: text, and the inside of a block of a session.
fn parts(text: &str) -> Vec<String> {
    let fence = Regex::new(r"(?m)^```console\n|^```\n").unwrap();
    let (mut parts, mut done, mut inside) = (Vec::new(), 0, false);
    for found in fence.find_iter(text) {
        let opens = found.as_str() != "```\n";
        if opens == inside {
            continue;
        }
        // a block of another language ends with the same fence
        let end = if opens { found.end() } else { found.start() };
        parts.push(text[done..end].to_owned());
        (done, inside) = (end, opens);
    }
    parts.push(text[done..].to_owned());
    parts
}

/// What is compared: without what changes from run to run.
fn form(session: &str) -> String {
    let rules = [
        (r"\d{16}-\d{10}", "SEQUENCE"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"\b(evt_)?[0-9a-f]{32}\b", "HASH"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b\d+(\.\d+)? ([KMG]i)?B\b", "SIZE"),
        (r"\b(\d+[smhdy])+\b", "AGE"),
        (r"\d+(\.\d+)*", "N"),
        (r" +", " "),
    ];
    rules.iter().fold(session.to_owned(), |text, (rule, with)| Regex::new(rule).unwrap().replace_all(&text, *with).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_the_commands_print() {
    let installation = Installation::start().await;
    let text = std::fs::read_to_string(page()).unwrap();
    let (mut written, mut wrong, mut last) = (String::new(), Vec::new(), None);
    for (index, part) in parts(&text).into_iter().enumerate() {
        let is_session = index % 2 == 1;
        if !is_session || APART.iter().any(|apart| part.starts_with(&format!("$ {apart}"))) {
            written += &part;
            continue;
        }
        let session = installation.session(&part, &mut last).await;
        if form(&session) != form(&part) && !RACES.iter().any(|races| part.starts_with(&format!("$ {races}"))) {
            wrong.push(format!("--- the page ---\n{part}--- the commands ---\n{session}"));
        }
        written += &session;
    }
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(page(), written).unwrap();
    } else {
        assert!(wrong.is_empty(), "docs/commands.md is out of date: run hack/commands-docs.sh\n{}", wrong.join("\n"));
    }
}

#[test]
fn what_changes_from_run_to_run_is_not_compared() {
    let forms = [
        "a   12s  0001795519090667-0000000000 1.5 MiB 2026-11-24T11:18:17Z",
        "a 5m32s 0001795519090999-0000000001 7 B 2027-01-01T00:00:00.123Z",
    ]
    .map(form);
    assert_eq!(forms[0], forms[1]);
    assert_ne!(form("a Idle"), form("a Active"));
    assert_eq!(parts("x\n```sh\na\n```\n```console\n$ b\nc\n```\nd\n"), ["x\n```sh\na\n```\n```console\n", "$ b\nc\n", "```\nd\n"]);
}
