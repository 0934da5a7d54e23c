//! HTTP/2 by prior knowledge.

use super::*;
use http::Version;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

#[tokio::test]
async fn many_events_share_one_connection() {
    let (_redis, ingest) = start_with_redis(patient(), Settings::default()).await;
    let socket = TokioIo::new(ingest.connect().await);
    let (client, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), socket).await.unwrap();
    tokio::spawn(connection);
    let posts = (0..100).map(|id| client.clone().send_request(event_to(format!("http://{}/", ingest.address), id)));
    for answer in futures::future::join_all(posts).await {
        let answer = answer.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 202));
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(ingest.metrics.ingest.connections.get(), 1);
}

#[tokio::test]
async fn a_refusal_ends_its_stream_and_not_the_connection() {
    let settings = Settings::parse("buses: {default: {maxEventBytes: 64}}", Path::new("")).unwrap();
    let ingest = start_without_redis(patient(), settings).await;
    let socket = TokioIo::new(ingest.connect().await);
    let (mut client, connection) = http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), socket).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::post(format!("http://{}/", ingest.address))
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .body(Full::new(Bytes::from(vec![b'x'; 65])))
            .unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status().as_u16(), 413);
    }
}
