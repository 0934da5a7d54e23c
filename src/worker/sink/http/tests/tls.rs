//! TLS: whom a sink trusts.

use super::super::ConfigError;
use super::server::{OK, Server};
use super::*;
use crate::plan::ClientCertificate;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server configuration with a certificate for this name.
    pub(super) fn certified(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        self.configured(name, change, |builder| builder.with_no_client_auth())
    }

    /// A certificate for a client, and its key.
    fn client(&self, name: &str) -> ClientCertificate {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        ClientCertificate { chain: certificate.pem(), key: Secret::new(key.serialize_pem()) }
    }

    /// A server configuration that wants a client certificate of this authority.
    pub(super) fn wanting_clients(&self, name: &str) -> ServerConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        self.configured(name, |_| (), |builder| builder.with_client_cert_verifier(verifier))
    }

    fn configured(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
        clients: impl FnOnce(
            rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>,
        ) -> rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    ) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        clients(builder).with_single_cert(vec![certificate.der().clone()], key).expect("a configuration")
    }
}

async fn serve(config: ServerConfig) -> Server {
    Server::start_tls(TlsAcceptor::from(Arc::new(config)), |_, mut talk| async move {
        while talk.request().await.is_some() {
            talk.say(OK).await;
        }
    })
    .await
}

fn https(server: &Server, host: &str, change: impl FnOnce(&mut plan::HttpSink)) -> HttpSink {
    let mut plan = plan(&format!("https://{host}:{}/?token=canary", server.address.port()));
    change(&mut plan);
    HttpSink::new(&plan, PATIENT, &context()).expect("a good plan")
}

#[tokio::test]
async fn a_receiver_certified_by_the_given_authority_is_trusted() {
    let authority = Authority::new();
    for (certified, host) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("localhost", "localhost.")] {
        let server = serve(authority.certified(certified, |_| ())).await;
        let mut sink = https(&server, host, |plan| plan.ca_bundle = Some(authority.pem()));
        for number in 1..=3 {
            assert_eq!(send(&mut sink, number).await, DELIVERED);
        }
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn one_of_several_authorities_is_enough() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = serve(new.certified("127.0.0.1", |_| ())).await;
    let bundle = format!("# old\n{}\n# new\n{}", old.pem(), new.pem());
    assert_eq!(send(&mut https(&server, "127.0.0.1", |plan| plan.ca_bundle = Some(bundle)), 1).await, DELIVERED);
}

#[tokio::test]
async fn the_server_name_of_the_plan_is_expected() {
    let authority = Authority::new();
    let server = serve(authority.certified("ledger.example", |_| ())).await;
    let trusting = |name: Option<&str>| {
        https(&server, "127.0.0.1", |plan| {
            plan.ca_bundle = Some(authority.pem());
            plan.server_name = name.map(str::to_owned);
        })
    };
    assert_eq!(send(&mut trusting(Some("ledger.example")), 1).await, DELIVERED);
    assert_eq!(class(send(&mut trusting(Some("other.example")), 1).await), Class::TlsFailed);
    assert_eq!(class(send(&mut trusting(None), 1).await), Class::TlsFailed);
    assert!(server.requests()[0].header("host").starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn whoever_cannot_be_trusted_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(4000, 1, 1);
    let configs = [
        ("unknown authority", stranger.certified("127.0.0.1", |_| ())),
        ("wrong name", authority.certified("other.example", |_| ())),
        ("expired", authority.certified("127.0.0.1", expired)),
        ("not valid yet", authority.certified("127.0.0.1", early)),
    ];
    for (case, config) in configs {
        let server = serve(config).await;
        let mut sink = https(&server, "127.0.0.1", |plan| plan.ca_bundle = Some(authority.pem()));
        let failure = failed(send(&mut sink, 1).await);
        assert_eq!(failure.class, Class::TlsFailed, "{case}");
        assert!(!failure.message.contains("canary"), "{}", failure.message);
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn a_private_authority_is_unknown_to_the_system() {
    let server = serve(Authority::new().certified("127.0.0.1", |_| ())).await;
    let plan = plan(&format!("https://127.0.0.1:{}/", server.address.port()));
    match HttpSink::new(&plan, PATIENT, &context()) {
        Ok(mut sink) => assert_eq!(class(send(&mut sink, 1).await), Class::TlsFailed),
        // a machine without authorities says so
        Err(error) => assert_eq!(error, ConfigError::NoSystemRoots),
    }
}

#[tokio::test]
async fn a_receiver_that_wants_a_client_certificate_fails_as_tls() {
    let authority = Authority::new();
    let server = serve(authority.wanting_clients("127.0.0.1")).await;
    let mut sink = https(&server, "127.0.0.1", |plan| plan.ca_bundle = Some(authority.pem()));
    assert_eq!(class(send(&mut sink, 1).await), Class::TlsFailed);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = serve(authority.wanting_clients("127.0.0.1")).await;
    let presenting = |certificate: Option<ClientCertificate>| {
        https(&server, "127.0.0.1", |plan| {
            plan.ca_bundle = Some(authority.pem());
            plan.client_certificate = certificate;
        })
    };
    let (mut first, mut second) = (presenting(Some(authority.client("a"))), presenting(Some(authority.client("b"))));
    for number in 1..=2 {
        assert_eq!(send(&mut first, number).await, DELIVERED);
        assert_eq!(send(&mut second, number).await, DELIVERED);
    }
    assert_eq!(class(send(&mut presenting(Some(stranger.client("a"))), 1).await), Class::TlsFailed);
    assert_eq!(class(send(&mut presenting(None), 1).await), Class::TlsFailed);
}

#[tokio::test]
async fn destinations_of_one_process_share_a_configuration_only_if_it_is_the_same() {
    let authority = Authority::new();
    let (one, two) = (authority.client("a"), authority.client("b"));
    let bundle = authority.pem();
    let trust = super::super::tls::Trust::default();
    let config = |certificate: Option<&ClientCertificate>, skip_verify| {
        let security = super::super::tls::Security { bundle: Some(&bundle), certificate, skip_verify };
        trust.client_config(security).expect("it is right")
    };
    let (first, again) = (config(Some(&one), false), config(Some(&one), false));
    assert!(Arc::ptr_eq(&first, &again));
    for other in [config(Some(&two), false), config(None, false), config(Some(&one), true)] {
        assert!(!Arc::ptr_eq(&first, &other));
    }
}

#[tokio::test]
async fn any_certificate_is_accepted_where_the_admin_allows_it() {
    let stranger = Authority::new();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let server = serve(stranger.certified("other.example", expired)).await;
    let mut plan = plan(&format!("https://127.0.0.1:{}/", server.address.port()));
    plan.insecure_skip_verify = true;
    assert_eq!(HttpSink::new(&plan, PATIENT, &context()).err(), Some(ConfigError::InsecureTls));
    let context = SinkContext { allow_insecure_tls: true, ..context() };
    let mut sink = HttpSink::new(&plan, PATIENT, &context).expect("it is allowed");
    assert_eq!(send(&mut sink, 1).await, DELIVERED);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let authority = Authority::new();
    let (one, two) = (authority.client("a"), authority.client("b"));
    let mut plan = plan("https://a.example/");
    plan.ca_bundle = Some(authority.pem());
    for (chain, key) in [(one.chain.as_str(), two.key.clone()), ("", one.key.clone()), (one.chain.as_str(), Secret::new("canary"))] {
        plan.client_certificate = Some(ClientCertificate { chain: chain.to_owned(), key });
        assert_eq!(HttpSink::new(&plan, PATIENT, &context()).err(), Some(ConfigError::ClientCertificate));
    }
}

#[tokio::test]
async fn what_does_not_speak_our_tls_fails_as_tls() {
    let authority = Authority::new();
    let old_version_only = b"\x15\x03\x01\x00\x02\x02\x46".as_slice();
    for answer in [b"".as_slice(), b"HTTP/1.1 400 Bad Request\r\n\r\n", old_version_only] {
        let server = Server::start(move |_, mut talk| async move {
            talk.say(answer).await;
        })
        .await;
        let mut sink = https(&server, "127.0.0.1", |plan| plan.ca_bundle = Some(authority.pem()));
        assert_eq!(class(send(&mut sink, 1).await), Class::TlsFailed, "{answer:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_is_cut() {
    let server = Server::start(|_, mut talk| async move { talk.hang().await }).await;
    let mut plan = plan(&format!("https://127.0.0.1:{}/", server.address.port()));
    plan.ca_bundle = Some(Authority::new().pem());
    let mut sink = HttpSink::new(&plan, IMPATIENT, &context()).expect("a good plan");
    assert_eq!(class(send(&mut sink, 1).await), Class::Timeout);
}
