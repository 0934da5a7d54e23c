//! Filters in CEL: what they see, what has no answer, what is changed while events come.

use crate::support::client::{Client, Post};
use crate::support::eventually::{eventually, holds};
use crate::support::pieces::{address, metric};
use crate::support::{Accepted, Pieces};
use http::Request;
use http_body_util::Full;
use posthorn::bus::routing::Start;
use posthorn::event::Sequence;
use posthorn::filter::Filter;

fn cel(text: &str) -> Vec<Filter> {
    vec![Filter::Cel(text.to_owned())]
}

fn post(number: u64, data: &str) -> Post {
    Post { data: data.to_owned().into(), ..Post::numbered(number) }
}

fn sequences(accepted: &[Accepted]) -> Vec<Sequence> {
    accepted.iter().map(|event| event.sequence).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_see_the_data_whatever_the_mode_and_failures_are_counted_as_no_match() {
    let pieces = Pieces::start();
    pieces.create("large", cel("event.data.amount > 1000"), Start::Latest).await;
    pieces.create("small", vec![Filter::Not(Box::new(Filter::Cel("event.data.amount > 1000".into())))], Start::Latest).await;
    pieces.create("unusable", cel("event.data.amount >"), Start::Latest).await;
    let ingest = pieces.ingest().await;
    let mut router = pieces.router().await;
    let admin = address(&router.line("role=\"router\"").await, "admin_listen");
    router.line("a filter cannot be used").await;
    let mut client = Client::new(ingest.addr);
    for (number, data) in [(1, r#"{"amount": 1}"#), (2, r#"{"amount": 1001}"#), (3, r#"{"sum": 5000}"#), (4, "[]")] {
        client.post_until_accepted(&post(number, data)).await;
    }
    let envelope = r#"{"specversion":"1.0","id":"s","source":"/s","type":"t","data":{"amount":5000}}"#;
    let request = Request::post("/").header("content-type", "application/cloudevents+json").body(Full::new(envelope.into())).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&client.send(request).await.unwrap().body).unwrap();
    let structured: Sequence = answer["sequence"].as_str().unwrap().parse().unwrap();
    pieces.routed().await;
    let posted = sequences(&client.accepted);
    assert_eq!(pieces.stored("large").queued, [posted[1], structured]);
    assert_eq!(pieces.stored("small").queued, [posted[0], posted[2], posted[3]], "what failed did not match, so `not` does");
    assert_eq!(pieces.stored("unusable").routed, 0);
    eventually("the failures are counted", async || {
        let of = |name: &str| format!("posthorn_filter_errors_total{{namespace=\"t\",destination=\"{name}\"}}");
        let counted = [metric(admin, &of("large")).await, metric(admin, &of("small")).await, metric(admin, &of("unusable")).await];
        holds(counted == [2.0, 2.0, 5.0], || format!("{counted:?}"))
    })
    .await;
    let told = router.line("an expression of a filter failed").await;
    assert!(!told.contains("5000"), "{told}");
    pieces.update("unusable", 2, cel("true")).await;
    client.post_until_accepted(&post(9, "{}")).await;
    pieces.routed().await;
    assert_eq!(pieces.stored("unusable").queued.len(), 1);
}
