//! Values of Secrets, each checked for what it is used as. No message repeats one.

use super::{Keep, Problem, Reason, Secret};
use crate::api::objects::{Objects, SecretObject};
use crate::api::sink::{SecretKeyRef, SecretRef};
use crate::plan::{Auth, ClientCertificate};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Reads base64 with and without padding.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What the destinations of one namespace may refer to.
pub(super) struct Vault<'a> {
    pub(super) namespace: &'a str,
    pub(super) objects: &'a Objects,
}

impl Vault<'_> {
    fn secret(&self, path: &str, name: &str) -> Result<&SecretObject, Problem> {
        let namespace = self.namespace;
        let missing =
            || Problem::new(path, Reason::SecretNotFound, format!("there is no Secret {name} in namespace {namespace}; create it"));
        let secret = self.objects.secret(namespace, name).ok_or_else(missing)?;
        let message = || {
            format!("Secret {name} may not be used: give it the label posthorn.dev/allow: \"true\" or the type posthorn.dev/credentials")
        };
        if secret.allowed { Ok(secret) } else { Err(Problem::new(path, Reason::SecretNotAllowed, message())) }
    }

    /// A value as text, without line breaks at its end: files and editors leave them, and no value that is used here ends with one.
    pub(super) fn text(&self, path: &str, key: &SecretKeyRef) -> Result<String, Problem> {
        let SecretKeyRef { name, key: field } = key;
        let data = &self.secret(path, name)?.data;
        let missing = || Problem::new(path, Reason::SecretKeyMissing, format!("Secret {name} has no key {field}; add it"));
        let bytes = data.get(field).ok_or_else(missing)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.invalid(path, key, "its value is not text"))?.trim_end_matches(['\r', '\n']);
        if text.is_empty() { Err(self.invalid(path, key, "its value is empty")) } else { Ok(text.to_owned()) }
    }

    pub(super) fn invalid(&self, path: &str, key: &SecretKeyRef, what: impl AsRef<str>) -> Problem {
        Problem::new(path, Reason::InvalidSecret, format!("key {} of Secret {}: {}", key.key, key.name, what.as_ref()))
    }

    /// A value of a ConfigMap.
    pub(super) fn config(&self, path: &str, name: &str, key: &str) -> Result<String, Problem> {
        let missing = |what: String| Problem::new(path, Reason::ConfigMapNotFound, what);
        let namespace = self.namespace;
        let data = self.objects.config_map(namespace, name);
        let data = data.ok_or_else(|| missing(format!("there is no ConfigMap {name} in namespace {namespace}; create it")))?;
        data.get(key).cloned().ok_or_else(|| missing(format!("ConfigMap {name} has no key {key}; add it")))
    }

    /// The value of a request header (RFC 9110, section 5.5).
    pub(super) fn header_value(&self, path: &str, key: &SecretKeyRef) -> Result<Secret, Problem> {
        let text = self.text(path, key)?;
        let legal = http::HeaderValue::from_str(&text).is_ok();
        if legal { Ok(Secret::new(text)) } else { Err(self.invalid(path, key, "its value has characters that no header may have")) }
    }

    /// A bearer token (RFC 6750, section 2.1).
    pub(super) fn token(&self, path: &str, key: &SecretKeyRef) -> Result<Secret, Problem> {
        let text = self.text(path, key)?;
        let legal = text.bytes().all(|byte| byte.is_ascii_graphic());
        if legal { Ok(Secret::new(text)) } else { Err(self.invalid(path, key, "a token has no spaces and only ASCII characters")) }
    }

    /// User name and password (RFC 7617).
    pub(super) fn basic(&self, path: &str, SecretRef { name }: &SecretRef) -> Result<Auth, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut part = |key: &str| {
            let key = SecretKeyRef { name: name.clone(), key: key.to_owned() };
            let text = self.text(path, &key).and_then(|text| match text.chars().any(char::is_control) {
                true => Err(self.invalid(path, &key, "its value has control characters")),
                false => Ok(text),
            });
            problems.keep(text.map_err(|problem| vec![problem])).map(|text| (key, text))
        };
        let (username, password) = (part("username"), part("password"));
        match (username, password) {
            (Some((key, username)), Some(_)) if username.contains(':') => Err(vec![self.invalid(path, &key, "a user name has no colon")]),
            (Some((_, username)), Some((_, password))) => {
                Ok(Auth::Basic { username: Secret::new(username), password: Secret::new(password) })
            }
            _ => Err(problems),
        }
    }

    /// Certificate and key of a Secret of type `kubernetes.io/tls` (keys tls.crt and tls.key, PEM).
    pub(super) fn client_certificate(&self, path: &str, SecretRef { name }: &SecretRef) -> Result<ClientCertificate, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut part = |key: &str, check: fn(&str) -> bool, what: &str| {
            let key = SecretKeyRef { name: name.clone(), key: key.to_owned() };
            let text = self.text(path, &key).and_then(|text| if check(&text) { Ok(text) } else { Err(self.invalid(path, &key, what)) });
            problems.keep(text.map_err(|problem| vec![problem]))
        };
        let chain = part("tls.crt", is_chain, "its value is no PEM certificate (-----BEGIN CERTIFICATE-----)");
        let key = part("tls.key", |text| PrivateKeyDer::from_pem_slice(text.as_bytes()).is_ok(), "its value is no PEM private key");
        match (chain, key) {
            (Some(chain), Some(key)) if is_pair(&chain, &key) => Ok(ClientCertificate { chain, key: Secret::new(key) }),
            (Some(_), Some(_)) => {
                let what = "its value is not the key of the first certificate in tls.crt, or of a kind that cannot be used";
                Err(vec![self.invalid(path, &SecretKeyRef { name: name.clone(), key: "tls.key".to_owned() }, what)])
            }
            _ => Err(problems),
        }
    }

    /// A secret of Standard Webhooks: `whsec_` and 24 to 64 bytes for HMAC-SHA256, `whsk_` and a key of 32 or 64 bytes for ed25519.
    pub(super) fn signing_secret(&self, path: &str, key: &SecretKeyRef) -> Result<Secret, Problem> {
        let text = self.text(path, key)?;
        let decoded = |prefix| text.strip_prefix(prefix).map(|base64| LENIENT.decode(base64).unwrap_or_default());
        let refuse = |what: &str| Err(self.invalid(path, key, what));
        match (decoded("whsec_"), decoded("whsk_")) {
            (Some(bytes), _) if (24..=64).contains(&bytes.len()) => Ok(Secret::new(text)),
            (_, Some(bytes)) if is_ed25519(&bytes) => Ok(Secret::new(text)),
            (Some(_), _) => refuse("whsec_ is followed by the base64 of 24 to 64 bytes"),
            (_, Some(_)) => refuse("whsk_ is followed by the base64 of an ed25519 key: a seed of 32 bytes, or it and its public key"),
            (None, None) => refuse("a signing secret begins with whsec_ or whsk_"),
        }
    }
}

/// Whether PEM certificates begin with the one of a PEM private key.
fn is_pair(chain: &str, key: &str) -> bool {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(key.as_bytes())) else { return false };
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).is_ok()
}

/// Whether a text is PEM certificates, at least one.
fn is_chain(text: &str) -> bool {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    certificates.is_ok_and(|certificates| !certificates.is_empty())
}

/// Whether bytes are a seed, or a seed and the public key that belongs to it (RFC 8032).
fn is_ed25519(bytes: &[u8]) -> bool {
    let (seed, public) = bytes.split_at(bytes.len().min(32));
    match public.len() {
        0 => Ed25519KeyPair::from_seed_unchecked(seed).is_ok(),
        _ => Ed25519KeyPair::from_seed_and_public_key(seed, public).is_ok(),
    }
}
