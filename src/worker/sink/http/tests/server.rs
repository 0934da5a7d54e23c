//! A TCP server that says exactly what a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Listens on a free port of 127.0.0.1 until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Request>,
}

/// A request as it was read.
#[derive(Clone, Debug)]
pub struct Request {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The values of a header, joined by `|`; empty if it is absent.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("|")
    }
}

pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// One connection, seen from the server.
pub struct Talk {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// `handler` gets the number of the connection, from 1, and the connection, which closes when it returns.
    pub async fn start<F: Future<Output = ()> + Send + 'static>(handler: impl Fn(usize, Talk) -> F + Send + Sync + 'static) -> Server {
        Server::launch(None, handler).await
    }

    /// The same behind TLS.
    pub async fn start_tls<F: Future<Output = ()> + Send + 'static>(
        acceptor: TlsAcceptor,
        handler: impl Fn(usize, Talk) -> F + Send + Sync + 'static,
    ) -> Server {
        Server::launch(Some(acceptor), handler).await
    }

    /// Answers each request with the same bytes.
    pub async fn answering(answer: &'static [u8]) -> Server {
        Server::start(move |_, mut talk| async move {
            while talk.request().await.is_some() {
                talk.say(answer).await;
            }
        })
        .await
    }

    async fn launch<F: Future<Output = ()> + Send + 'static>(
        acceptor: Option<TlsAcceptor>,
        handler: impl Fn(usize, Talk) -> F + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn({
            let (seen, handler) = (seen.clone(), Arc::new(handler));
            async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let number = {
                        let mut seen = seen.lock().expect("no panic while locked");
                        seen.connections += 1;
                        seen.connections
                    };
                    let (seen, handler, acceptor) = (seen.clone(), handler.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        if let Some(stream) = secure(acceptor, tcp).await {
                            handler(number, Talk { stream, buffer: Vec::new(), seen }).await;
                        }
                    });
                }
            }
        });
        Server { address, seen, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().expect("no panic while locked").connections
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic while locked").requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn secure(acceptor: Option<TlsAcceptor>, tcp: TcpStream) -> Option<Box<dyn Duplex>> {
    match acceptor {
        None => Some(Box::new(tcp)),
        Some(acceptor) => Some(Box::new(acceptor.accept(tcp).await.ok()?)),
    }
}

impl Talk {
    /// The next request; `None` when the client closed the connection.
    pub async fn request(&mut self) -> Option<Request> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.read().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut request = Request { line, headers, body: Vec::new() };
        let length: usize = request.header("content-length").parse().expect("a content-length");
        while self.buffer.len() < end + 4 + length {
            self.read().await?;
        }
        request.body = self.buffer[end + 4..end + 4 + length].to_vec();
        self.buffer.drain(..end + 4 + length);
        self.seen.lock().expect("no panic while locked").requests.push(request.clone());
        Some(request)
    }

    /// Writes; false once the client has closed the connection.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Says nothing until the client closes the connection.
    pub async fn hang(&mut self) {
        while self.read().await.is_some() {}
    }

    async fn read(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

/// A port of 127.0.0.1 that refuses connections as long as the socket lives.
pub fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}
