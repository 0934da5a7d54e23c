//! An authority that certifies servers of this machine.

use super::redis::{Options, Redis, free_port};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An authority, and the files that it has made.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::with_prefix("posthorn-authority-").unwrap();
        std::fs::write(dir.path().join("ca.crt"), issuer.pem()).unwrap();
        Authority { issuer, dir }
    }

    /// The file with its certificate.
    pub fn file(&self) -> String {
        self.dir.path().join("ca.crt").display().to_string()
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A new certificate of this machine as `tls.crt`, with its key as `tls.key`, in this folder.
    pub fn certify(&self, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("tls.crt"), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    }

    /// How a Redis is set up that speaks TLS as well; and its URL.
    pub fn redis(&self) -> (Options, String) {
        self.certify(self.dir.path());
        let (port, file) = (free_port(), |name: &str| self.dir.path().join(name).display().to_string());
        let more = vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", file("tls.crt")),
            ("tls-key-file", file("tls.key")),
            ("tls-ca-cert-file", file("ca.crt")),
            ("tls-auth-clients", "no".to_owned()),
        ];
        (Options { more, ..Options::default() }, format!("rediss://127.0.0.1:{port}"))
    }

    /// A folder of this value.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}

/// How many connections of the roles a Redis has by TLS, and how many by its port without.
pub fn connections(redis: &Redis, tls_url: &str) -> (usize, usize) {
    let tls = tls_url.rsplit_once(':').unwrap().1.to_owned();
    let list = redis.cli(&["CLIENT", "LIST"]);
    let by = |port: &str| list.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{port} "))).count();
    (by(&tls), by(&redis.addr().port().to_string()))
}
