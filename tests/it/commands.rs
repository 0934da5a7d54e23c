//! The commands a person uses, beside a standalone that delivers.

mod check;
mod dead;
mod describe;
mod documented;
mod dry_run;
mod plugin;
mod tail;
mod top;

use crate::support::eventually::holds;
use crate::support::redis::Options;
use crate::support::{Posthorn, Redis, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Output;
use tempfile::TempDir;

/// A standalone on a Redis of the test's own, and a receiver for its destination `default/billing`.
struct Place {
    receiver: Receiver,
    standalone: Posthorn,
    redis: Redis,
    dir: TempDir,
}

impl Place {
    /// `delivery` is that of the destination.
    async fn start(answer: Answer, delivery: &str) -> Place {
        let (redis, dir) = (Redis::start(), TempDir::with_prefix("posthorn-commands-").unwrap());
        let receiver = Receiver::start(Behaviour::always(answer)).await.unwrap();
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let sink = format!("http: {{uri: 'http://{}/hooks?key=canary'}}", receiver.addr);
        std::fs::write(folder.join("billing.yaml"), manifest("billing", &sink, delivery)).unwrap();
        let data = dir.path().join("data");
        let (folder, data, url) = (folder.to_str().unwrap(), data.to_str().unwrap(), redis.url());
        let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let args = [&["standalone", folder, "--data-dir", data, "--redis", &url], &listen[..]].concat();
        let place = Place { standalone: Posthorn::start(&args), receiver, redis, dir };
        place.row("a destination that is ready", |row| row[1] == "True").await;
        place
    }

    /// Runs a command that finds Redis by the data directory.
    fn run(&self, args: &[&str]) -> Output {
        let data = self.dir.path().join("data");
        Posthorn::run(&[args, &["--data-dir", data.to_str().unwrap()]].concat())
    }

    /// The same for one that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// Waits until the row of the destination is so.
    async fn row(&self, what: &str, so: impl Fn(&[&str]) -> bool) -> String {
        eventually(what, async || {
            let output = self.run(&["get"]);
            let table = text(&output.stdout);
            let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
            holds(row.len() > 7 && so(&row), || table.clone() + &text(&output.stderr))?;
            Ok(table)
        })
        .await
    }

    fn head(&self) -> String {
        self.json(&["get", "billing"])["status"]["head"]["sequence"].as_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        file
    }
}

fn manifest(name: &str, sink: &str, delivery: &str) -> String {
    format!(
        "apiVersion: posthorn.dev/v1alpha1\nkind: EventDestination\nmetadata: {{name: {name}}}\nspec:\n  sink:\n    {sink}\n  delivery: {delivery}\n"
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The next attempt is far away, unless someone asks for it.
const PATIENT: &str = "{backoffPolicy: Constant, backoffDelay: 5m, retry: -1}";
const UNAVAILABLE: Answer = Answer::Status(503);

#[test]
fn an_empty_redis_has_no_resources() {
    let redis = Redis::start();
    let output = Posthorn::run(&["get", "--redis", &redis.url()]);
    assert!(output.status.success());
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), "No resources found in default namespace.\n".into()));
    let list: Value = serde_json::from_str(&Posthorn::ok(&["get", "-A", "-o", "json", "--redis", &redis.url()])).unwrap();
    assert_eq!((&list["kind"], &list["items"]), (&"List".into(), &Value::Array(Vec::new())));
}

#[test]
fn a_command_that_cannot_find_redis_names_every_way() {
    let empty = TempDir::new().unwrap();
    let output = Posthorn::run(&["get", "--data-dir", empty.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    for way in ["posthorn standalone DIR", "--redis URL", "POSTHORN_REDIS_URL", "--data-dir DIR", "POSTHORN_DATA_DIR"] {
        assert!(text(&output.stderr).contains(way), "{way}: {}", text(&output.stderr));
    }
}

#[test]
fn a_bus_that_nobody_uses_is_not_made_by_a_typing_error() {
    let redis = Redis::start();
    let output = Posthorn::run(&["send", "--type", "t", "--bus", "defualt", "--redis", &redis.url()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no bus `defualt`"), "{}", text(&output.stderr));
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_in_trouble_is_shown_as_kubectl_would() {
    let place = Place::start(UNAVAILABLE, "{backoffPolicy: Constant, backoffDelay: 100ms, retry: -1}").await;
    place.ok(&["send", "--type", "com.example.a", "--count", "3"]);
    let table = place.row("a destination that retries", |row| row[2] == "Retrying" && row[4].parse::<u64>().is_ok_and(|n| n > 1)).await;
    let header = table.lines().next().unwrap();
    assert_eq!(header, "NAME      READY   STATUS     BACKLOG   RETRIES   DELIVERED   DEAD   OLDEST   AGE");
    assert!(table.lines().nth(1).unwrap().starts_with("billing   True    Retrying   3         "), "{table}");

    let wide = place.ok(&["get", "-A", "-o", "wide"]);
    assert!(wide.starts_with("NAMESPACE   NAME      READY"), "{wide}");
    assert!(wide.contains(" 503 ") && wide.contains(&format!("http://{}/hooks\n", place.receiver.addr)), "{wide}");
    assert!(!wide.contains("canary"));

    let list = place.json(&["get"]);
    let item = &list["items"][0];
    assert_eq!((&list["apiVersion"], &item["kind"], &item["spec"]["bus"]), (&"v1".into(), &"EventDestination".into(), &"default".into()));
    let status = &item["status"];
    assert_eq!((&status["backlog"], &status["matched"], &status["head"]["lastStatusCode"]), (&3.into(), &3.into(), &503.into()));
    let yaml = place.ok(&["get", "billing", "-o", "yaml"]);
    let read = posthorn::api::yaml::Yaml::read(&yaml).pop().unwrap().unwrap().value;
    assert_eq!(read["metadata"], item["metadata"]);

    let unknown = place.run(&["get", "biling"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        text(&unknown.stderr).contains("there is no destination default/biling; known are default/billing"),
        "{}",
        text(&unknown.stderr)
    );
    assert!(text(&place.run(&["get", "-n", "other"]).stderr).contains("No resources found in other namespace."));
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_prints_what_changes_under_one_header() {
    let place = Place::start(Answer::Status(204), "{}").await;
    let data = place.dir.path().join("data");
    let mut watching = Posthorn::start(&["get", "-w", "--data-dir", data.to_str().unwrap()]);
    watching.line("billing").await;
    place.ok(&["send", "--type", "t", "--count", "2"]);
    eventually("a row with two delivered", async || {
        let log = watching.log();
        let delivered = log.lines().filter(|line| line.starts_with("billing")).any(|line| line.split_whitespace().nth(5) == Some("2"));
        holds(delivered, || log.clone())
    })
    .await;
    assert_eq!(watching.log().lines().filter(|line| line.starts_with("NAME")).count(), 1, "{}", watching.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_head_is_tried_at_once_when_asked() {
    let place = Place::start(UNAVAILABLE, PATIENT).await;
    assert!(place.ok(&["retry", "billing"]).contains("no event waits"));
    place.ok(&["send", "--type", "t"]);
    eventually("the first attempt", async || holds(place.receiver.count() == 1, || "none".into())).await;
    place.row("a head that waits", |row| row[3] == "1").await;
    place.receiver.set_behaviour(Behaviour::ok());
    let said = place.ok(&["retry", "billing"]);
    assert!(said.starts_with("default/billing: "), "{said}");
    place.row("an empty queue", |row| row[3] == "0" && row[5] == "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_skipped_only_by_its_own_sequence() {
    let place = Place::start(UNAVAILABLE, PATIENT).await;
    place.ok(&["send", "--type", "t", "--id", "poison"]);
    eventually("the first attempt", async || holds(place.receiver.count() == 1, || "none".into())).await;
    let wrong = place.run(&["skip", "billing", "--sequence", "1-1"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("poison"), "{}", text(&wrong.stderr));
    let said = place.ok(&["skip", "billing", "--sequence", &place.head()]);
    assert!(said.contains("is a dead letter now"), "{said}");
    assert_eq!(place.json(&["dead", "list", "billing"])["items"][0]["reason"], "Skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_worker_runs_commands_say_so_and_skip_all_the_same() {
    let mut place = Place::start(UNAVAILABLE, PATIENT).await;
    place.ok(&["send", "--type", "t"]);
    eventually("the first attempt", async || holds(place.receiver.count() == 1, || "none".into())).await;
    place.standalone.terminate().await;
    let url = place.redis.url();
    let run = |args: &[&str]| Posthorn::run(&[args, &["--redis", &url]].concat());
    assert!(text(&run(&["get"]).stdout).contains("NoWorker"));
    let retry = run(&["retry", "billing"]);
    assert_eq!(retry.status.code(), Some(1));
    assert!(text(&retry.stderr).contains("no worker runs it now"), "{}", text(&retry.stderr));
    let object: Value = serde_json::from_str(&text(&run(&["get", "billing", "-o", "json"]).stdout)).unwrap();
    let skip = run(&["skip", "billing", "--sequence", object["status"]["head"]["sequence"].as_str().unwrap()]);
    assert!(skip.status.success(), "{}", text(&skip.stderr));
    assert!(text(&skip.stdout).contains("is a dead letter now"));
    assert!(text(&run(&["dead", "list", "billing"]).stdout).contains("Skipped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_with_reasons_and_shown_with_their_data() {
    let place = Place::start(Answer::Status(422), "{retry: 0}").await;
    assert!(text(&place.run(&["dead", "list", "billing"]).stderr).contains("No dead letters"));
    place.ok(&["send", "--type", "com.example.a", "--id", "e1", "--data", "{\"order\": 7}"]);
    let binary = place.file("binary", [0xff, 0x00, 0x01]);
    place.ok(&["send", "--type", "com.example.b", "--id", "e2", "--data-file", binary.to_str().unwrap()]);
    place.row("two dead letters", |row| row[6] == "2").await;

    let table = place.ok(&["dead", "list", "billing"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SEQUENCE", "ID", "TYPE", "REASON", "CODE", "ATTEMPTS", "AGE"]);
    assert_eq!(rows[1][1..6], ["e1", "com.example.a", "Unprocessable", "422", "1"]);
    let limited = place.run(&["dead", "list", "billing", "--limit", "1"]);
    assert_eq!((text(&limited.stdout).lines().count(), text(&limited.stderr)), (2, "1 more; --limit 0 lists all\n".into()));

    let shown = place.ok(&["dead", "show", "billing", rows[1][0]]);
    assert!(shown.ends_with("{\"order\": 7}\n") && shown.contains("application/json"), "{shown}");
    let second = place.json(&["dead", "show", "billing", rows[2][0]]);
    assert_eq!((&second["dataBase64"], &second["dataBytes"], &second["event"]["id"]), (&"/wAB".into(), &3.into(), &"e2".into()));
    let none = place.run(&["dead", "show", "billing", "7-7"]);
    assert!(text(&none.stderr).contains("has no dead letter"), "{}", text(&none.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_are_sent_in_order_and_totals_are_honest() {
    let place = Place::start(Answer::Status(204), "{}").await;
    let event = |id: u64| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":{{"n": {id}}}}}"#);
    let mut lines: Vec<String> = (0..1500).map(event).collect();
    lines.insert(700, "{\"specversion\":\"1.0\"}".into());
    lines.push(event(3));
    let file = place.file("events.jsonl", lines.join("\n"));
    let output = place.run(&["send", "--file", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("line 701: refused: attribute `id`"), "{}", text(&output.stderr));
    let totals: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!((&totals["sent"], &totals["duplicates"], &totals["refused"]), (&1500.into(), &1.into(), &1.into()));

    place.row("all delivered", |row| row[5] == "1500").await;
    let ids: Vec<u64> = place.receiver.log().iter().map(|seen| seen.id().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, (0..1500).collect::<Vec<_>>());
    let again = place.ok(&["send", "--type", "t", "--source", "/s", "--id", "7"]);
    assert!(again.contains("7: stored before"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_sent_through_ingest_as_a_producer_does() {
    let place = Place::start(Answer::Status(204), "{}").await;
    let instance = std::fs::read_to_string(place.dir.path().join("data/instance.json")).unwrap();
    let listen = serde_json::from_str::<Value>(&instance).unwrap()["listen"].as_str().unwrap().to_owned();
    let send = |address: &str, more: &[&str]| {
        Posthorn::run(&[&["send", "--ingest", address, "--retry-for", "300ms", "--source", "/s"], more].concat())
    };
    let there = format!("http://{listen}/");
    let one = send(&there, &["--type", "t", "--id", "1", "--data", "{\"a\": 1.0}", "--ext", "sequence=x"]);
    assert!(text(&one.stdout).starts_with("1: stored as 0"), "{one:?}");
    assert!(text(&send(&there, &["--type", "t", "--id", "1"]).stdout).starts_with("1: stored before"));
    let many = send(&there, &["--type", "t", "--id", "n", "--count", "20"]);
    assert_eq!(text(&many.stdout), "sent 20, duplicates 0, refused 0\n");
    place.row("all delivered", |row| row[5] == "21").await;
    let seen = &place.receiver.log()[0];
    assert_eq!((seen.id(), &seen.body[..]), (Some("1"), &b"{\"a\": 1.0}"[..]));

    let unknown = send(&there, &["--type", "t", "--bus", "defualt"]);
    assert!(text(&unknown.stderr).contains("ingest answered 404"), "{unknown:?}");
    let nobody = send("http://127.0.0.1:1", &["--type", "t"]);
    assert!(text(&nobody.stderr).contains("gave up after 300ms"), "{nobody:?}");
    assert_eq!((unknown.status.code(), nobody.status.code()), (Some(1), Some(1)));
}

#[test]
fn sending_waits_for_a_full_redis_and_then_says_so() {
    let redis = Redis::with(Options { maxmemory: 3 << 20, ..Options::default() });
    // above the watermark of 85 %, below the limit
    redis.cli(&["SETRANGE", "filler", &(2 << 20).to_string(), "x"]);
    let url = redis.url();
    let send = || Posthorn::run(&["send", "--type", "t", "--retry-for", "300ms", "--redis", &url]);
    let output = send();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("redis is full") && text(&output.stderr).contains("gave up after 300ms"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(redis.cli(&["EXISTS", "ph:{default}:in"]), "0");
    redis.cli(&["DEL", "filler"]);
    assert!(send().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_goes_on_when_redis_comes_back() {
    let mut redis = Redis::start();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("events.jsonl");
    let event = |id: u64| format!("{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t\"}}\n");
    std::fs::write(&file, (0..3000).map(event).collect::<String>()).unwrap();
    let args = ["send", "--file", file.to_str().unwrap(), "--rate", "2000/s", "--redis", &redis.url()];
    let mut sending = Posthorn::start(&args);
    let stored = |redis: &Redis| redis.cli(&["XLEN", "ph:{default}:in"]).parse::<u64>().unwrap();
    eventually("the first events", async || holds(stored(&redis) > 100, || "none".into())).await;
    redis.kill9();
    sending.line("trying again for 30s").await;
    redis.restart();
    assert!(sending.ended().await.success(), "{}", sending.log());
    assert!(sending.log().contains("sent 3000"), "{}", sending.log());
    assert_eq!(stored(&redis), 3000);
}
