//! What a connection may do to a request.

use super::server::{OK, Server, refusing};
use super::*;
use tokio::sync::mpsc;

/// What a fresh connection ends with if the server says this after the request and then closes.
async fn after(answer: &'static [u8]) -> Outcome {
    let server = Server::start(move |_, mut talk| async move {
        talk.request().await;
        talk.say(answer).await;
    })
    .await;
    let outcome = send(&mut sink(&server.url("/"), PATIENT), 1).await;
    assert_eq!(server.connections(), 1);
    outcome
}

/// What comes of it if the server repeats this for ever after its first words.
async fn endless(first: &'static [u8], then: &'static [u8]) -> Outcome {
    let server = Server::start(move |_, mut talk| async move {
        talk.request().await;
        talk.say(first).await;
        while talk.say(then).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    send(&mut sink(&server.url("/"), IMPATIENT), 1).await
}

/// What comes of it if the server says this and then nothing.
async fn hanging(first: &'static [u8]) -> Outcome {
    let server = Server::start(move |_, mut talk| async move {
        talk.request().await;
        talk.say(first).await;
        talk.hang().await;
    })
    .await;
    send(&mut sink(&server.url("/"), IMPATIENT), 1).await
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    for answer in [
        OK,
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let server = Server::answering(answer).await;
        let mut sink = sink(&server.url("/"), PATIENT);
        for number in 1..=5 {
            assert_eq!(send(&mut sink, number).await, DELIVERED);
        }
        assert_eq!((server.connections(), server.requests().len()), (1, 5));
    }
}

#[tokio::test]
async fn failures_keep_the_connection_too() {
    let server = Server::answering(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy").await;
    let mut sink = sink(&server.url("/"), PATIENT);
    for number in 1..=3 {
        assert_eq!(class(send(&mut sink, number).await), Class::ServerError);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_port_where_nothing_listens_refuses() {
    let (_socket, address) = refusing();
    let failure = failed(send(&mut sink(&format!("http://{address}/?token=canary"), PATIENT), 1).await);
    assert_eq!(failure.class, Class::ConnectionRefused);
    assert!(failure.message.contains(&address.to_string()) && !failure.message.contains("canary"), "{}", failure.message);
}

#[tokio::test]
async fn a_receiver_that_takes_its_time_is_cut() {
    for first in ["", "HTTP/1", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        assert_eq!(class(hanging(first.as_bytes()).await), Class::Timeout, "{first}");
    }
}

#[tokio::test]
async fn endless_interim_answers_and_headers_are_cut() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".as_bytes();
    assert_eq!(class(endless(interim, interim).await), Class::Timeout);
    let flood = endless(b"HTTP/1.1 200 OK\r\n", b"x-flood: 0123456789012345678901234567890123456789\r\n").await;
    assert_eq!(class(flood), Class::InvalidResponse);
}

#[tokio::test]
async fn a_connection_closed_before_the_head_is_complete_is_a_reset() {
    for answer in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-"] {
        assert_eq!(class(after(answer.as_bytes()).await), Class::ConnectionReset, "{answer}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_an_invalid_answer() {
    for answer in
        ["SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP/1.1 two hundred\r\n\r\n", "HTTP/1.1 200 OK\r\nbroken header\r\n\r\n", "\0\0\0\0\0\0\0\0"]
    {
        assert_eq!(class(after(answer.as_bytes()).await), Class::InvalidResponse, "{answer:?}");
    }
    let contradiction = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx";
    assert_eq!(class(after(contradiction.as_bytes()).await), Class::InvalidResponse);
}

#[tokio::test]
async fn success_is_the_status_line_whatever_follows() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        assert_eq!(after(answer.as_bytes()).await, DELIVERED, "{answer}");
    }
    assert_eq!(after(b"HTTP/1.1 204 No Content\r\n\r\n").await, Outcome::Delivered { code: 204 });
}

#[tokio::test]
async fn an_endless_body_delays_neither_success_nor_the_next_event() {
    for head in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n",
    ] {
        let (closed, mut closings) = mpsc::unbounded_channel();
        let server = Server::start(move |_, mut talk| {
            let closed = closed.clone();
            async move {
                talk.request().await;
                talk.say(head.as_bytes()).await;
                while talk.say(b"4\r\nmore\r\n").await {
                    tokio::task::yield_now().await;
                }
                let _ = closed.send(());
            }
        })
        .await;
        let mut sink = sink(&server.url("/"), PATIENT);
        for number in 1..=3 {
            assert_eq!(send(&mut sink, number).await, DELIVERED);
        }
        assert_eq!(server.connections(), 3);
        drop(sink);
        for _ in 1..=3 {
            closings.recv().await.expect("each connection is closed");
        }
    }
}

#[tokio::test]
async fn a_body_that_hangs_is_not_waited_for() {
    let server = Server::start(|_, mut talk| async move {
        talk.request().await;
        talk.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
        talk.hang().await;
    })
    .await;
    let mut sink = sink(&server.url("/"), PATIENT);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(send(&mut sink, 2).await, DELIVERED);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_receiver_that_says_close_gets_a_new_connection() {
    let server = Server::answering(b"HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n\r\n").await;
    let mut sink = sink(&server.url("/"), PATIENT);
    for number in 1..=3 {
        assert_eq!(send(&mut sink, number).await, DELIVERED);
    }
    assert_eq!((server.connections(), server.requests().len()), (3, 3));
}

#[tokio::test]
async fn a_stale_connection_costs_one_free_retry() {
    // the first connection answers once, then reads another request and closes without a word
    let server = Server::start(|number, mut talk| async move {
        talk.request().await;
        talk.say(OK).await;
        talk.request().await;
        if number > 1 {
            talk.say(OK).await;
            talk.hang().await;
        }
    })
    .await;
    let mut sink = sink(&server.url("/"), PATIENT);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(server.connections(), 2);
    let attempts: Vec<String> = server.requests().iter().map(|request| request.header("posthorn-attempt")).collect();
    assert_eq!(attempts, ["1", "1", "1"]);
}

#[tokio::test]
async fn there_is_only_one_free_retry() {
    let server = Server::start(|number, mut talk| async move {
        talk.request().await;
        if number == 1 {
            talk.say(OK).await;
            talk.request().await;
        }
    })
    .await;
    let mut sink = sink(&server.url("/"), PATIENT);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(class(send(&mut sink, 1).await), Class::ConnectionReset);
    assert_eq!((server.connections(), server.requests().len()), (2, 3));
}

#[tokio::test]
async fn a_half_answer_on_a_kept_connection_is_not_repeated() {
    let server = Server::start(|_, mut talk| async move {
        talk.request().await;
        talk.say(OK).await;
        talk.request().await;
        talk.say(b"HTTP/1.1 2").await;
    })
    .await;
    let mut sink = sink(&server.url("/"), PATIENT);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(class(send(&mut sink, 1).await), Class::ConnectionReset);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn connections_closed_between_requests_cost_nothing() {
    let server = Server::start(|_, mut talk| async move {
        talk.request().await;
        talk.say(OK).await;
    })
    .await;
    let mut sink = sink(&server.url("/"), PATIENT);
    for number in 1..=50 {
        assert_eq!(send(&mut sink, number).await, DELIVERED);
    }
    assert!(server.connections() <= 50);
}

#[tokio::test]
async fn a_dropped_send_closes_its_connection_and_the_next_opens_another() {
    let (got, mut requests) = mpsc::unbounded_channel();
    let (closed, mut closings) = mpsc::unbounded_channel();
    let server = Server::start(move |number, mut talk| {
        let (got, closed) = (got.clone(), closed.clone());
        async move {
            talk.request().await;
            let _ = got.send(());
            if number > 1 {
                talk.say(OK).await;
            }
            talk.hang().await;
            let _ = closed.send(number);
        }
    })
    .await;
    let mut sink = sink(&server.url("/"), PATIENT);
    tokio::select! {
        outcome = send(&mut sink, 1) => panic!("{outcome:?}"),
        got = requests.recv() => got.expect("the server lives"),
    }
    assert_eq!(closings.recv().await, Some(1));
    assert_eq!(send(&mut sink, 2).await, DELIVERED);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (closed, mut closings) = mpsc::unbounded_channel();
    let server = Server::start(move |_, mut talk| {
        let closed = closed.clone();
        async move {
            talk.request().await;
            talk.say(OK).await;
            talk.hang().await;
            let _ = closed.send(());
        }
    })
    .await;
    let context = SinkContext { idle_timeout: Duration::from_millis(20), ..context() };
    let mut sink = HttpSink::new(&plan(&server.url("/")), PATIENT, &context).expect("a good plan");
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    tokio::select! {
        _ = sink.idle() => panic!("it never completes"),
        closing = closings.recv() => closing.expect("the server lives"),
    }
    assert_eq!(send(&mut sink, 2).await, DELIVERED);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_was_idle_too_long_is_not_used_again() {
    let server = Server::answering(OK).await;
    let context = SinkContext { idle_timeout: Duration::ZERO, ..context() };
    let mut sink = HttpSink::new(&plan(&server.url("/")), PATIENT, &context).expect("a good plan");
    for number in 1..=3 {
        assert_eq!(send(&mut sink, number).await, DELIVERED);
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_large_event_gets_through_and_an_early_refusal_is_heard() {
    let server = Server::answering(OK).await;
    let mut sink = sink(&server.url("/"), PATIENT);
    let event = Event { data: vec![b'x'; 3 << 20].into(), ..event() };
    let attempt = Attempt { event: &event, sequence: Sequence { ms: 1, seq: 0 }, number: 1, redriven: false };
    assert_eq!(sink.send(&[attempt], None).await, DELIVERED);
    assert_eq!(server.requests()[0].body.len(), 3 << 20);
    assert_eq!(sink.send(&[attempt], None).await, DELIVERED);

    let refusing = Server::start(|_, mut talk| async move {
        talk.say(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await;
        talk.hang().await;
    })
    .await;
    let outcome = super::sink(&refusing.url("/"), PATIENT).send(&[attempt], None).await;
    assert!(matches!(class(outcome), Class::PayloadTooLarge | Class::ConnectionReset));
}

#[test]
fn a_send_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let mut sink = sink("http://a.example/", PATIENT);
    is_send(&send(&mut sink, 1));
    is_send(&sink.idle());
}
