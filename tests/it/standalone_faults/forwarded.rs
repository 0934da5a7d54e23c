//! `delivery.deadLetter.destinationRef`: dead letters that another destination gets as well.

use super::Place;
use crate::delivery::scene::destination;
use crate::support::client::Post;
use crate::support::eventually;
use crate::support::eventually::holds;
use crate::support::stored::{Stored, stored};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::{Value, json};

/// A destination that gives up at once and sends its dead letters to another one.
fn to(name: &str, receiver: &Receiver, target: &str, more: Value) -> Value {
    let mut object =
        destination(name, &receiver.url(), json!({"delivery": {"retry": 0, "deadLetter": {"destinationRef": {"name": target}}}}));
    object["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn of(place: &Place, name: &str) -> Stored {
    stored(&place.redis(), "default", &format!("default/{name}"))
}

async fn buried(place: &Place, name: &str, count: u64) {
    eventually(&format!("{count} dead letters of {name}"), async || {
        let stored = of(place, name);
        holds(stored.buried == count && stored.queued.is_empty(), || format!("{stored:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_destination_gets_what_was_given_up_whatever_its_filters_and_comes_late_without_loss() {
    let refuses = Receiver::start(Behaviour::always(Answer::Status(422))).await.unwrap();
    let takes = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut place = Place::start(&[to("a", &refuses, "b", json!({}))]).await;
    place.line(&["WARN", "default/a", "destinationRef: there is no destination default/b on bus default"]).await;
    let mut client = place.client();
    client.post_until_accepted(&Post::numbered(1)).await;
    buried(&place, "a", 1).await;

    let b = destination("b", &takes.url(), json!({"filters": [{"exact": {"type": "none.such"}}]}));
    std::fs::write(place.file("b"), b.to_string()).unwrap();
    place.line(&["default/b", "destination created"]).await;
    client.post_until_accepted(&Post::numbered(2)).await;
    buried(&place, "a", 2).await;
    eventually("the copy", async || holds(takes.log().len() == 1, || format!("{:?}", takes.log()))).await;
    let log = takes.log();
    assert_eq!((log[0].id(), &*log[0].body), (Some("event-2"), b"{\"number\":2}".as_slice()));
    assert!(log[0].sequence() > refuses.log().last().unwrap().sequence(), "it has a place of its own in the order");
    assert!(place.standalone.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_that_name_each_other_make_no_loop() {
    let refuses = Receiver::start(Behaviour::always(Answer::Status(422))).await.unwrap();
    let only = json!({"filters": [{"exact": {"type": "com.example.test"}}]});
    let none = json!({"filters": [{"exact": {"type": "none.such"}}]});
    let place = Place::start(&[to("a", &refuses, "b", only), to("b", &refuses, "c", none.clone()), to("c", &refuses, "a", none)]).await;
    let mut client = place.client();
    for number in 1..=3 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    buried(&place, "a", 3).await;
    buried(&place, "b", 3).await;
    client.post_until_accepted(&Post::numbered(4)).await;
    buried(&place, "b", 4).await;
    assert_eq!((of(&place, "c").routed, of(&place, "a").routed), (0, 4), "a copy that is given up is not copied again");
}
