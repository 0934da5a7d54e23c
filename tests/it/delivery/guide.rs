//! The receivers of `docs/receivers.md`, started as the page says: each event is taken once and in order, whatever is killed.
//!
//! One whose language is not installed is passed over, and that is said.

use super::scene::{destination, secret};
use super::world::World;
use crate::support::client::Post;
use crate::support::eventually::holds;
use crate::support::redis::free_port;
use crate::support::{Client, eventually};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WRONG: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A destination of each format, all with the same receiver.
const FORMATS: [(&str, &str); 3] = [("binary", "Binary"), ("structured", "Structured"), ("batch", "Batch")];

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/receivers").join(file)
}

/// Whether a program is there and does this.
fn succeeds(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A running receiver; its log and what it stores are in a folder, where the next one finds them.
struct Program {
    child: Child,
    addr: SocketAddr,
}

impl Program {
    async fn start(command: &[String], dir: &Path, port: u16) -> Program {
        let path = dir.join("log");
        let log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let begins = log.metadata().unwrap().len() as usize;
        let mut program = Command::new(&command[0]);
        program.args(&command[1..]).current_dir(dir).env("WEBHOOK_SECRETS", KEY).env("PORT", port.to_string());
        let child = program.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let addr = eventually("the receiver listens", async || {
            let log = std::fs::read_to_string(&path).unwrap().split_off(begins);
            let line = log.lines().find_map(|line| line.strip_prefix("listening on http://"));
            line.and_then(|addr| addr.parse().ok()).ok_or(log)
        })
        .await;
        Program { child, addr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The IDs of the events that a receiver says it took, or passed over, of one destination.
fn told(dir: &Path, word: &str, name: &str) -> Vec<String> {
    let log = std::fs::read_to_string(dir.join("log")).unwrap();
    let begin = format!("{word} /{name} ");
    log.lines().filter_map(|line| line.strip_prefix(&begin)?.split(' ').next_back().map(str::to_owned)).collect()
}

/// The status of a request that was signed at this time.
async fn signed_at(addr: SocketAddr, seconds: u64, key: &str) -> u16 {
    let body = br#"{"order":1}"#;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key.strip_prefix("whsec_").unwrap()).unwrap());
    let signature = hmac::sign(&key, &[format!("evt_1.{seconds}.").as_bytes(), body].concat());
    let request = http::Request::post("/by-hand")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/s")
        .header("ce-type", "com.example.order.placed")
        .header("ce-sequence", "0000000000000001-0000000000")
        .header("content-type", "application/json")
        .header("webhook-id", "evt_1")
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", format!("v1,bm90IHRoaXM= v1,{}", STANDARD.encode(signature)))
        .body(body.to_vec().into());
    Client::new(addr).send(request.unwrap()).await.unwrap().status
}

async fn verifies_signatures(addr: SocketAddr) {
    assert_eq!(Client::new(addr).post(&Post::numbered(1)).await.unwrap().status, 401, "without a signature");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(signed_at(addr, now, WRONG).await, 401, "signed with another key");
    assert_eq!(signed_at(addr, now - 3600, KEY).await, 401, "signed an hour ago");
    assert_eq!(signed_at(addr, now, KEY).await, 204);
}

/// All that has ever been accepted was taken once and in order, by each destination.
async fn each_is_taken_once(world: &World, dir: &Path, but: &[u64]) {
    let ids =
        |numbers: u64| (1..=numbers).filter(|number| !but.contains(number)).map(|number| Post::numbered(number).id).collect::<Vec<_>>();
    for (name, _) in FORMATS {
        world.settled(name).await;
        assert_eq!(told(dir, "accepted", name), ids(world.client.accepted.len() as u64), "{name}");
    }
}

async fn a_receiver_takes_each_event_once(language: &str, command: Option<Vec<String>>) {
    let Some(command) = command else {
        eprintln!("skipped: {language} is not installed");
        return;
    };
    let dir = TempDir::with_prefix("posthorn-guide-").unwrap();
    // one that no connection is given while the receiver is away
    let receiver = Program::start(&command, dir.path(), free_port()).await;
    let addr = receiver.addr;
    verifies_signatures(addr).await;
    let key = |value: &str| secret("keys", json!({"key": value}));
    let objects = FORMATS.map(|(name, format)| {
        let http = json!({"format": format, "signing": {"secretKeyRefs": [{"name": "keys", "key": "key"}]}});
        destination(name, &format!("http://{addr}/{name}"), json!({"sink": {"http": http}, "delivery": {"retry": -1}}))
    });
    let mut world = World::standalone(&[&[key(KEY)], &objects[..]].concat()).await;
    world.post(1..=20).await;
    each_is_taken_once(&world, dir.path(), &[]).await;

    // what was answered with 2xx and not recorded is sent again, and passed over
    world.process().kill9();
    world.start_with("worker.answered:event-23=kill").await;
    world.client.post_until_accepted(&Post::numbered(21)).await;
    world.client.post_until_accepted(&Post::numbered(22)).await;
    let load = world.load(23..=30);
    world.died().await;
    load.abort();
    // the client is lost with what it had been answered, so all is posted again
    let _ = load.await;
    world.start().await;
    world.client.accepted.clear();
    world.post(1..=30).await;
    each_is_taken_once(&world, dir.path(), &[]).await;
    let repeats: usize = FORMATS.iter().map(|(name, _)| told(dir.path(), "repeat", name).len()).sum();
    assert!(repeats > 0);

    // the receiver is killed, and knows what it took when it is started again; what it will never take is given up at once, also out of a batch
    drop(receiver);
    world.post(31..=35).await;
    world.post_type(36, "org.example.other").await;
    world.post(37..=40).await;
    let _receiver = Program::start(&command, dir.path(), addr.port()).await;
    each_is_taken_once(&world, dir.path(), &[36]).await;
    for (name, _) in FORMATS {
        let letters = world.dead_letters(name);
        assert_eq!(letters.iter().map(|letter| letter["class"].as_str()).collect::<Vec<_>>(), ["BuriedByReceiver"], "{name}");
    }
    assert_eq!(signed_at(addr, SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(), KEY).await, 204);
    assert_eq!(told(dir.path(), "repeat", "by-hand"), ["1"]);

    // a key that it does not know halts, and costs nothing
    world.put(&key(WRONG)).await;
    let mut number = 40;
    eventually("all are halted", async || {
        number += 1;
        world.post(number..=number).await;
        let halts = FORMATS.map(|(name, _)| world.field(name, "halted"));
        holds(halts.iter().all(|halt| halt.as_deref().is_some_and(|halt| halt.starts_with("AuthRejected "))), || format!("{halts:?}"))
    })
    .await;
    world.put(&key(KEY)).await;
    each_is_taken_once(&world, dir.path(), &[36]).await;
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[tokio::test]
async fn the_receiver_in_python_takes_each_event_once_and_in_order() {
    let there = succeeds("python3", &["-c", "import sqlite3, sys; sys.exit(sys.version_info < (3, 9))"]);
    let file = source("receiver.py");
    a_receiver_takes_each_event_once("python3", there.then(|| command(&["python3", "-B", file.to_str().unwrap()]))).await;
}

#[tokio::test]
async fn the_receiver_in_javascript_takes_each_event_once_and_in_order() {
    let there = succeeds("node", &["-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"]);
    let file = source("receiver.mjs");
    a_receiver_takes_each_event_once("node", there.then(|| command(&["node", file.to_str().unwrap()]))).await;
}

#[tokio::test]
async fn the_receiver_in_go_takes_each_event_once_and_in_order() {
    let there = succeeds("go", &["version"]);
    let dir = TempDir::with_prefix("posthorn-guide-").unwrap();
    let program = dir.path().join("receiver");
    if there {
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(source("receiver.go"));
        // from its own library alone: nothing is fetched
        let built = go.current_dir(dir.path()).env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "").output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    a_receiver_takes_each_event_once("go", there.then(|| command(&[program.to_str().unwrap()]))).await;
}
