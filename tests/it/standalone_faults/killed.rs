//! The standalone, its private Redis, or both die while events come and go.

use super::{Place, requests};
use crate::delivery::scene::destination;
use crate::support::stored::Stored;
use crate::support::{Client, History};
use posthorn::receiver::{Answer, Behaviour, Receiver, Seen};
use serde_json::json;
use std::time::{Duration, Instant};

async fn place_of(receiver: &Receiver) -> Place {
    Place::start(&[destination("a", &receiver.url(), json!({"delivery": {"retry": -1}}))]).await
}

fn assert_kept(clients: Vec<Client>, log: &[Seen], stored: &Stored, repeats: usize) {
    let (mut accepted, mut uncertain) = (Vec::new(), Vec::new());
    for client in clients {
        accepted.extend(client.accepted);
        uncertain.extend(client.uncertain.into_iter().map(|post| (post.source, post.id)));
    }
    History { repeats, uncertain: &uncertain, ..History::strict("a", &accepted, log, stored) }.assert_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_that_is_killed_leaves_its_redis_to_the_next_one() {
    let receiver = Receiver::start(Behaviour::every(7, Answer::Status(503))).await.unwrap();
    let mut place = place_of(&receiver).await;
    let loads = [place.load(1..=100), place.load(1001..=1100)];
    requests(&receiver, 60).await;
    let redis = place.redis_pid().await;
    place.standalone.kill9();
    place.restart().await;
    place.line(&["private redis is ready", &format!("pid={redis}"), "adopted=true"]).await;
    let mut clients = Vec::new();
    for load in loads {
        clients.push(load.joined().await);
    }
    let stored = place.settled("a").await;
    assert_eq!(clients.iter().map(|client| client.accepted.len()).sum::<usize>(), 200);
    assert_kept(clients, &receiver.log(), &stored, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_redis_that_is_killed_is_started_again() {
    let receiver = Receiver::start(Behaviour::every(7, Answer::Status(503))).await.unwrap();
    let place = place_of(&receiver).await;
    let loads = [place.load(1..=100), place.load(1001..=1100)];
    requests(&receiver, 60).await;
    let first = place.redis_pid().await;
    place.kill_redis().await;
    place.line(&["the private redis ended", "signal: 9"]).await;
    place.line(&["private redis started again"]).await;
    let mut clients = Vec::new();
    for load in loads {
        clients.push(load.joined().await);
    }
    let stored = place.settled("a").await;
    assert_ne!(place.redis_pid().await, first);
    assert_kept(clients, &receiver.log(), &stored, 1);
}

/// Numbers that look random, the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_again_and_again_nothing_is_lost_and_the_order_is_kept() {
    let (length, seed) = (Duration::from_secs(setting("POSTHORN_SOAK", 10)), setting("POSTHORN_SEED", 20_240_917));
    println!("soak of {length:?} with POSTHORN_SEED={seed}");
    let mut random = Random(seed);
    let receiver = Receiver::start(Behaviour::every(10, Answer::Status(503))).await.unwrap();
    let mut place = place_of(&receiver).await;
    let (begin, mut kills) = (Instant::now(), 0);
    let loads = [place.load(1..=u64::MAX / 2), place.load(u64::MAX / 2 + 1..=u64::MAX)];
    while begin.elapsed() < length {
        let more = usize::try_from(random.below(80)).unwrap();
        requests(&receiver, receiver.count() + more).await;
        let (standalone, redis) = [(true, false), (false, true), (true, true)][usize::try_from(random.below(3)).unwrap()];
        println!("after {} requests: standalone {standalone}, redis {redis}", receiver.count());
        if redis {
            place.kill_redis().await;
        }
        if standalone {
            place.standalone.kill9();
            place.restart().await;
        }
        kills += 1;
    }
    let mut clients = Vec::new();
    for load in loads {
        clients.push(load.stopped().await);
    }
    let stored = place.settled("a").await;
    println!("{kills} kills, {} delivered", stored.settled);
    assert_kept(clients, &receiver.log(), &stored, kills);
}
