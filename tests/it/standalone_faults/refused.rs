//! What a folder asks for and does not get: told with its place and reason, while everything else goes on.

use super::Place;
use crate::delivery::scene::destination;
use crate::support::client::Post;
use crate::support::eventually::holds;
use crate::support::{History, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;

async fn owes(place: &Place, count: usize) {
    eventually(&format!("a backlog of {count}"), async || {
        let queued = crate::support::stored::stored(&place.redis(), "default", "default/a").queued.len();
        holds(queued == count, || queued.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_or_a_start_that_cannot_be_changed_is_refused_and_what_waits_stays() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    let spec = |more| destination("a", &receiver.url(), more);
    let forever = json!({"delivery": {"retry": -1}});
    let mut place = Place::start(&[spec(forever.clone())]).await;
    let mut client = place.client();
    client.post_until_accepted(&Post::numbered(1)).await;
    owes(&place, 1).await;

    // The start is changed; then the bus, which was added to the settings; then the bus is renamed there too.
    let write = |value: &serde_json::Value| std::fs::write(place.file("a"), value.to_string()).unwrap();
    write(&spec(json!({"startFrom": "Earliest", "delivery": {"retry": -1}})));
    place.line(&["WARN", "default/a", "spec.startFrom", "cannot be changed"]).await;
    owes(&place, 1).await;
    for bus in ["other", "renamed"] {
        std::fs::write(place.file("posthorn"), format!("buses: {{{bus}: {{}}}}")).unwrap();
        std::fs::write(place.file("a"), spec(json!({"bus": bus, "delivery": {"retry": -1}})).to_string()).unwrap();
        assert!(place.standalone.terminate().await.success());
        place.restart().await;
        place.line(&["WARN", "default/a", "spec.bus", "bus cannot be changed (it is default)"]).await;
        owes(&place, 1).await;
    }
    std::fs::write(place.file("a"), spec(forever).to_string()).unwrap();
    receiver.set_behaviour(Behaviour::ok());
    let stored = place.settled("a").await;
    History::strict("a", &client.accepted, &receiver.log(), &stored).assert_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_with_an_error_is_told_with_its_line_and_field_and_the_others_go_on() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let good = destination("a", &receiver.url(), json!({}));
    let place = Place::start(std::slice::from_ref(&good)).await;
    let pretty = |more| serde_json::to_string_pretty(&destination("b", &receiver.url(), more)).unwrap();
    for (name, text, wrong, field) in [
        ("unknown", pretty(json!({"retries": 5})), "\"retries\"", "field=\"spec.retries\""),
        ("value", pretty(json!({"delivery": {"timeout": "soon"}})), "\"soon\"", "field=\"spec.delivery.timeout\""),
        ("bus", pretty(json!({"bus": "nowhere"})), "\"nowhere\"", "field=\"spec.bus\""),
        ("twice", serde_json::to_string_pretty(&good).unwrap(), "{", "field=\"metadata.name\""),
        ("syntax", "spec: [1,\n".to_owned(), "[1", "not YAML"),
    ] {
        let line = 1 + text.lines().position(|line| line.contains(wrong)).unwrap();
        std::fs::write(place.file(name), text).unwrap();
        place.line(&["ERROR bad file", &format!("file=\"{name}.yaml\" line={line} "), field]).await;
    }
    let mut client = place.client();
    client.post_until_accepted(&Post::numbered(1)).await;
    let stored = place.settled("a").await;
    History::strict("a", &client.accepted, &receiver.log(), &stored).assert_kept();
    assert_eq!(place.redis().cli(&["HKEYS", "ph:{default}:names"]), "default/a", "no other destination was made");
}
