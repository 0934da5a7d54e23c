//! What an operator of Posthorn looks at: `/livez`, `/readyz` that names what it waits for, `/metrics`. A port of its own.

pub mod destination;
pub mod metrics;
pub mod readiness;

pub use destination::{DeliveryState, DestinationMetrics};
pub use metrics::{IngestMetrics, IngestResult, Metrics, RouterMetrics};
pub use readiness::{Gate, Readiness};

use crate::shutdown::Shutdown;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections at once.
const CONNECTIONS: usize = 64;
/// Longest wait for the head of a request, also of the next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after `accept` failed (for want of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// What `prometheus-client` writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What the process waits for.
    pub readiness: Readiness,
    /// What it counted.
    pub metrics: Arc<Metrics>,
}

/// Serves until `shutdown` begins. Give it one that begins last, so that a draining process is still seen.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.begun() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => drop(tokio::spawn(connection(stream, place, admin.clone(), shutdown.clone()))),
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn connection(stream: TcpStream, _place: OwnedSemaphorePermit, admin: Admin, shutdown: Shutdown) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = answer(&admin, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    tokio::select! {
        _ = http.serve_connection(TokioIo::new(stream), service) => {}
        () = shutdown.begun() => {}
    }
}

fn answer(admin: &Admin, method: &Method, path: &str) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let known = matches!(path, "/livez" | "/readyz" | "/metrics");
    if known && method != Method::GET && method != Method::HEAD {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/livez" => page(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" if admin.readiness.is_ready() => page(StatusCode::OK, TEXT, format!("{}ready\n", admin.readiness.report())),
        "/readyz" => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{}not ready\n", admin.readiness.report())),
        "/metrics" => page(StatusCode::OK, OPENMETRICS, admin.metrics.encode()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "here are /livez, /readyz and /metrics\n".to_owned()),
    }
}

fn page(status: StatusCode, media_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_admin_port_tells_life_readiness_and_metrics() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let admin = Admin { readiness: Readiness::default(), metrics: Metrics::new() };
        let gate = admin.readiness.gate("redis");
        let shutdown = Shutdown::new();
        let server = tokio::spawn(serve(listener, admin, shutdown.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        gate.set_waiting("connection refused");
        let waiting = get(address, "/readyz").await;
        assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("[-]redis: connection refused"), "{waiting}");
        gate.set_ready();
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("[+]redis ok"), "{ready}");
        let metrics = get(address, "/metrics").await;
        assert!(metrics.contains("content-type: application/openmetrics-text") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));

        shutdown.begin();
        server.await.unwrap();
    }

    #[test]
    fn only_get_is_allowed() {
        let admin = Admin { readiness: Readiness::default(), metrics: Metrics::new() };
        assert_eq!(answer(&admin, &Method::POST, "/readyz").status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
