//! Certificates and TLS configurations.

use super::config::ConfigError;
use crate::authorities;
use crate::plan::{ClientCertificate, HttpSink};
use aws_lc_rs::digest;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// TLS configurations of a process. Sinks that trust the same and present the same share one, and with it the sessions that can be
/// resumed.
#[derive(Default)]
pub struct Trust {
    system: OnceLock<Arc<RootCertStore>>,
    /// By [`Security::digest`], so that no key stays here; an entry lives as long as a sink uses it.
    configs: Mutex<HashMap<Vec<u8>, Weak<ClientConfig>>>,
}

/// Whom a connection trusts, and what it presents.
#[derive(Clone, Copy)]
pub(super) struct Security<'a> {
    /// PEM certificates of authorities; `None` for the system's.
    pub(super) bundle: Option<&'a str>,
    pub(super) certificate: Option<&'a ClientCertificate>,
    /// Any certificate is accepted.
    pub(super) skip_verify: bool,
}

impl<'a> Security<'a> {
    pub(super) fn of(plan: &'a HttpSink) -> Security<'a> {
        Security {
            bundle: plan.ca_bundle.as_deref(),
            certificate: plan.client_certificate.as_ref(),
            skip_verify: plan.insecure_skip_verify,
        }
    }

    fn digest(&self) -> Vec<u8> {
        let certificate = self.certificate.map(|ClientCertificate { chain, key }| (chain.as_str(), key.expose()));
        let parts = [self.bundle, certificate.map(|(chain, _)| chain), certificate.map(|(_, key)| key), self.skip_verify.then_some("")];
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in parts {
            hash.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.unwrap_or_default().as_bytes());
        }
        hash.finish().as_ref().to_vec()
    }
}

impl Trust {
    /// The configuration for connections of this kind.
    pub(super) fn client_config(&self, security: Security<'_>) -> Result<Arc<ClientConfig>, ConfigError> {
        let digest = security.digest();
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&digest).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let config = Arc::new(self.build(security)?);
        configs.retain(|_, config| config.strong_count() > 0);
        configs.insert(digest, Arc::downgrade(&config));
        Ok(config)
    }

    fn build(&self, Security { bundle, certificate, skip_verify }: Security<'_>) -> Result<ClientConfig, ConfigError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has cipher suites for TLS 1.2 and 1.3");
        let builder = match (skip_verify, bundle) {
            (true, _) => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            (false, Some(pem)) => builder.with_root_certificates(authorities::of_pem(pem.as_bytes()).map_err(|_| ConfigError::CaBundle)?),
            (false, None) => builder.with_root_certificates(self.system_roots()?),
        };
        present(builder, certificate)
    }

    fn system_roots(&self) -> Result<Arc<RootCertStore>, ConfigError> {
        if let Some(roots) = self.system.get() {
            return Ok(roots.clone());
        }
        let roots = authorities::of_system().map_err(|_| ConfigError::NoSystemRoots)?;
        Ok(self.system.get_or_init(|| Arc::new(roots)).clone())
    }
}

fn present(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, ConfigError> {
    let Some(ClientCertificate { chain, key }) = certificate else { return Ok(builder.with_no_client_auth()) };
    let wrong = |_| ConfigError::ClientCertificate;
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(wrong)?;
    builder.with_client_auth_cert(chain, key).map_err(|_| ConfigError::ClientCertificate)
}

/// Accepts every certificate, but not a signature that is not of its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}
