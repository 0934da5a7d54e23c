//! Filters in CEL that are wrong, and dead letters that go to a destination that comes late.

use super::{PATIENCE, apply};
use crate::support::World;
use crate::support::eventually::{eventually_within, holds};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_cannot_be_used_is_not_accepted_and_the_version_before_runs_on() {
    let world = World::start().await;
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let http = json!({"uri": receiver.url()});
    apply(&world, "hook", &http, &json!({"filters": [{"cel": "event.data.number >= 1"}]}));
    world.ready("hook").await;
    world.post([1]).await;
    world.delivered("hook", 1).await;
    apply(&world, "hook", &http, &json!({"filters": [{"cel": "event.data.number >= 1 && amount > 5"}]}));
    assert_eq!(world.condition("hook", "Accepted", "False").await, "InvalidSpec");
    let message = world.reason("hook", "Accepted", "InvalidSpec").await["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("spec.filters[0].cel: the expression cannot be used (line 1, column 27): there is no variable amount"),
        "{message}"
    );
    world.event("hook", "Rejected").await;
    world.post([2]).await;
    world.delivered("hook", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_sent_on_once_their_target_is_there_and_delivery_never_waits_for_it() {
    let world = World::start().await;
    let refuses = Receiver::start(Behaviour::always(Answer::Status(422))).await.unwrap();
    let takes = Receiver::start(Behaviour::ok()).await.unwrap();
    let to = json!({"delivery": {"retry": 0, "deadLetter": {"destinationRef": {"name": "second"}}}});
    apply(&world, "first", &json!({"uri": refuses.url()}), &to);
    world.ready("first").await;
    assert_eq!(world.condition("first", "DeadLetterTarget", "False").await, "TargetNotFound");
    world.event("first", "TargetNotFound").await;
    world.post([1]).await;
    eventually_within(PATIENCE, "a dead letter", async || {
        let stored = world.stored("first");
        holds(stored.buried == 1, || format!("{stored:?}"))
    })
    .await;
    apply(&world, "second", &json!({"uri": takes.url()}), &json!({"filters": [{"exact": {"type": "none.such"}}]}));
    world.ready("second").await;
    assert_eq!(world.condition("first", "DeadLetterTarget", "True").await, "Found");
    world.post([2]).await;
    world.delivered("second", 1).await;
    assert_eq!(takes.log()[0].id(), Some("event-2"));
}
