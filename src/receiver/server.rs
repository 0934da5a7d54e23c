//! The HTTP/1.1 server behind a receiver: hyper while it behaves, the bare socket when it does not.

use super::answer::{Answer, Then};
use super::seen::Seen;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

/// Decides the answer to each request, in the order in which their bodies were complete.
pub type Handler = Arc<dyn Fn(Seen) -> Answer + Send + Sync>;

/// Serves until it is dropped; that closes every connection too.
pub async fn serve(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>, handler: Handler) {
    let tls = tls.map(tokio_rustls::TlsAcceptor::from);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(greet(stream, tls.clone(), Arc::clone(&handler)))),
                // Out of file descriptors, mostly: let some connections end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn greet(stream: TcpStream, tls: Option<tokio_rustls::TlsAcceptor>, handler: Handler) {
    // Without it small answers wait for an acknowledgement; a failure only makes it slower.
    let _ = stream.set_nodelay(true);
    match tls {
        None => connection(stream, handler).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, handler).await;
            }
        }
    }
}

/// A connection that may be reset.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// One connection: hyper serves it until an answer is to be given that hyper would never send.
async fn connection(stream: impl Socket, handler: Handler) {
    let (misbehave, mut misbehaviour) = mpsc::channel(1);
    let service = service_fn(move |request| Box::pin(respond(request, Arc::clone(&handler), misbehave.clone())));
    let mut http = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    let answer = tokio::select! {
        _ = poll_fn(|cx| http.poll_without_shutdown(cx)) => return,
        answer = misbehaviour.recv() => answer,
    };
    let stream = http.into_parts().io.into_inner();
    if let Some(answer) = answer {
        // The other side may be gone already, which is no concern of ours.
        let _ = on_bare_socket(stream, answer).await;
    }
}

async fn respond(
    request: Request<Incoming>,
    handler: Handler,
    misbehave: mpsc::Sender<Answer>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let mut answer = handler(Seen::new(head.method, path, head.headers, body));
    loop {
        match answer {
            Answer::Status(status) => return Ok(response(status, &[], Bytes::new())),
            Answer::Response { status, headers, body } => return Ok(response(status, &headers, body)),
            Answer::After(delay, then) => {
                tokio::time::sleep(delay).await;
                answer = *then;
            }
            Answer::Hang | Answer::Close | Answer::Reset | Answer::Raw(..) => {
                // The connection takes the socket away from hyper, and with it this future.
                let _ = misbehave.send(answer).await;
                return Ok(pending().await);
            }
        }
    }
}

fn response(status: u16, headers: &[(String, String)], body: Bytes) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(body)).expect("tests give header names and values that HTTP allows")
}

async fn on_bare_socket(mut stream: impl Socket, answer: Answer) -> io::Result<()> {
    let then = match answer {
        Answer::Hang => Then::Hang,
        Answer::Close => Then::Close,
        Answer::Reset => Then::Reset,
        Answer::Raw(bytes, then) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            then
        }
        Answer::Status(_) | Answer::Response { .. } | Answer::After(..) => unreachable!("hyper sends these"),
    };
    match then {
        Then::Close => stream.shutdown().await,
        Then::Reset => stream.tcp().set_zero_linger(),
        Then::Hang => until_closed(&mut stream).await,
        Then::Drip(bytes, period) => drip(&mut stream, &bytes, period).await,
    }
}

/// Keeps the connection open until the other side closes it.
async fn until_closed(stream: &mut impl Socket) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

async fn drip(stream: &mut impl Socket, bytes: &[u8], period: Duration) -> io::Result<()> {
    loop {
        stream.write_all(bytes).await?;
        stream.flush().await?;
        tokio::time::sleep(period).await;
    }
}
