//! Every role in a process of its own, and Redis, killed and stopped at random while receivers misbehave.
//!
//! `POSTHORN_SOAK` is how many seconds it lasts, `POSTHORN_SEED` what it does.

use crate::support::load::{Load, Shape};
use crate::support::pieces::{Ingest, of_type};
use crate::support::{Accepted, History, Pieces, Posthorn, eventually_within};
use posthorn::bus::routing::Start;
use posthorn::receiver::{Answer, Behaviour, Receiver, Then};
use std::time::{Duration, Instant};

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

/// A receiver that fails in every way, now and then; what it does depends on the event alone.
fn misbehaving() -> Behaviour {
    Behaviour::new(|seen| match (seen.attempt(), seen.sequence().map_or(0, |sequence| sequence.ms * 7 + sequence.seq) % 40) {
        (Some(1), 0) => Answer::Status(503),
        (Some(1), 1) => Answer::Reset,
        (Some(1), 2) => Answer::Close,
        (Some(1), 3) => Answer::Raw(bytes::Bytes::from_static(b"SSH-2.0\r\n"), Then::Close),
        (Some(1 | 2), 4) => Answer::Status(500),
        (Some(1), 5) => Answer::After(Duration::from_millis(30), Box::new(Answer::Status(204))),
        _ => Answer::Status(204),
    })
}

/// Processes that die and come back.
struct Cluster {
    pieces: Pieces,
    ingest: Ingest,
    routers: [Posthorn; 2],
    workers: [Posthorn; 2],
    tokens: tempfile::TempDir,
}

impl Cluster {
    async fn start(pieces: Pieces) -> Cluster {
        let tokens = tempfile::tempdir().unwrap();
        let ingest = pieces.ingest().await;
        let routers = [Cluster::router(&pieces, &tokens, 0).await, Cluster::router(&pieces, &tokens, 1).await];
        let workers = [Cluster::worker(&pieces, &tokens, 0).await, Cluster::worker(&pieces, &tokens, 1).await];
        Cluster { pieces, ingest, routers, workers, tokens }
    }

    /// A directory of its own for the tokens of a process.
    fn directory(tokens: &tempfile::TempDir, name: &str, number: usize) -> String {
        let path = tokens.path().join(format!("{name}-{number}"));
        std::fs::create_dir_all(&path).unwrap();
        path.display().to_string()
    }

    async fn router(pieces: &Pieces, tokens: &tempfile::TempDir, number: usize) -> Posthorn {
        pieces.router_with(&["--token-dir", &Cluster::directory(tokens, "router", number)]).await
    }

    async fn worker(pieces: &Pieces, tokens: &tempfile::TempDir, number: usize) -> Posthorn {
        pieces.worker_with(&["--token-dir", &Cluster::directory(tokens, "worker", number)]).await
    }

    /// Does one harm, and lets it heal.
    async fn harm(&mut self, random: &mut Random, longest: u64) {
        let (which, long) = (usize::from(random.below(2) == 0), Duration::from_millis(random.below(longest)));
        match random.below(7) {
            0 => {
                let addr = self.ingest.addr;
                println!("ingest dies");
                self.ingest.process.kill9();
                self.ingest = self.pieces.ingest_on(addr, &self.pieces.redis.url()).await;
            }
            1 => {
                println!("router {which} dies");
                self.routers[which].kill9();
                self.routers[which] = Cluster::router(&self.pieces, &self.tokens, which).await;
            }
            2 => {
                println!("worker {which} dies");
                self.workers[which].kill9();
                self.workers[which] = Cluster::worker(&self.pieces, &self.tokens, which).await;
            }
            3 => {
                println!("redis dies");
                self.pieces.redis.kill9();
                tokio::time::sleep(long).await;
                self.pieces.redis.restart();
            }
            4 => {
                println!("redis is silent for {long:?}");
                self.pieces.redis.freeze();
                tokio::time::sleep(long).await;
                self.pieces.redis.thaw();
            }
            5 => {
                println!("router and worker {which} are stopped for {long:?}");
                self.routers[which].freeze();
                self.workers[which].freeze();
                tokio::time::sleep(long).await;
                self.routers[which].thaw();
                self.workers[which].thaw();
            }
            _ => {
                println!("worker {which} ends in order");
                assert!(self.workers[which].terminate().await.success());
                self.workers[which] = Cluster::worker(&self.pieces, &self.tokens, which).await;
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_die_and_stop_at_random_lose_nothing_and_keep_the_order() {
    let (length, seed) = (Duration::from_secs(setting("POSTHORN_SOAK", 10)), setting("POSTHORN_SEED", 1));
    // Beyond the end of a lease, where there is time.
    let longest = if length < Duration::from_secs(60) { 400 } else { 9000 };
    println!("soak of {length:?} with POSTHORN_SEED={seed}");
    let mut random = Random(seed);
    let pieces = Pieces::start();
    let mut receivers = Vec::new();
    for (uid, filters) in [("all", vec![]), ("even", of_type("even")), ("odd", of_type("odd"))] {
        let receiver = Receiver::start(misbehaving()).await.unwrap();
        pieces.create(uid, filters, Start::Latest).await;
        pieces.plan(uid, &receiver.url());
        receivers.push((uid, receiver));
    }
    let mut cluster = Cluster::start(pieces).await;
    let load = Load::start(cluster.ingest.addr, Shape { clients: 4, pause: Duration::from_millis(10), ..Shape::default() });
    let (begin, mut harms) = (Instant::now(), 0);
    while begin.elapsed() < length {
        load.more(usize::try_from(random.below(60)).unwrap()).await;
        cluster.harm(&mut random, longest).await;
        harms += 1;
    }
    load.more(20).await;
    let posted = load.stop().await;
    println!("{harms} harms, {} accepted, {} without an answer", posted.accepted.len(), posted.uncertain.len());
    eventually_within(Duration::from_secs(60) + length, "everything is delivered", async || {
        let owed: usize = ["all", "even", "odd"].iter().map(|uid| cluster.pieces.stored(uid).queued.len()).sum();
        crate::support::eventually::holds(owed == 0, || format!("{owed} events wait"))
    })
    .await;
    cluster.pieces.drained(&["all", "even", "odd"]).await;
    for (uid, receiver) in &receivers {
        let wanted = |event: &Accepted| *uid == "all" || event.event_type == *uid;
        let (log, stored) = (receiver.log(), cluster.pieces.stored(uid));
        let history = History::strict(uid, &posted.accepted, &log, &stored);
        History { uncertain: &posted.uncertain, wanted: &wanted, repeats: harms, ..history }.assert_kept();
    }
}
