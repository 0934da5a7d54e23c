//! How many requests there are: rates, batches, and events that are not worth one.

use super::scene::destination;
use super::world::World;
use posthorn::receiver::{Answer, Behaviour, Receiver};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn requests_are_no_more_than_the_rate_allows_and_retries_count() {
    let receiver = Receiver::start(Behaviour::every(3, Answer::Status(503))).await.unwrap();
    let spec = json!({"limits": {"rate": {"requests": 40, "per": "1s"}}, "ordering": {"mode": "Unordered", "maxInFlight": 8}});
    let mut world = World::standalone(&[destination("a", &receiver.url(), spec)]).await;
    world.post(1..=60).await;
    world.state("a", "RateLimited").await;
    let (stored, log) = (world.settled("a").await, receiver.log());
    world.history_unordered("a", &log, &stored).assert_kept();
    assert_eq!(log.len(), 80);
    // a burst of four at most, one each 25 ms; what arrives late may be close to the next one
    let span = |from: usize, to: usize| log[to].at - log[from].at;
    for from in (0..60).step_by(10) {
        let least = Duration::from_millis(25 * (20 - 4)) - Duration::from_millis(100);
        assert!(span(from, from + 19) >= least, "20 requests from {from} in {:?}", span(from, from + 19));
    }
    assert!(span(0, 79) >= Duration::from_millis(25 * (79 - 4)), "{:?}", span(0, 79));
    world.state("a", "Idle").await;
}
