//! Certificate authorities, of the system or of a file, and clients that trust them.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// The system has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this system has no certificate authorities: install its package `ca-certificates`")]
pub struct NoAuthorities;

/// What does not say whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum BadPem {
    /// It cannot be read as PEM.
    #[error("is not PEM: {0}")]
    NotPem(#[from] pem::Error),
    /// Something else is in it.
    #[error("holds something that is no certificate")]
    NoCertificate(#[from] rustls::Error),
    /// There is nothing in it.
    #[error("holds no certificate")]
    Empty,
}

/// Those whose certificates are in a text (PEM).
///
/// # Errors
/// If there is none, or anything that cannot be trusted.
pub fn of_pem(text: &[u8]) -> Result<RootCertStore, BadPem> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(BadPem::Empty) } else { Ok(roots) }
}

/// Those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set. Read anew at each call.
///
/// # Errors
/// If there is none that can be used.
pub fn of_system() -> Result<RootCertStore, NoAuthorities> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 { Err(NoAuthorities) } else { Ok(roots) }
}

/// TLS 1.2 and 1.3 to servers that these authorities certify, without a certificate of our own.
pub fn client(roots: RootCertStore) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has cipher suites for TLS 1.2 and 1.3");
    builder.with_root_certificates(roots).with_no_client_auth()
}
