//! A real etcd and a real kube-apiserver, with our CustomResourceDefinition and that of ReferenceGrant.
//!
//! RBAC decides, tokens of ServiceAccounts are real, and every write is in the audit log. There is no controller manager: what a test needs of
//! it is played by [`super::namespaces`] and by the kubelet.

use super::files;
use super::guard::{Guard, Process};
use super::it::eventually::{eventually_within, holds};
use super::it::redis::free_port;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long it may take to start on a busy machine; two or three seconds are usual.
const STARTS_WITHIN: Duration = Duration::from_secs(90);
/// How long an API server may take to end in good order.
const GRACE: Duration = Duration::from_secs(20);

/// One API server on one etcd. When dropped both end, and their files are removed.
pub struct Cluster {
    pub(super) guard: Arc<Guard>,
    pub(super) programs: &'static Path,
    port: u16,
    etcd_port: u16,
    apiserver: Option<Process>,
    etcd: Process,
}

impl Cluster {
    /// The one that calm tests of this process share, each in a [namespace](Cluster::namespace) of its own.
    pub async fn shared() -> &'static Cluster {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED.get_or_init(Cluster::start).await
    }

    /// One of the test's own, which it may disturb.
    pub async fn start() -> Cluster {
        let cluster = Cluster::bare().await;
        cluster.define(&posthorn::api::crd::crd_json()).await;
        cluster.define(&foreign_crds("referencegrants")[0]).await;
        cluster
    }

    /// One without any CustomResourceDefinition.
    pub async fn bare() -> Cluster {
        // The harness and the operator's clients need one provider, as `main` installs it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
        let programs = PROGRAMS.get_or_init(|| script("hack/apiserver.sh", &[]).into());
        let guard = Guard::new("posthorn-apiserver-");
        files::write(&guard);
        let (port, etcd_port) = (free_port(), free_port());
        let etcd = start_etcd(&guard, programs, etcd_port);
        let mut cluster = Cluster { guard, programs, port, etcd_port, apiserver: None, etcd };
        let config = cluster.kubeconfig_with("admin", files::ADMIN, "default");
        assert_eq!(config, cluster.admin());
        cluster.resume().await;
        cluster
    }

    /// `https://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Kubeconfig of the administrator, whom RBAC allows everything.
    pub fn admin(&self) -> PathBuf {
        self.guard.file("admin.kubeconfig")
    }

    /// Kubeconfig of a ServiceAccount, with a token that was issued for it; makes the account if there is none.
    pub fn service_account(&self, namespace: &str, name: &str) -> PathBuf {
        self.apply(&format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: {namespace}}}}}"));
        let token = self.ok(&["create", "token", name, "-n", namespace, "--duration", "4h"]);
        self.kubeconfig_with(&format!("{namespace}.{name}"), token.trim(), namespace)
    }

    fn kubeconfig_with(&self, file: &str, token: &str, namespace: &str) -> PathBuf {
        files::kubeconfig(self.guard.file(&format!("{file}.kubeconfig")), &self.url(), &self.guard.file("tls.crt"), token, namespace)
    }

    /// A client of the administrator, for the test itself. It does not repeat a request by itself.
    pub async fn client(&self) -> Client {
        self.client_of(&self.admin()).await
    }

    /// A client of whom a kubeconfig names.
    pub async fn client_of(&self, kubeconfig: &Path) -> Client {
        client_of(kubeconfig).await
    }

    /// Ends the API server at once (SIGKILL); etcd keeps what it was told.
    pub fn kill9(&mut self) {
        self.apiserver = None;
    }

    /// Ends the API server in good order.
    pub fn stop(&mut self) {
        if let Some(mut apiserver) = self.apiserver.take() {
            apiserver.terminate(GRACE);
        }
    }

    /// Starts the API server (again), on the same port and the same etcd, and waits until it is ready.
    pub async fn resume(&mut self) {
        self.apiserver = Some(self.start_apiserver());
        let client = self.client().await;
        eventually_within(STARTS_WITHIN, "the API server is ready", async || {
            for (name, process) in [("etcd", Some(&mut self.etcd)), ("kube-apiserver", self.apiserver.as_mut())] {
                let process = process.expect("it was started");
                assert!(process.ended().is_none(), "{name} ended at its start: {}", process.log());
            }
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            let answer = client.request_text(request).await.map_err(|error| error.to_string())?;
            holds(answer == "ok", || answer)
        })
        .await;
    }

    /// Ends the API server at once and starts it again.
    pub async fn restart(&mut self) {
        self.kill9();
        self.resume().await;
    }

    /// Stops the API server from answering (SIGSTOP); its connections stay open.
    pub fn freeze(&mut self) {
        self.apiserver.as_mut().expect("it runs").signal(Signal::STOP);
    }

    /// Lets the API server answer again (SIGCONT).
    pub fn thaw(&mut self) {
        self.apiserver.as_mut().expect("it runs").signal(Signal::CONT);
    }

    /// The log of the API server.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.guard.file("kube-apiserver.log")).unwrap_or_default()
    }

    fn start_apiserver(&self) -> Process {
        let file = |name: &str| self.guard.file(name).display().to_string();
        let flags = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--secure-port={}", self.port),
            "--bind-address=127.0.0.1".into(),
            format!("--tls-cert-file={}", file("tls.crt")),
            format!("--tls-private-key-file={}", file("tls.key")),
            "--service-cluster-ip-range=10.0.0.0/16".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("tokens.pub")),
            format!("--service-account-signing-key-file={}", file("tokens.key")),
            "--authorization-mode=RBAC".into(),
            format!("--token-auth-file={}", file("users.csv")),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            "--audit-log-maxsize=4096".into(), // MB: one file, whatever a test does
        ];
        self.guard.spawn(Command::new(self.programs.join("kube-apiserver")).args(flags), "kube-apiserver.log")
    }
}

/// A client of whom a kubeconfig names. It does not repeat a request by itself.
pub async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    (config.default_retry, config.read_timeout) = (false, None);
    Client::try_from(config).unwrap()
}

fn start_etcd(guard: &Arc<Guard>, programs: &Path, port: u16) -> Process {
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new(programs.join("etcd"));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url, "--listen-peer-urls", "http://127.0.0.1:0"]);
    command.args(["--unsafe-no-fsync", "--log-level", "error", "--data-dir"]).arg(guard.file("etcd"));
    guard.spawn(&mut command, "etcd.log")
}

/// CustomResourceDefinitions of other projects: all that we use, or those with `name` in the names of their files.
pub fn foreign_crds(name: &str) -> Vec<serde_json::Value> {
    let files = script("hack/foreign-crds.sh", &[name]);
    files.lines().map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()).collect()
}

/// What a script prints.
pub fn script(path: &str, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let output = Command::new(script).args(args).stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{path} failed: see above");
    String::from_utf8(output.stdout).unwrap().trim().into()
}
