//! Certificate authorities and TLS configurations.

use super::config::ConfigError;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// TLS configurations of a process, one for each set of certificate authorities. Sinks with the same set share one, and with it
/// the sessions that can be resumed.
#[derive(Default)]
pub struct Trust {
    system: OnceLock<Arc<ClientConfig>>,
    /// By CA bundle; an entry lives as long as a sink uses it.
    bundles: Mutex<HashMap<String, Weak<ClientConfig>>>,
}

impl Trust {
    /// The configuration that trusts a CA bundle (PEM), or the system's authorities.
    pub(super) fn client_config(&self, bundle: Option<&str>) -> Result<Arc<ClientConfig>, ConfigError> {
        match bundle {
            Some(pem) => self.of_bundle(pem),
            None => self.of_system(),
        }
    }

    fn of_system(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        if let Some(config) = self.system.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if usable == 0 {
            return Err(ConfigError::NoSystemRoots);
        }
        Ok(self.system.get_or_init(|| client_config(roots)).clone())
    }

    fn of_bundle(&self, pem: &str) -> Result<Arc<ClientConfig>, ConfigError> {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = bundles.get(pem).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|_| ConfigError::CaBundle)?).map_err(|_| ConfigError::CaBundle)?;
        }
        if roots.is_empty() {
            return Err(ConfigError::CaBundle);
        }
        let config = client_config(roots);
        bundles.retain(|_, config| config.strong_count() > 0);
        bundles.insert(pem.to_owned(), Arc::downgrade(&config));
        Ok(config)
    }
}

fn client_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder.expect("the provider has cipher suites for TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}
