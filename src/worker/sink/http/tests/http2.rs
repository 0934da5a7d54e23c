//! HTTP/2, against a receiver that speaks it frame by frame.

use super::server::{OK, Server};
use super::tls::Authority;
use super::*;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type Http2 = Connection<TlsStream<TcpStream>, Bytes>;

/// What a receiver does with one request.
enum Deed {
    Answer(u16),
    /// An answer with so many bytes of body, as the client takes them.
    Body(usize),
    /// An answer with a header of so many bytes.
    Header(usize),
    Hang,
    Reset(Reason),
    /// Answers, then wants no more on this connection.
    Leave,
    /// Wants no more on this connection, and this request is not looked at.
    Abandon,
    /// Closes the connection without a word.
    Vanish,
}

/// A receiver of HTTP/2 behind TLS.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    /// A stream that was hung is reset by the client.
    reset: Arc<Notify>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    closed: usize,
    requests: Vec<Request<()>>,
}

impl Receiver {
    /// `decide` gets the number of the connection and of the request, from 1.
    async fn start(authority: &Authority, decide: impl Fn(usize, usize) -> Deed + Send + Sync + 'static) -> Receiver {
        let mut config = authority.certified("127.0.0.1", |_| ());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let receiver = Receiver { address, seen: Arc::default(), reset: Arc::default() };
        let (seen, reset, decide) = (receiver.seen.clone(), receiver.reset.clone(), Arc::new(decide));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, seen, reset, decide) = (acceptor.clone(), seen.clone(), reset.clone(), decide.clone());
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let number = {
                        let mut seen = seen.lock().expect("no panic while locked");
                        seen.connections += 1;
                        seen.connections
                    };
                    if let Ok(connection) = h2::server::handshake(tls).await {
                        serve(connection, number, &seen, reset, &*decide).await;
                    }
                    seen.lock().expect("no panic while locked").closed += 1;
                });
            }
        });
        receiver
    }

    fn sink(&self, authority: &Authority, timeout: Duration) -> HttpSink {
        self.sink_in(authority, timeout, &context())
    }

    fn sink_in(&self, authority: &Authority, timeout: Duration, context: &SinkContext) -> HttpSink {
        let mut plan = plan(&format!("https://127.0.0.1:{}/hooks?tenant=shop", self.address.port()));
        plan.ca_bundle = Some(authority.pem());
        HttpSink::new(&plan, timeout, context).expect("a good plan")
    }

    fn connections(&self) -> usize {
        self.seen.lock().expect("no panic while locked").connections
    }

    fn requests(&self) -> usize {
        self.seen.lock().expect("no panic while locked").requests.len()
    }
}

async fn serve(
    mut connection: Http2,
    number: usize,
    seen: &Mutex<Seen>,
    reset: Arc<Notify>,
    decide: &(dyn Fn(usize, usize) -> Deed + Sync),
) {
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let count = {
            let (parts, _) = request.into_parts();
            let mut seen = seen.lock().expect("no panic while locked");
            seen.requests.push(Request::from_parts(parts, ()));
            seen.requests.len()
        };
        let answer = |code: u16| Response::builder().status(code).body(()).expect("a response");
        match decide(number, count) {
            Deed::Answer(code) => drop(respond.send_response(answer(code), true)),
            Deed::Body(length) => {
                let mut body = respond.send_response(answer(200), false).expect("the stream is open");
                body.reserve_capacity(length);
                // as much as the client's window takes; the rest waits for it
                let _ = body.send_data(Bytes::from(vec![b'x'; length]), true);
            }
            Deed::Header(length) => {
                let answer = Response::builder().header("x-long", "x".repeat(length)).body(()).expect("a response");
                drop(respond.send_response(answer, true));
            }
            Deed::Hang => drop(tokio::spawn(hang(respond, reset.clone()))),
            Deed::Reset(reason) => respond.send_reset(reason),
            Deed::Leave => {
                drop(respond.send_response(answer(200), true));
                connection.graceful_shutdown();
            }
            Deed::Abandon => {
                respond.send_reset(Reason::REFUSED_STREAM);
                connection.graceful_shutdown();
            }
            Deed::Vanish => return,
        }
    }
}

async fn hang(mut respond: SendResponse<Bytes>, reset: Arc<Notify>) {
    let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    reset.notify_one();
}

#[tokio::test]
async fn http_2_is_spoken_where_the_receiver_agrees() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, _| Deed::Answer(204)).await;
    let mut sink = receiver.sink(&authority, PATIENT);
    for number in 1..=3 {
        assert_eq!(send(&mut sink, number).await, Outcome::Delivered { code: 204 });
    }
    assert_eq!(receiver.connections(), 1);
    let seen = receiver.seen.lock().expect("no panic while locked");
    let request = &seen.requests[0];
    assert_eq!(request.uri().to_string(), format!("https://127.0.0.1:{}/hooks?tenant=shop", receiver.address.port()));
    assert_eq!((request.method().as_str(), request.headers().get("host")), ("POST", None));
    assert_eq!((&request.headers()["ce-id"], &request.headers()["content-length"]), (&"1".parse().unwrap(), &"5".parse().unwrap()));
}

#[tokio::test]
async fn http_1_1_is_spoken_where_the_receiver_knows_no_other() {
    let authority = Authority::new();
    let mut config = authority.certified("127.0.0.1", |_| ());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Server::start_tls(TlsAcceptor::from(Arc::new(config)), |_, mut talk| async move {
        while talk.request().await.is_some() {
            talk.say(OK).await;
        }
    })
    .await;
    let mut plan = plan(&format!("https://127.0.0.1:{}/", server.address.port()));
    plan.ca_bundle = Some(authority.pem());
    let mut sink = HttpSink::new(&plan, PATIENT, &context()).expect("a good plan");
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(server.requests()[0].line, "POST / HTTP/1.1");
}

#[tokio::test]
async fn sinks_of_a_destination_share_a_connection() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, _| Deed::Answer(200)).await;
    let mut first = receiver.sink(&authority, PATIENT);
    assert_eq!(send(&mut first, 1).await, DELIVERED);
    let others = (0..16).map(|_| {
        let mut sink = first.another();
        async move { send(&mut sink, 1).await }
    });
    assert!(futures::future::join_all(others).await.into_iter().all(|outcome| outcome == DELIVERED));
    assert_eq!((receiver.connections(), receiver.requests()), (1, 17));
}

#[tokio::test]
async fn a_connection_that_the_receiver_leaves_is_replaced_and_nothing_fails() {
    let authority = Authority::new();
    for leave in [|| Deed::Leave, || Deed::Answer(200)] {
        let receiver = Receiver::start(&authority, move |_, _| leave()).await;
        let mut sink = receiver.sink(&authority, PATIENT);
        for number in 1..=4 {
            assert_eq!(send(&mut sink, number).await, DELIVERED);
        }
        assert_eq!(receiver.requests(), 4);
    }
}

#[tokio::test]
async fn a_request_that_was_not_looked_at_is_sent_once_more_for_free() {
    let authority = Authority::new();
    for deed in [|| Deed::Reset(Reason::REFUSED_STREAM), || Deed::Abandon] {
        // also the first request of a connection
        let receiver = Receiver::start(&authority, move |_, count| if count % 2 == 1 { deed() } else { Deed::Answer(200) }).await;
        let mut sink = receiver.sink(&authority, PATIENT);
        for number in 1..=3 {
            assert_eq!(send(&mut sink, number).await, DELIVERED);
        }
    }
    let receiver = Receiver::start(&authority, |_, _| Deed::Reset(Reason::REFUSED_STREAM)).await;
    let failure = failed(send(&mut receiver.sink(&authority, PATIENT), 1).await);
    assert_eq!((failure.class, receiver.requests()), (Class::ConnectionReset, 2), "{}", failure.message);
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_is_replaced_for_free() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, count| if count == 2 { Deed::Vanish } else { Deed::Answer(200) }).await;
    let mut sink = receiver.sink(&authority, PATIENT);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    assert_eq!(send(&mut sink, 2).await, DELIVERED);
    assert_eq!((receiver.connections(), receiver.requests()), (2, 3));
}

#[tokio::test]
async fn a_request_that_is_reset_or_lost_on_a_new_connection_counts() {
    let authority = Authority::new();
    for deed in [|| Deed::Reset(Reason::INTERNAL_ERROR), || Deed::Vanish] {
        let receiver = Receiver::start(&authority, move |_, _| deed()).await;
        let failure = failed(send(&mut receiver.sink(&authority, PATIENT), 1).await);
        assert_eq!((failure.class, failure.code), (Class::ConnectionReset, None), "{}", failure.message);
        assert_eq!(receiver.requests(), 1);
    }
}

#[tokio::test]
async fn a_time_out_resets_its_stream_and_no_other() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, count| if count == 2 { Deed::Hang } else { Deed::Answer(200) }).await;
    let mut patient = receiver.sink(&authority, PATIENT);
    assert_eq!(send(&mut patient, 1).await, DELIVERED);
    let mut impatient = patient.another();
    impatient.timeout = IMPATIENT;
    // the others go on meanwhile, so the connection lives
    let given_up = AtomicBool::new(false);
    let others = async {
        while receiver.requests() < 2 {
            tokio::task::yield_now().await;
        }
        while !given_up.load(Ordering::Relaxed) {
            assert_eq!(send(&mut patient, 1).await, DELIVERED);
        }
    };
    let hanging = async {
        assert_eq!(class(send(&mut impatient, 1).await), Class::Timeout);
        given_up.store(true, Ordering::Relaxed);
    };
    futures::future::join(others, hanging).await;
    receiver.reset.notified().await;
    assert_eq!(send(&mut impatient, 2).await, DELIVERED);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_not_used_again() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |connection, count| match (connection, count) {
        (1, 2) => Deed::Hang,
        _ => Deed::Answer(200),
    })
    .await;
    let mut sink = receiver.sink(&authority, IMPATIENT);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    // acknowledgements of the first exchange are in
    assert_eq!(class(send(&mut sink, 2).await), Class::Timeout);
    assert_eq!(send(&mut sink, 3).await, DELIVERED);
}

#[tokio::test]
async fn no_more_than_a_little_of_an_answer_is_taken() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, count| if count % 2 == 1 { Deed::Body(8 << 20) } else { Deed::Body(100) }).await;
    let mut sink = receiver.sink(&authority, PATIENT);
    for number in 1..=6 {
        assert_eq!(send(&mut sink, number).await, DELIVERED);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_no_answer() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, _| Deed::Header(20_000)).await;
    let failure = failed(send(&mut receiver.sink(&authority, PATIENT), 1).await);
    assert_eq!(failure.class, Class::InvalidResponse, "{}", failure.message);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let authority = Authority::new();
    let receiver = Receiver::start(&authority, |_, _| Deed::Answer(200)).await;
    let context = SinkContext { idle_timeout: Duration::from_millis(20), ..context() };
    let mut sink = receiver.sink_in(&authority, PATIENT, &context);
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
    let closed = async {
        while receiver.seen.lock().expect("no panic while locked").closed == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = sink.idle() => unreachable!("it has no end"),
        closed = tokio::time::timeout(PATIENT, closed) => closed.expect("it is closed"),
    }
    assert_eq!(send(&mut sink, 2).await, DELIVERED);
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_told_as_tls() {
    let authority = Authority::new();
    let mut config = authority.wanting_clients("127.0.0.1");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = Server::start_tls(TlsAcceptor::from(Arc::new(config)), |_, mut talk| async move { talk.hang().await }).await;
    let mut plan = plan(&format!("https://127.0.0.1:{}/", server.address.port()));
    plan.ca_bundle = Some(authority.pem());
    let mut sink = HttpSink::new(&plan, PATIENT, &context()).expect("a good plan");
    let failure = failed(send(&mut sink, 1).await);
    assert_eq!(failure.class, Class::TlsFailed, "{}", failure.message);
}
