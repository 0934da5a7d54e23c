//! TLS: what is presented, and to whom it is spoken.

use super::*;
use crate::ingest::{Tls, TlsError, TlsFiles};
use http::Version;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A certificate and its key in files.
struct Files(TempDir);

impl Files {
    /// Both new, for the name `localhost`.
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.renew();
        files
    }

    fn names(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.path().join("tls.crt"), key: self.0.path().join("tls.key") }
    }

    /// Other ones in the same files.
    fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(self.names().certificate, certificate.pem()).unwrap();
        std::fs::write(self.names().key, key.serialize_pem()).unwrap();
    }

    /// A client that trusts the certificate as it is now, and nothing else.
    fn client(&self, versions: &[&'static SupportedProtocolVersion], protocol: &[u8]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.names().certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    fn config(&self) -> (Arc<Tls>, IngestConfig) {
        let tls = Tls::load(self.names()).unwrap();
        (Arc::clone(&tls), IngestConfig { tls: Some(tls), handshake_timeout: PATIENCE, ..patient() })
    }
}

impl Running {
    async fn connect_tls(&self, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
        client.connect(ServerName::try_from("localhost").unwrap(), self.connect().await).await
    }

    /// The status of an answer on a TLS connection of its own.
    async fn get_tls(&self, client: &TlsConnector) -> std::io::Result<u16> {
        let mut stream = self.connect_tls(client).await?;
        stream.write_all(GET.as_bytes()).await?;
        Ok(status(&read_to_end(&mut stream).await))
    }
}

#[tokio::test]
async fn events_are_taken_by_http1_over_every_version_of_tls() {
    let files = Files::new();
    let (_redis, ingest) = start_with_redis(files.config().1, Settings::default()).await;
    for (version, id) in [(&version::TLS12, "1"), (&version::TLS13, "2")] {
        let mut stream = ingest.connect_tls(&files.client(&[version], b"http/1.1")).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(&binary("/", id, "", &[b'x'; 100_000])).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert_eq!(status(&answer), 202, "{answer}");
    }
}

#[tokio::test]
async fn events_are_taken_by_http2_over_tls() {
    let files = Files::new();
    let (_redis, ingest) = start_with_redis(files.config().1, Settings::default()).await;
    let stream = ingest.connect_tls(&files.client(rustls::ALL_VERSIONS, b"h2")).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let posts = (0..20).map(|id| client.clone().send_request(event_to(format!("https://localhost:{}/", ingest.address.port()), id)));
    for answer in futures::future::join_all(posts).await {
        let answer = answer.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 202));
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_presented_and_open_connections_go_on() {
    let files = Files::new();
    let (tls, config) = files.config();
    let ingest = start_without_redis(config, Settings::default()).await;
    let old = files.client(rustls::ALL_VERSIONS, b"http/1.1");
    let mut open = ingest.connect_tls(&old).await.unwrap();
    assert!(!tls.reload().unwrap(), "nothing changed");
    files.renew();
    assert!(tls.reload().unwrap());
    assert_eq!(ingest.get_tls(&files.client(rustls::ALL_VERSIONS, b"http/1.1")).await.unwrap(), 405);
    let other = ingest.connect_tls(&files.client(rustls::ALL_VERSIONS, b"h2")).await.unwrap();
    assert_ne!(other.get_ref().1.peer_certificates(), open.get_ref().1.peer_certificates());
    open.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(status(&read_to_end(&mut open).await), 405);
}

#[tokio::test]
async fn files_that_have_become_unusable_change_nothing() {
    let (files, others) = (Files::new(), Files::new());
    let (tls, config) = files.config();
    let ingest = start_without_redis(config, Settings::default()).await;
    let client = files.client(rustls::ALL_VERSIONS, b"http/1.1");
    std::fs::copy(others.names().key, files.names().key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
    std::fs::remove_file(files.names().certificate).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unreadable { .. })));
    assert_eq!(ingest.get_tls(&client).await.unwrap(), 405);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_closed_and_gives_its_place_back() {
    let config = IngestConfig { handshake_timeout: Duration::from_millis(50), max_connections: 1, ..Files::new().config().1 };
    let ingest = start_without_redis(config, Settings::default()).await;
    // nothing, and the head of a record of which no more comes
    for part in [&b""[..], &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..]] {
        assert_eq!(ingest.exchange(part).await, "");
    }
    until("the places are given back", || ingest.metrics.ingest.connections.get() == 0).await;
    assert_eq!(ingest.metrics.ingest.handshakes_failed.get(), 2);
}

#[tokio::test]
async fn plain_http_on_the_port_for_tls_is_closed_without_an_answer() {
    let files = Files::new();
    let ingest = start_without_redis(files.config().1, Settings::default()).await;
    let mut stream = ingest.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // closed or reset: what was sent is not read to its end
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    until("it is counted", || ingest.metrics.ingest.handshakes_failed.get() == 1).await;
    assert_eq!(ingest.get_tls(&files.client(rustls::ALL_VERSIONS, b"http/1.1")).await.unwrap(), 405);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_handshake() {
    let ingest = start_without_redis(Files::new().config().1, Settings::default()).await;
    let _silent = ingest.connect().await;
    until("it is there", || ingest.metrics.ingest.connections.get() == 1).await;
    ingest.shutdown.begin();
    tokio::time::timeout(PATIENCE / 2, ingest.server).await.expect("it ends before the handshake would").unwrap();
}

#[test]
fn what_cannot_be_presented_is_refused_with_its_file() {
    let files = Files::new();
    let refused = |certificate: Option<&str>, key: Option<&str>| {
        for (file, text) in [(files.names().certificate, certificate), (files.names().key, key)] {
            if let Some(text) = text {
                std::fs::write(file, text).unwrap();
            }
        }
        let error = Tls::load(files.names()).unwrap_err().to_string();
        files.renew();
        error
    };
    let key = KeyPair::generate().unwrap().serialize_pem();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let cases = [
        (refused(Some(""), None), "tls.crt: holds no certificate"),
        (refused(Some(&key), None), "tls.crt: holds no certificate"),
        (refused(Some(garbage), None), "tls.crt"),
        (refused(None, Some("")), "tls.key: holds no private key"),
        (refused(None, Some(encrypted)), "without a passphrase"),
        (refused(None, Some(&key)), "is not that of the certificate"),
    ];
    for (error, expected) in cases {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    std::fs::remove_file(files.names().key).unwrap();
    assert!(Tls::load(files.names()).unwrap_err().to_string().contains("tls.key: No such file"));
}
