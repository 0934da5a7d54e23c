//! A folder that breaks deletes nothing.

use super::Place;
use crate::delivery::scene::destination;
use crate::support::eventually;
use crate::support::eventually::holds;
use crate::support::{Client, History, stored};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;
use std::ops::RangeInclusive;

async fn post(client: &mut Client, numbers: RangeInclusive<u64>) {
    for number in numbers {
        client.post_until_accepted(&crate::support::client::Post::numbered(number)).await;
    }
}

/// Waits until so many events wait for `a`, which is down, and have arrived at `b`.
async fn backlog(place: &Place, count: usize) {
    eventually(&format!("{count} for each"), async || {
        let [a, b] = ["default/a", "default/b"].map(|name| stored::stored(&place.redis(), "default", name));
        holds(a.queued.len() == count && a.buried == 0 && b.settled == count as u64, || format!("{a:?} {b:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typing_error_an_emptied_folder_and_a_half_saved_file_lose_nothing() {
    let (down, up) = (Receiver::start(Behaviour::always(Answer::Reset)).await.unwrap(), Receiver::start(Behaviour::ok()).await.unwrap());
    let spec = json!({"delivery": {"retry": -1}});
    let (a, b) = (destination("a", &down.url(), spec.clone()), destination("b", &up.url(), spec));
    let place = Place::start(&[a.clone(), b.clone()]).await;
    let mut client = place.client();
    post(&mut client, 1..=3).await;
    backlog(&place, 3).await;

    let typing_error = serde_json::to_string_pretty(&a).unwrap().replace("\"retry\": -1", "\"retry\": \"often\"");
    let line = 1 + typing_error.lines().position(|line| line.contains("often")).unwrap();
    std::fs::write(place.file("a"), typing_error).unwrap();
    place.line(&["bad file", "file=\"a.yaml\"", &format!("line={line} "), "field=\"spec.delivery.retry\""]).await;
    post(&mut client, 4..=5).await;
    backlog(&place, 5).await;

    let text = a.to_string();
    std::fs::write(place.file("a"), &text[..text.len() / 2]).unwrap();
    eventually("the error of the half of a file", async || {
        let log = place.standalone.log();
        holds(log.lines().filter(|line| line.contains("bad file") && line.contains("file=\"a.yaml\"")).count() == 2, || log.clone())
    })
    .await;
    post(&mut client, 6..=6).await;
    backlog(&place, 6).await;

    std::fs::remove_file(place.file("a")).unwrap();
    std::fs::remove_file(place.file("b")).unwrap();
    place.line(&["WARN", "missing, but nothing is deleted", "default/a", "default/b"]).await;
    post(&mut client, 7..=8).await;
    backlog(&place, 8).await;

    std::fs::write(place.file("a"), a.to_string()).unwrap();
    std::fs::write(place.file("b"), b.to_string()).unwrap();
    down.set_behaviour(Behaviour::ok());
    for (name, receiver) in [("a", &down), ("b", &up)] {
        let stored = place.settled(name).await;
        History::strict(name, &client.accepted, &receiver.log(), &stored).assert_kept();
    }
    assert!(!place.standalone.log().contains("destination deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_really_removed_takes_its_destination_and_all_its_keys_with_it() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    let spec = json!({"delivery": {"retry": -1}});
    let [a, b] = ["a", "b"].map(|name| destination(name, &receiver.url(), spec.clone()));
    let place = Place::start(&[a, b]).await;
    post(&mut place.client(), 1..=3).await;
    let uid = place.uid("a");
    let keys = || place.redis().cli(&["KEYS", &format!("*{uid}*")]);
    eventually("a backlog", async || holds(keys().contains(":q:"), keys)).await;
    std::fs::remove_file(place.file("a")).unwrap();
    place.line(&["destination deleted", "default/a", "backlog=3"]).await;
    eventually("no key of it", async || holds(keys().is_empty(), keys)).await;
    assert_eq!(stored::uid(&place.redis(), "default", "default/a"), None);
    assert_eq!(stored::stored(&place.redis(), "default", "default/b").queued.len(), 3);
}
