//! Ingest in trouble: killed, without Redis, with a full one, with one that must not be trusted.

use crate::support::client::{Answer, Client, Post, get};
use crate::support::eventually::holds;
use crate::support::home::{Home, destination};
use crate::support::load::{Load, Shape};
use crate::support::pieces::Ingest;
use crate::support::proxy::Mode;
use crate::support::redis::Options;
use crate::support::{History, Pieces, Posthorn, Proxy, Redis, eventually};
use posthorn::bus::routing::Start;
use posthorn::event::Sequence;
use posthorn::receiver::{Answer as Reply, Behaviour, Receiver};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// `type` of a problem, without its prefix.
fn problem(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    body["type"].as_str().unwrap().rsplit([':', '/', '#']).next().unwrap().to_owned()
}

fn assert_refused(answer: &Answer, kind: &str) {
    assert_eq!((answer.status, problem(answer).as_str()), (503, kind), "{}", String::from_utf8_lossy(&answer.body));
    assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
}

fn is_duplicate(answer: &Answer) -> bool {
    serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["duplicate"] == true
}

fn log_length(redis: &Redis) -> usize {
    redis.cli(&["XLEN", "ph:{default}:in"]).parse().unwrap()
}

/// Every sequence in the log, in its order.
fn log(redis: &Redis) -> Vec<Sequence> {
    let entries: Vec<(String, Vec<String>)> = redis.query(redis::cmd("XRANGE").arg("ph:{default}:in").arg("-").arg("+"));
    entries.into_iter().map(|(id, _)| id.parse().unwrap()).collect()
}

/// Resident memory of a process, KiB.
fn memory(process: &Posthorn) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Uses each connection to Redis once: they say hello to the bus with their first event.
async fn warm_up(ingest: &Ingest) -> Client {
    let mut client = Client::new(ingest.addr);
    for number in 1000..1008 {
        assert_eq!(client.post(&Post::numbered(number)).await.unwrap().status, 202);
    }
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_append_never_left_is_not_stored_and_a_retry_stores_it_once() {
    let pieces = Pieces::start();
    let proxy = Proxy::start(pieces.redis.addr()).await;
    let mut ingest = pieces.ingest_on(ANY, &format!("redis://{}", proxy.addr)).await;
    warm_up(&ingest).await;
    let before = log_length(&pieces.redis);
    let post = Post { id: "never-sent".into(), ..Post::numbered(1) };
    proxy.stall_before(b"never-sent");
    let (sent, addr) = (post.clone(), ingest.addr);
    let posting = tokio::spawn(async move { Client::new(addr).post(&sent).await.map(|answer| answer.status) });
    eventually("the append", async || holds(proxy.has_stalled(), || "not yet".into())).await;
    ingest.process.kill9();
    posting.await.unwrap().unwrap_err();
    drop(proxy);
    assert_eq!(log_length(&pieces.redis), before);

    let ingest = pieces.ingest_on(addr, &pieces.redis.url()).await;
    let answer = Client::new(ingest.addr).post(&post).await.unwrap();
    assert!(answer.status == 202 && !is_duplicate(&answer));
    assert_eq!(log_length(&pieces.redis), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_stored_without_an_answer_is_a_duplicate_when_it_is_sent_again() {
    let pieces = Pieces::start();
    let proxy = Proxy::start(pieces.redis.addr()).await;
    let mut ingest = pieces.ingest_on(ANY, &format!("redis://{}", proxy.addr)).await;
    warm_up(&ingest).await;
    let before = log_length(&pieces.redis);
    // The way there and back takes longer than it takes to kill it in between.
    proxy.set(Mode::Delay(Duration::from_millis(700)));
    let post = Post { id: "stored".into(), ..Post::numbered(1) };
    let (sent, addr) = (post.clone(), ingest.addr);
    let posting = tokio::spawn(async move { Client::new(addr).post(&sent).await.map(|answer| answer.status) });
    eventually("the append", async || holds(log_length(&pieces.redis) > before, || "not yet".into())).await;
    ingest.process.kill9();
    posting.await.unwrap().unwrap_err();
    let stored = *log(&pieces.redis).last().unwrap();

    let ingest = pieces.ingest_on(addr, &pieces.redis.url()).await;
    let mut client = Client::new(ingest.addr);
    let answer = client.post(&post).await.unwrap();
    assert!(answer.status == 202 && is_duplicate(&answer));
    assert_eq!(client.accepted[0].sequence, stored);
    assert_eq!(log_length(&pieces.redis), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_sent_a_hundred_times_at_once_is_stored_once_and_the_same_id_of_two_sources_twice() {
    let pieces = Pieces::start();
    let ingest = pieces.ingest().await;
    let addr = ingest.addr;
    let posts = (0..100).map(|_| {
        tokio::spawn(async move {
            let mut client = Client::new(addr);
            let answer = client.post(&Post::numbered(1)).await.unwrap();
            assert_eq!(answer.status, 202);
            (client.accepted[0].sequence, is_duplicate(&answer))
        })
    });
    let answers: Vec<_> = futures::future::join_all(posts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().map(|(sequence, _)| sequence).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(answers.iter().filter(|(_, duplicate)| !duplicate).count(), 1);
    assert_eq!(log_length(&pieces.redis), 1);

    let other = Post { source: "/other".into(), ..Post::numbered(1) };
    let answer = Client::new(addr).post(&other).await.unwrap();
    assert!(answer.status == 202 && !is_duplicate(&answer));
    assert_eq!(log_length(&pieces.redis), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_told_to_producers_while_deliveries_go_on_and_make_room() {
    let settings = "buses: {default: {whenFull: Refuse, backlogQuota: 1Gi, retention: {bytes: 256Ki}}}";
    let pieces = Pieces::with(Options { maxmemory: 24 << 20, ..Options::default() }, settings);
    let receiver = Receiver::start(Behaviour::always(Reply::Status(503))).await.unwrap();
    pieces.create("d", vec![], Start::Latest).await;
    pieces.plan("d", &receiver.url());
    let (ingest, mut router, mut worker) = (pieces.ingest().await, pieces.router().await, pieces.worker().await);
    let shape = Shape { clients: 4, size: 64 << 10, persistent: false, ..Shape::default() };
    let load = Load::start(ingest.addr, shape);
    eventually("a refusal", async || holds(load.refused() > 0, || format!("{} accepted", load.count()))).await;
    let mut posted = load.stop().await;
    assert!(posted.accepted.len() > 50, "{}", posted.accepted.len());
    // Now it uses more than it may.
    let mut client = Client::new(ingest.addr);
    pieces.redis.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert_refused(&client.post(&Post::numbered(1)).await.unwrap(), "storage-full");
    assert_eq!(get(ingest.admin, "/readyz").await.unwrap().status, 200);
    receiver.set_behaviour(Behaviour::ok());
    eventually("deliveries with a full Redis", async || {
        holds(pieces.stored("d").settled > 20, || format!("{:?}", pieces.stored("d").settled))
    })
    .await;
    assert_refused(&client.post(&Post::numbered(1)).await.unwrap(), "storage-full");
    pieces.redis.cli(&["CONFIG", "SET", "maxmemory", "24mb"]);
    client.post_until_accepted(&Post::numbered(1)).await;
    pieces.drained(&["d"]).await;
    assert!(ingest.addr.port() != 0 && router.runs() && worker.runs());
    posted.accepted.extend(client.accepted);
    let (log, stored) = (receiver.log(), pieces.stored("d"));
    assert_eq!(stored.dropped, 0, "nothing was shed");
    History::strict("d", &posted.accepted, &log, &stored).assert_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_lose_events_is_refused_at_the_start_unless_told_otherwise() {
    let no_aof = Options { appendfsync: None, ..Options::default() };
    let evicts = Options { more: vec![("maxmemory-policy", "allkeys-lru".into())], ..Options::default() };
    let lazy = Options { appendfsync: Some("everysec"), ..Options::default() };
    let home = Home::new();
    for (options, said) in [(no_aof, "appendonly yes"), (evicts, "noeviction"), (lazy, "appendfsync everysec")] {
        let redis = Redis::with(options);
        let url = redis.url();
        let role = |role: &'static str| vec![role, "--redis", &url, "--admin-listen", "127.0.0.1:0"];
        let folder = home.folder().display().to_string();
        let data = home.data().display().to_string();
        let ingest = [role("ingest"), vec!["--listen", "127.0.0.1:0"]].concat();
        let worker = [role("worker"), vec!["--plans", &folder]].concat();
        let standalone = [role("standalone"), vec![&folder, "--data-dir", &data, "--listen", "127.0.0.1:0"]].concat();
        for mut args in [ingest, role("router"), worker, standalone] {
            let output = Posthorn::run(&args);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && text.contains(said) && text.contains("--unsafe-storage"), "{args:?}: {text}");
            args.push("--unsafe-storage");
            let mut process = Posthorn::start(&args);
            process.line("running").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_costs_each_request_its_deadline_and_no_memory() {
    let pieces = Pieces::start();
    pieces.create("d", vec![], Start::Latest).await;
    let (mut ingest, _router) = (pieces.ingest().await, pieces.router().await);
    let mut client = warm_up(&ingest).await;
    let before = memory(&ingest.process);
    pieces.redis.freeze();
    // In two waves: those whose append was sent when it fell silent, and those that find no connection.
    let post = async |wave: u64| {
        let posts = (0..300).map(|number| {
            let (addr, size) = (ingest.addr, 16 << 10);
            tokio::spawn(async move {
                let mut client = Client::new(addr);
                let post = Post { data: vec![b' '; size].into(), ..Post::numbered(wave * 1000 + number) };
                let answer = client.post(&post).await.expect("an answer in time");
                assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{}", answer.status);
                (problem(&answer), post)
            })
        });
        futures::future::join_all(posts).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let first = post(2).await;
    assert!(first.iter().all(|(kind, _)| kind == "outcome-unknown" || kind == "storage-unavailable"), "{:?}", first[0].0);
    assert!(first.iter().any(|(kind, _)| kind == "outcome-unknown"));
    let second = post(3).await;
    assert!(second.iter().any(|(kind, _)| kind == "storage-unavailable"), "{:?}", second[0].0);
    let grown = memory(&ingest.process).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
    eventually("it is not ready", async || match get(ingest.admin, "/readyz").await.unwrap().status {
        503 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(get(ingest.admin, "/livez").await.unwrap().status, 200);

    pieces.redis.thaw();
    for (_, post) in first.iter().chain(&second) {
        client.post_until_accepted(post).await;
    }
    assert!(ingest.process.runs());
    pieces.routed().await;
    let stored = pieces.stored("d");
    History::strict("d", &client.accepted, &[], &stored).assert_kept();
    assert_eq!(log_length(&pieces.redis), client.accepted.len(), "each is stored once, whatever its first outcome was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_killed_under_load_loses_nothing_that_was_accepted() {
    let mut pieces = Pieces::start();
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    pieces.create("d", vec![], Start::Latest).await;
    pieces.plan("d", &receiver.url());
    let (ingest, _router, _worker) = (pieces.ingest().await, pieces.router().await, pieces.worker().await);
    let load = Load::start(ingest.addr, Shape::default());
    for _ in 0..3 {
        load.more(150).await;
        pieces.redis.kill9();
        pieces.redis.restart();
    }
    load.more(50).await;
    let posted = load.stop().await;
    pieces.drained(&["d"]).await;
    let (log, stored) = (receiver.log(), pieces.stored("d"));
    let history = History::strict("d", &posted.accepted, &log, &stored);
    // What a crash may repeat: the unconfirmed settles of each.
    History { uncertain: &posted.uncertain, repeats: 3, ..history }.assert_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_told_to_end_under_load_answers_what_it_has_and_loses_nothing() {
    let pieces = Pieces::start();
    let mut ingest = pieces.ingest().await;
    let load = Load::start(ingest.addr, Shape { clients: 16, persistent: false, ..Shape::default() });
    load.reach(200).await;
    ingest.process.signal(Signal::TERM);
    assert!(ingest.process.ended().await.success());
    let posted = load.stop().await;
    let stored: BTreeSet<Sequence> = log(&pieces.redis).into_iter().collect();
    assert!(posted.accepted.iter().all(|event| stored.contains(&event.sequence)));
    assert_eq!(stored.len(), posted.accepted.len(), "what was stored was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_makes_the_outcome_unknown_and_one_that_follows_has_what_was_accepted() {
    let settings = "buses: {default: {durability: {fsync: Always, replicas: 1}}}";
    let mut pieces = Pieces::with(Options::default(), settings);
    let replica = Redis::start();
    replica.cli(&["REPLICAOF", "127.0.0.1", &pieces.redis.addr().port().to_string()]);
    eventually("the replica", async || {
        let info = replica.cli(&["INFO", "replication"]);
        holds(info.contains("master_link_status:up"), || info)
    })
    .await;
    let mut ingest = pieces.ingest().await;
    let mut client = Client::new(ingest.addr);
    client.post_until_accepted(&Post::numbered(1)).await;
    replica.freeze();
    assert_refused(&client.post(&Post::numbered(2)).await.unwrap(), "outcome-unknown");
    replica.thaw();
    client.post_until_accepted(&Post::numbered(2)).await;
    assert_eq!(log_length(&pieces.redis), 2);
    client.post_until_accepted(&Post::numbered(3)).await;

    pieces.redis.kill9();
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    let kept: BTreeSet<Sequence> = log(&replica).into_iter().collect();
    assert!(client.accepted.iter().all(|event| kept.contains(&event.sequence)), "{kept:?}");
    // The new primary goes on where the old one ended, and knows what was sent before.
    ingest.process.kill9();
    pieces.flag("--unsafe-storage");
    let settings = "buses: {default: {durability: {fsync: Always}}}";
    pieces.settings(settings);
    let ingest = pieces.ingest_on(ANY, &replica.url()).await;
    let mut again = Client::new(ingest.addr);
    for number in 1..=4 {
        again.post_until_accepted(&Post::numbered(number)).await;
    }
    assert_eq!(again.accepted[..3], client.accepted[..]);
    assert_eq!(log_length(&replica), 4);
    assert!(again.accepted[3].sequence > client.accepted[2].sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_sent_one_after_the_other_keep_their_order_through_all_connections() {
    let mut home = Home::new();
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    home.write("d.yaml", &destination("d", &receiver.url(), ""));
    let standalone = home.start(&[]).await;
    // Each event by a connection of its own, sent after the 202 of the one before.
    let mut accepted = Vec::new();
    for number in 0..200 {
        let mut client = Client::new(standalone.addr);
        assert_eq!(client.post(&Post::numbered(number)).await.unwrap().status, 202);
        accepted.append(&mut client.accepted);
    }
    assert!(accepted.is_sorted_by(|a, b| a.sequence < b.sequence));
    let stored = home.settled("d").await;
    let log = receiver.log();
    let ids: Vec<_> = log.iter().map(|seen| seen.id().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..200).map(|number| format!("event-{number}")).collect::<Vec<_>>());
    History::strict("d", &accepted, &log, &stored).assert_kept();
}
