//! The files that an API server is started with, made anew for each.

use super::guard::Guard;
use rcgen::{CertifiedKey, KeyPair};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Token of the administrator, good for this API server only.
pub const ADMIN: &str = "admin-of-this-test";

/// Writes and Secrets whole; of other reads, who asked for what. What the server asks of itself is of no interest.
const AUDIT: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:apiserver", "system:anonymous"]}
- {level: RequestResponse, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, verbs: [create, update, patch, delete, deletecollection]}
- {level: Metadata}
"#;

/// Writes all files into the folder of the guard. Returns the certificate of the server, PEM.
pub fn write(guard: &Guard) -> String {
    let tokens = KeyPair::generate().unwrap();
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let contents = [
        ("tls.crt", cert.pem()),
        ("tls.key", signing_key.serialize_pem()),
        ("tokens.key", tokens.serialize_pem()),
        ("tokens.pub", tokens.public_key_pem()),
        ("users.csv", format!("{ADMIN},admin,admin,\"system:masters\"\n")),
        ("audit.yaml", AUDIT.to_owned()),
    ];
    for (name, text) in contents {
        std::fs::write(guard.file(name), text).unwrap();
    }
    cert.pem()
}

/// Writes a kubeconfig.
pub fn kubeconfig(file: PathBuf, server: &str, certificate: &Path, token: &str, namespace: &str) -> PathBuf {
    let config: Value = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": certificate}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
    });
    std::fs::write(&file, config.to_string()).unwrap();
    file
}
