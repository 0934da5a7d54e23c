//! `deletionPolicy: Drain`: a destination whose file is removed delivers what it has first.

use super::Place;
use crate::delivery::scene::{destination, of_type};
use crate::support::client::Post;
use crate::support::eventually;
use crate::support::eventually::holds;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::{Value, json};

/// A destination that is drained for so long, and one that stays.
fn objects(receiver: &Receiver, timeout: &str) -> [Value; 2] {
    let drained = json!({"deletionPolicy": "Drain", "drainTimeout": timeout, "delivery": {"retry": -1}});
    [destination("a", &receiver.url(), drained), destination("stays", &receiver.url(), json!({"filters": of_type("none.such")}))]
}

async fn gone(place: &Place) {
    eventually("the end of the destination", async || {
        let names = place.redis().cli(&["HKEYS", "ph:{default}:names"]);
        holds(names == "default/stays", || names)
    })
    .await;
}

async fn backlog(place: &Place, count: usize) {
    eventually(&format!("a backlog of {count}"), async || {
        let queued = crate::support::stored::stored(&place.redis(), "default", "default/a").queued.len();
        holds(queued == count, || queued.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_destination_delivers_what_it_has_also_after_a_restart_and_then_it_goes() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    let mut place = Place::start(&objects(&receiver, "5m")).await;
    let mut client = place.client();
    for number in 1..=3 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    backlog(&place, 3).await;
    let uid = place.uid("a");
    let kept = place.data().join(format!("draining/{uid}.json"));
    std::fs::remove_file(place.file("a")).unwrap();
    place.line(&["default/a", "destination removed; what waits is delivered first"]).await;
    client.post_until_accepted(&Post::numbered(4)).await;
    assert!(kept.exists());

    place.standalone.kill9();
    place.restart().await;
    place.client().post_until_accepted(&Post::numbered(5)).await;
    backlog(&place, 3).await;
    receiver.set_behaviour(Behaviour::ok());
    gone(&place).await;
    let mut arrived: Vec<_> = receiver.log().iter().filter(|seen| seen.accepted()).map(|seen| seen.id().unwrap().to_owned()).collect();
    arrived.dedup();
    assert_eq!(arrived, ["event-1", "event-2", "event-3"]);
    eventually("nothing of it is kept", async || {
        let keys = place.redis().cli(&["KEYS", &format!("*{uid}*")]);
        holds(!kept.exists() && keys.is_empty(), || keys)
    })
    .await;
    place.line(&["default/a", "destination deleted", "backlog=0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_delivered_in_time_is_discarded() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    let place = Place::start(&objects(&receiver, "1s")).await;
    place.client().post_until_accepted(&Post::numbered(1)).await;
    backlog(&place, 1).await;
    std::fs::remove_file(place.file("a")).unwrap();
    gone(&place).await;
    place.line(&["default/a", "destination deleted", "backlog=1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_back_ends_the_draining() {
    let receiver = Receiver::start(Behaviour::always(Answer::Status(503))).await.unwrap();
    let objects = objects(&receiver, "5m");
    let place = Place::start(&objects).await;
    let mut client = place.client();
    client.post_until_accepted(&Post::numbered(1)).await;
    backlog(&place, 1).await;
    let uid = place.uid("a");
    std::fs::remove_file(place.file("a")).unwrap();
    place.line(&["default/a", "destination removed; what waits is delivered first"]).await;
    std::fs::write(place.file("a"), objects[0].to_string()).unwrap();
    place.line(&["default/a", "destination changed"]).await;
    client.post_until_accepted(&Post::numbered(2)).await;
    backlog(&place, 2).await;
    receiver.set_behaviour(Behaviour::ok());
    assert_eq!(place.settled("a").await.settled, 2);
    assert_eq!(place.uid("a"), uid, "it is the same one");
}
