//! TLS for events: the certificate that is presented, as its files are now.

use super::IngestConfig;
use crate::shutdown::Shutdown;
use crate::telemetry::Throttle;
use aws_lc_rs::digest;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are read again.
const RELOAD: Duration = Duration::from_secs(10);

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its authority, in that order (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM: PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// A certificate that cannot be presented. Nothing of the key is told.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {why}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// The two do not belong together.
    #[error("the key in {} is not that of the certificate in {}; give the two that were issued together", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// What is presented to clients. Cheap to share; follows its files.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Presented>,
}

#[derive(Debug)]
struct Presented {
    certified: Arc<CertifiedKey>,
    /// Of what the files held.
    digest: digest::Digest,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, is no PEM of its kind, or the key is not the certificate's.
    pub fn load(files: TlsFiles) -> Result<Arc<Tls>, TlsError> {
        let current = RwLock::new(read(&files)?);
        Ok(Arc::new(Tls { files, current }))
    }

    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(super) fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has cipher suites for TLS 1.2 and 1.3");
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reads the files again and again, for as long as it is polled. Files that have become unusable change nothing.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        static UNUSABLE: Throttle = Throttle::new(Duration::from_secs(60));
        loop {
            tokio::time::sleep(RELOAD).await;
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(true)) => tracing::info!(file = %self.files.certificate.display(), "a new certificate is presented from now on"),
                Ok(Err(error)) => {
                    if let Some(suppressed) = UNUSABLE.pass() {
                        tracing::warn!(%error, suppressed, "the certificate read before is presented further");
                    }
                }
                // a panic was logged already
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }

    /// Whether there was something new.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let new = read(&self.files)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = current.digest.as_ref() != new.digest.as_ref();
        if changed {
            *current = new;
        }
        Ok(changed)
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).certified))
    }
}

/// The stream inside; `None` if `shutdown` came first.
///
/// # Errors
/// If the client is too slow, speaks no TLS, or does not like the certificate.
pub(super) async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    config: &IngestConfig,
    shutdown: &Shutdown,
) -> io::Result<Option<Box<TlsStream<TcpStream>>>> {
    tokio::select! {
        done = tokio::time::timeout(config.handshake_timeout, acceptor.accept(stream)) => Ok(Some(Box::new(done??))),
        () = shutdown.begun() => Ok(None),
    }
}

fn read(files: &TlsFiles) -> Result<Presented, TlsError> {
    let (certificate, key) = (bytes(&files.certificate)?, bytes(&files.key)?);
    let unusable = |file: &Path, why: &str| TlsError::Unusable { file: file.to_owned(), why: why.to_owned() };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(&files.certificate, &format!("is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(unusable(&files.certificate, "holds no certificate (PEM)"));
    }
    let private = PrivateKeyDer::from_pem_slice(&key).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable(&files.key, "holds no private key (PEM, without a passphrase)"),
        error => unusable(&files.key, &format!("is not PEM: {error}")),
    })?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
        }
        rustls::Error::InvalidCertificate(_) => unusable(&files.certificate, "holds a certificate that cannot be read"),
        error => unusable(&files.key, &error.to_string()),
    })?;
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [&certificate, &key] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(Presented { certified: Arc::new(certified), digest: hash.finish() })
}

fn bytes(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })
}
