//! Events that kill their worker (T69).

use super::scene::{attempts, destination, of_type};
use super::world::{Mode, World};
use crate::support::{History, eventually};
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn an_event_that_kills_its_worker_is_given_up_and_no_innocent_one_is() {
    let poisoned = Receiver::start(Behaviour::ok()).await.unwrap();
    // slow, so that each death cuts an attempt of it
    let slow = Answer::After(Duration::from_millis(300), Box::new(Answer::Status(204)));
    let innocent = Receiver::start(Behaviour::always(slow)).await.unwrap();
    let mut world = World::new(Mode::Worker);
    for (name, receiver) in [("poisoned", &poisoned), ("innocent", &innocent)] {
        world.put(&destination(name, &receiver.url(), json!({"filters": of_type(name)}))).await;
    }
    world.start_front().await;
    for number in 1..=5 {
        world.post_type(number, "poisoned").await;
        world.post_type(number + 10, "innocent").await;
    }
    world.routed().await;
    let mut deaths = 0;
    loop {
        world.start_with("worker.send:event-3=kill").await;
        let ended = eventually("the death of the worker, or the end of its work", async || {
            if !world.process().runs() {
                return Ok(true);
            }
            let owed = world.stored("poisoned").queued.len() + world.stored("innocent").queued.len();
            if owed == 0 { Ok(false) } else { Err(format!("{owed} wait")) }
        });
        if !ended.await {
            break;
        }
        deaths += 1;
        assert!(deaths <= 5, "it kills its worker for ever");
    }
    let (stored, log) = (world.settled("poisoned").await, poisoned.log());
    History { wanted: &|event| event.event_type == "poisoned", repeats: 1, ..world.history("poisoned", &log, &stored) }.assert_kept();
    assert_eq!((stored.dead, attempts(&log, 3)), (vec![world.sequence(3)], Vec::<u32>::new()));
    assert_eq!(world.dead_letters("poisoned")[0]["class"], "WorkerDied");
    let (stored, log) = (world.settled("innocent").await, innocent.log());
    History { wanted: &|event| event.event_type == "innocent", repeats: 5, ..world.history("innocent", &log, &stored) }.assert_kept();
    assert_eq!((stored.settled, stored.buried), (5, 0));
}
