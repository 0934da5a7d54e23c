//! The harness itself: what it says must be true.

use crate::support::eventually::holds;
use crate::support::proxy::Mode;
use crate::support::{Client, Proxy, Redis, client, eventually};
use posthorn::receiver::{Behaviour, Receiver};
use std::time::Duration;

#[test]
fn a_killed_redis_comes_back_with_what_it_confirmed() {
    let mut redis = Redis::start();
    assert_eq!(redis.cli(&["SET", "key", "value"]), "OK");
    redis.kill9();
    assert!(redis.connection().is_err());
    redis.restart();
    assert_eq!(redis.cli(&["GET", "key"]), "value");
    assert_eq!(redis.cli(&["CONFIG", "GET", "appendfsync"]), "appendfsync\nalways");
}

#[tokio::test]
async fn a_proxy_passes_and_refuses() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let proxy = Proxy::start(receiver.addr).await;
    assert_eq!(client::get(proxy.addr, "/").await.unwrap().status, 204);
    proxy.set(Mode::Delay(Duration::from_millis(1)));
    assert_eq!(client::get(proxy.addr, "/").await.unwrap().status, 204);
    proxy.set(Mode::Refuse);
    client::get(proxy.addr, "/").await.unwrap_err();
}

#[tokio::test]
async fn a_proxy_stalls_before_chosen_bytes_and_lets_them_pass_later() {
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let proxy = Proxy::start(receiver.addr).await;
    proxy.stall_before(b"GET /second");
    assert_eq!(client::get(proxy.addr, "/first").await.unwrap().status, 204);
    let second = tokio::spawn(client::get(proxy.addr, "/second"));
    eventually("the stall", async || holds(proxy.has_stalled(), || "not yet".into())).await;
    assert_eq!(receiver.count(), 1);
    proxy.set(Mode::Pass);
    assert_eq!(second.await.unwrap().unwrap().status, 204);
}

#[tokio::test]
async fn a_proxy_resets_what_is_open() {
    let receiver = Receiver::start(Behaviour::always(posthorn::receiver::Answer::Hang)).await.unwrap();
    let proxy = Proxy::start(receiver.addr).await;
    let waiting = tokio::spawn(client::get(proxy.addr, "/"));
    eventually("the request", async || holds(receiver.count() == 1, || "not yet".into())).await;
    proxy.reset();
    waiting.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn what_is_neither_accepted_nor_refused_is_uncertain() {
    let receiver = Receiver::start(Behaviour::always(posthorn::receiver::Answer::Close)).await.unwrap();
    let mut client = Client::new(receiver.addr);
    client.post(&client::Post::numbered(1)).await.unwrap_err();
    assert_eq!((client.accepted.len(), client.uncertain.len()), (0, 1));
    receiver.set_behaviour(Behaviour::always(posthorn::receiver::Answer::Response {
        status: 202,
        headers: vec![],
        body: bytes::Bytes::from_static(br#"{"id":"event-1","sequence":"0000000000000005-0000000000"}"#),
    }));
    client.post_until_accepted(&client::Post::numbered(1)).await;
    assert_eq!((client.accepted.len(), client.uncertain.len()), (1, 0));
}
