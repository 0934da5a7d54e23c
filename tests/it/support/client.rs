//! Posts events to an ingest and remembers what was accepted.

use super::checker::Accepted;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use posthorn::event::Sequence;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// Why there is no answer: nobody knows what became of the request.
pub type Unanswered = Box<dyn Error + Send + Sync>;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// An event to post, binary mode.
#[derive(Clone, Debug)]
pub struct Post {
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `type`.
    pub event_type: String,
    /// Body.
    pub data: Bytes,
}

impl Post {
    /// An event with this number in its ID and its data.
    pub fn numbered(number: u64) -> Post {
        Post {
            id: format!("event-{number}"),
            source: "/test".into(),
            event_type: "com.example.test".into(),
            data: Bytes::from(format!("{{\"number\":{number}}}")),
        }
    }
}

/// One connection to an ingest, opened again when it breaks.
pub struct Client {
    addr: SocketAddr,
    path: String,
    connection: Option<(http1::SendRequest<Full<Bytes>>, AbortOnDropHandle<()>)>,
    /// Answered with 202, in that order.
    pub accepted: Vec<Accepted>,
    /// Posted, and neither accepted nor surely refused.
    pub uncertain: Vec<Post>,
}

impl Client {
    /// Posts to bus `default`.
    pub fn new(addr: SocketAddr) -> Client {
        Client::of_bus(addr, "default")
    }

    /// Posts to another bus.
    pub fn of_bus(addr: SocketAddr, bus: &str) -> Client {
        Client::at(addr, format!("/v1/buses/{bus}/events"))
    }

    /// Posts to any path, such as that of a proxy.
    pub fn at(addr: SocketAddr, path: String) -> Client {
        Client { addr, path, connection: None, accepted: Vec::new(), uncertain: Vec::new() }
    }

    /// Posts to bus `default` over a connection that is there.
    pub async fn over(addr: SocketAddr, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Client, Unanswered> {
        Ok(Client { connection: Some(handshake(stream).await?), ..Client::new(addr) })
    }

    /// Posts an event once. What 202 or an unknown outcome says is remembered.
    pub async fn post(&mut self, post: &Post) -> Result<Answer, Unanswered> {
        let request = Request::post(&self.path)
            .header("ce-specversion", "1.0")
            .header("ce-id", &post.id)
            .header("ce-source", &post.source)
            .header("ce-type", &post.event_type)
            .header("content-type", "application/json");
        let answer = self.send(request.body(Full::new(post.data.clone()))?).await;
        match &answer {
            Ok(answer) if answer.status == 202 => self.accept(post, &answer.body)?,
            Ok(answer) if !is_unknown(answer) => {}
            _ => self.uncertain.push(post.clone()),
        }
        answer
    }

    /// Posts an event with the same ID until it is accepted.
    pub async fn post_until_accepted(&mut self, post: &Post) {
        super::eventually(&format!("202 for {}", post.id), async || match self.post(post).await {
            Ok(answer) if answer.status == 202 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))),
            Err(error) => Err(error.to_string()),
        })
        .await;
    }

    /// Sends any request over the kept connection.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
        request.headers_mut().insert("host", self.addr.to_string().parse()?);
        let (sender, _) = match self.connection.take() {
            Some(open) if !open.0.is_closed() => self.connection.insert(open),
            _ => self.connection.insert(connect(self.addr).await?),
        };
        let answer = exchange(sender, request).await;
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    fn accept(&mut self, post: &Post, body: &[u8]) -> Result<(), Unanswered> {
        let body: serde_json::Value = serde_json::from_slice(body)?;
        let sequence: Sequence = body["sequence"].as_str().ok_or("the answer has no sequence")?.parse()?;
        self.uncertain.retain(|other| (&other.id, &other.source) != (&post.id, &post.source));
        if self.accepted.iter().all(|other| other.sequence != sequence) {
            self.accepted.push(Accepted {
                sequence,
                id: post.id.clone(),
                source: post.source.clone(),
                event_type: post.event_type.clone(),
                data: Some(post.data.clone()),
            });
        }
        Ok(())
    }
}

/// GET over a connection of its own.
pub async fn get(addr: SocketAddr, path: &str) -> Result<Answer, Unanswered> {
    let (mut sender, _connection) = connect(addr).await?;
    let request = Request::builder().method(Method::GET).uri(path).header("host", addr.to_string());
    exchange(&mut sender, request.body(Full::default())?).await
}

/// RFC 9457: `type` says that the event may have been stored.
fn is_unknown(answer: &Answer) -> bool {
    String::from_utf8_lossy(&answer.body).contains("outcome-unknown")
}

async fn connect(addr: SocketAddr) -> Result<(http1::SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), Unanswered> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    handshake(stream).await
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(http1::SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), Unanswered> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(async move {
        // Its end is seen by whoever sends.
        let _ = connection.await;
    });
    Ok((sender, AbortOnDropHandle::new(driver)))
}

async fn exchange(sender: &mut http1::SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
    let exchange = async {
        sender.ready().await?;
        let (head, body) = Response::into_parts(sender.send_request(request).await?);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await?.to_bytes() })
    };
    tokio::time::timeout(Duration::from_secs(20), exchange).await?
}
