//! `posthorn receiver` as a person runs it.

use crate::support::client::{self, Client, Post};
use crate::support::{Posthorn, process};
use std::net::SocketAddr;

async fn start(flags: &[&str]) -> (Posthorn, SocketAddr) {
    let mut receiver = Posthorn::start(&[&["receiver"], flags].concat());
    let line = receiver.line("listening on http://").await;
    let addr = line.rsplit("http://").next().unwrap().parse().unwrap();
    (receiver, addr)
}

/// Posts as Posthorn would deliver.
async fn deliver(addr: SocketAddr, sequence: u64) -> u16 {
    let request = http::Request::post("/")
        .header("ce-id", sequence.to_string())
        .header("ce-source", "/s")
        .header("ce-sequence", format!("{sequence}-0"))
        .header("posthorn-attempt", "1");
    Client::new(addr).send(request.body(Default::default()).unwrap()).await.unwrap().status
}

#[tokio::test]
async fn it_ends_well_if_order_was_kept_and_badly_if_not() {
    let (mut receiver, addr) = start(&[]).await;
    assert_eq!(deliver(addr, 2).await, 204);
    assert_eq!(deliver(addr, 2).await, 204);
    assert!(receiver.terminate().await.success());
    assert!(receiver.log().contains("2 received: 1 accepted, 1 repeats"), "{}", receiver.log());

    let (mut receiver, addr) = start(&["--quiet"]).await;
    deliver(addr, 2).await;
    deliver(addr, 1).await;
    assert!(!receiver.terminate().await.success());
}

#[tokio::test]
async fn it_ends_by_itself_after_enough_events_and_writes_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let (mut receiver, addr) = start(&["--exit-after", "2", "--expect", "2", "--report", report.to_str().unwrap()]).await;
    assert_eq!((deliver(addr, 1).await, deliver(addr, 2).await), (204, 204));
    assert!(receiver.ended().await.success());
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["accepted"], 2);
}

#[tokio::test]
async fn it_refuses_connections_while_it_is_down() {
    let (_receiver, addr) = start(&["--down-for", "1h"]).await;
    assert!(client::get(addr, "/").await.unwrap_err().to_string().contains("refused"));
}

#[tokio::test]
async fn an_unsigned_request_is_answered_401_and_spoils_the_end() {
    let (mut receiver, addr) = start(&["--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "--output", "json"]).await;
    assert_eq!(Client::new(addr).post(&Post::numbered(1)).await.unwrap().status, 401);
    assert!(!receiver.terminate().await.success());
    assert!(receiver.log().contains(r#""verdict":"untrusted""#), "{}", receiver.log());
}

#[test]
fn a_wrong_flag_says_what_to_write() {
    let output = process::Posthorn::run(&["receiver", "--delay", "soon"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("200ms"));
}
