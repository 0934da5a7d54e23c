//! `tail`, `completions`.

use super::{PATIENT, Place, UNAVAILABLE, text};
use crate::support::process::Posthorn;
use crate::support::redis::Redis;
use posthorn::receiver::Answer;
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn send(redis: &Redis, event_type: &str, id: &str) {
    Posthorn::ok(&["send", "--type", event_type, "--source", "/s", "--id", id, "--data", "{\"n\": 1.50}", "--redis", &redis.url()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_events_are_followed_from_now_on_until_ctrl_c() {
    let mut redis = Redis::start();
    send(&redis, "com.example.a", "before");
    let url = redis.url();
    let mut tail = Posthorn::start(&["tail", "default", "--filter", "type=com.example.*", "--redis", &url]);
    // it follows once it has looked where the bus is: what comes then is shown
    let mut number = 0;
    while !tail.log().contains("com.example.a") {
        number += 1;
        send(&redis, "com.example.a", &format!("n{number}"));
    }
    send(&redis, "org.example.a", "other");
    redis.kill9();
    tail.line("trying again").await;
    redis.restart();
    send(&redis, "com.example.b", "last");
    let row = tail.line(" last ").await;
    assert!(row.contains("com.example.b") && row.trim_end().ends_with(" 11"), "{row}");
    tail.signal(Signal::INT);
    assert_eq!(tail.ended().await.code(), Some(0));
    let log = tail.log();
    assert!(log.starts_with("TIME ") && log.matches("TIME ").count() == 1, "{log}");
    assert!(!log.contains("before") && !log.contains("other"), "{log}");
}

#[test]
fn what_was_accepted_before_is_shown_as_whole_events() {
    let redis = Redis::start();
    for (event_type, id) in [("com.example.a", "1"), ("com.example.b", "2"), ("com.example.a", "3")] {
        send(&redis, event_type, id);
    }
    let url = redis.url();
    let args = ["tail", "--since", "1h", "--filter", "type=*.a", "--filter", "source=/s", "--count", "2", "-o", "json", "--redis", &url];
    let lines = Posthorn::ok(&args);
    let events: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().map(|event| event["id"].as_str().unwrap()).collect::<Vec<_>>(), ["1", "3"]);
    assert!(lines.contains("\"data\":{\"n\": 1.50}") && events[0]["sequence"].is_string(), "{lines}");
    let wrong = Posthorn::run(&["tail", "--filter", "type", "--redis", &url]);
    assert_eq!(wrong.status.code(), Some(2));
    let no_bus = Posthorn::run(&["tail", "shop", "--redis", &url]);
    assert!(text(&no_bus.stderr).contains("no bus `shop`"), "{}", text(&no_bus.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_destination_wants_is_shown_and_what_is_put_back_for_it() {
    let place = Place::start(Answer::Status(422), "{retry: 0}").await;
    place.ok(&["send", "--type", "t", "--id", "again"]);
    place.row("a dead letter", |row| row[6] == "1").await;
    place.ok(&["dead", "redrive", "billing", "--yes"]);
    let ids = |args: &[&str]| {
        let lines = place.ok(&[&["tail", "--since", "1h", "-o", "json"], args].concat());
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--for", "billing", "--count", "2"]), ["\"again\"", "\"again\""]);
    place.ok(&["send", "--type", "t", "--id", "new"]);
    assert_eq!(ids(&["--count", "2"]), ["\"again\"", "\"new\""]);
    let unknown = place.run(&["tail", "--for", "biling"]);
    assert!(text(&unknown.stderr).contains("known are default/billing"), "{}", text(&unknown.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_nobody_reads_any_more() {
    let place = Place::start(UNAVAILABLE, PATIENT).await;
    place.ok(&["send", "--type", "t", "--count", "3"]);
    let mut tail = Command::new(env!("CARGO_BIN_EXE_posthorn"));
    tail.args(["tail", "--since", "1h", "--redis", &place.redis.url()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tail = tail.spawn().unwrap();
    let mut first = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("TIME "), "{first}");
    // the reader is gone now, which is noticed with the next event
    place.ok(&["send", "--type", "t"]);
    let ended = tail.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(141), String::new()));
}

#[test]
fn every_shell_gets_its_completions() {
    for (shell, part) in [("bash", "complete -F _posthorn"), ("zsh", "#compdef posthorn"), ("fish", "complete -c posthorn")] {
        let script = Posthorn::ok(&["completions", shell]);
        assert!(script.contains(part) && script.contains("redrive"), "{shell}: {script}");
    }
    assert_eq!(Posthorn::run(&["completions", "csh"]).status.code(), Some(2));
}
