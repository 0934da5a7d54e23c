//! TLS to Redis, and to ingest.

use crate::support::authority::{Authority, connections};
use crate::support::client::{Answer, Post};
use crate::support::eventually::holds;
use crate::support::home::{self, Home};
use crate::support::pieces::Pieces;
use crate::support::redis::free_port;
use crate::support::{Client, Posthorn, Redis, eventually};
use posthorn::bus::routing::Start;
use posthorn::receiver::{Behaviour, Receiver};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Waits for the end of a process, and returns what it said.
async fn said(mut process: Posthorn) -> String {
    assert!(!process.ended().await.success());
    process.log()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_to_a_redis_with_tls_trusts_the_authority_that_is_given() {
    let authority = Authority::new();
    let (options, url) = authority.redis();
    let mut pieces = Pieces::with(options, "");
    pieces.reach(&url, &["--redis-ca", &authority.file()]);
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    pieces.plan("billing", &receiver.url());
    pieces.create("billing", Vec::new(), Start::Latest).await;
    let (ingest, _router, _worker) = (pieces.ingest().await, pieces.router().await, pieces.worker().await);
    let mut client = Client::new(ingest.addr);
    for number in 1..=20 {
        client.post_until_accepted(&Post::numbered(number)).await;
    }
    pieces.drained(&["billing"]).await;
    assert_eq!(receiver.count(), 20);
    // the one of pub/sub, that of the router's blocking reads, ingest's four and the rest
    let (tls, plain) = connections(&pieces.redis, &url);
    assert!(tls >= 8 && plain == 0, "{tls} by TLS, {plain} without");
    assert_ne!(pieces.redis.cli(&["PUBSUB", "NUMPAT"]), "0");

    let flags = ["--redis", &url, "--redis-ca", &authority.file()];
    let table = Posthorn::ok(&[&["get", "-n", "t"], &flags[..]].concat());
    assert!(table.contains("billing"), "{table}");
    let sent = Posthorn::ok(&[&["send", "--type", "com.example.test", "--data", "1"], &flags[..]].concat());
    assert!(sent.contains("stored as"), "{sent}");
    let tailed = Posthorn::ok(&[&["tail", "--since", "1h", "--count", "21"], &flags[..]].concat());
    assert_eq!(tailed.lines().count(), 22, "{tailed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_trusted_is_not_used_and_it_is_said_what_to_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (options, url) = authority.redis();
    let redis = Redis::with(options);
    let wrong = Posthorn::run(&["get", "--redis", &url, "--redis-ca", &other.file()]);
    // of the same name, as one that was made anew
    assert!(stderr(&wrong).contains("BadSignature") && stderr(&wrong).contains(&other.file()), "{}", stderr(&wrong));
    assert!(stderr(&wrong).contains("name the file with its authority by --redis-ca"), "{}", stderr(&wrong));
    let system = stderr(&Posthorn::run(&["get", "--redis", &url]));
    assert!(system.contains("UnknownIssuer") && system.contains("the system's authorities") && system.contains("--redis-ca"), "{system}");
    let plain = format!("rediss://{}", redis.addr());
    let plain = stderr(&Posthorn::run(&["get", "--redis", &plain, "--redis-ca", &authority.file()]));
    assert!(plain.contains("does Redis speak TLS there? else write redis://"), "{plain}");
    let unused = stderr(&Posthorn::run(&["get", "--redis", &format!("redis://{}", redis.addr()), "--redis-ca", &authority.file()]));
    assert!(unused.contains("--redis-ca is for rediss://"), "{unused}");

    let mut router = Posthorn::start(&["router", "--redis", &url, "--redis-ca", &other.file(), "--admin-listen", "127.0.0.1:0"]);
    let line = router.line("cannot connect to redis").await;
    assert!(line.contains("name the file with its authority by --redis-ca"), "{line}");
    let missing = said(Posthorn::start(&["router", "--redis", &url, "--redis-ca", "/nowhere/ca.crt"])).await;
    assert!(missing.contains("--redis-ca: /nowhere/ca.crt: No such file") && missing.contains("certificates (PEM)"), "{missing}");
    let unused = said(Posthorn::start(&["worker", "--plans", "/tmp", "--redis-ca", &authority.file()])).await;
    assert!(unused.contains("--redis-ca is for rediss://"), "{unused}");
    assert_eq!(redis.cli(&["KEYS", "*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_may_trust_an_authority_of_its_own_and_commands_follow_it() {
    let (main, orders) = (Authority::new(), Authority::new());
    let ((main_options, main_url), (orders_options, orders_url)) = (main.redis(), orders.redis());
    let (_main_redis, orders_redis) = (Redis::with(main_options), Redis::with(orders_options));
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut home = Home::with(&home::destination("orders", &receiver.url(), "  bus: orders\n"));
    let settings = format!("buses:\n  orders:\n    redis: {{url: '{orders_url}', caFile: '{}'}}\n", orders.file());
    home.write("posthorn.yaml", &settings);
    let standalone = home.start(&["--redis", &main_url, "--redis-ca", &main.file()]).await;
    Client::of_bus(standalone.addr, "orders").post_until_accepted(&Post::numbered(1)).await;
    eventually("the event is delivered", async || holds(receiver.count() == 1, || "not yet".to_owned())).await;
    assert!(connections(&orders_redis, &orders_url).0 > 0);
    let data = home.data().display().to_string();
    for (bus, shown) in [("orders", "orders"), ("default", "")] {
        let table = Posthorn::ok(&["get", "--bus", bus, "--data-dir", &data]);
        assert!(table.contains(shown), "{table}");
    }
    // as in the pod of the operator: by the environment alone
    let (config, authority) = (home.folder().join("posthorn.yaml").display().to_string(), main.file());
    let env = [("POSTHORN_REDIS_URL", &*main_url), ("POSTHORN_REDIS_CA", &authority), ("POSTHORN_CONFIG", &config)];
    for (bus, shown) in [("orders", "orders"), ("default", "No resources found")] {
        let mut get = Posthorn::start_with(&["get", "--bus", bus], &env);
        assert!(get.ended().await.success() && get.log().contains(shown), "{}", get.log());
    }
}

/// A connection to ingest by TLS that trusts this authority.
async fn connect(authority: &Authority, addr: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(addr).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Posts an event by TLS, on a connection of its own.
async fn post(authority: &Authority, addr: SocketAddr, number: u64) -> Result<Answer, String> {
    let stream = connect(authority, addr).await.map_err(|error| error.to_string())?;
    let mut client = Client::over(addr, stream).await.map_err(|error| error.to_string())?;
    client.post(&Post::numbered(number)).await.map_err(|error| error.to_string())
}

/// Swaps the files of a folder as the kubelet does for a Secret: a new folder behind a link that is replaced.
fn swap(folder: &Path, version: &str, authority: &Authority) {
    let new = folder.join(version);
    std::fs::create_dir(&new).unwrap();
    authority.certify(&new);
    symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_takes_events_by_tls_and_follows_a_mounted_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = old.folder("mounted");
    swap(&folder, "..1", &old);
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| {
        symlink(format!("..data/{name}"), folder.join(name)).unwrap();
        folder.join(name).display().to_string()
    });
    let mut pieces = Pieces::start();
    for flag in ["--tls-cert", &certificate, "--tls-key", &key] {
        pieces.flag(flag);
    }
    let mut ingest = pieces.ingest().await;
    assert_eq!(post(&old, ingest.addr, 1).await.unwrap().status, 202);
    assert!(post(&new, ingest.addr, 2).await.is_err());
    assert!(Client::new(ingest.addr).post(&Post::numbered(3)).await.is_err(), "no TLS, no answer");
    swap(&folder, "..2", &new);
    eventually("the new certificate is presented", async || {
        let answer = post(&new, ingest.addr, 4).await?;
        holds(answer.status == 202, || format!("{answer:?}"))
    })
    .await;
    assert_eq!(pieces.redis.cli(&["XLEN", "ph:{default}:in"]), "2");
    ingest.process.line("a new certificate is presented").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_takes_events_by_tls() {
    let authority = Authority::new();
    let folder = authority.folder("files");
    authority.certify(&folder);
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name).display().to_string());
    let receiver = Receiver::start(Behaviour::ok()).await.unwrap();
    let mut home = Home::with(&home::destination("billing", &receiver.url(), ""));
    let standalone = home.start(&["--tls-cert", &certificate, "--tls-key", &key]).await;
    assert_eq!(post(&authority, standalone.addr, 1).await.unwrap().status, 202);
    home.settled("billing").await;
    assert_eq!(receiver.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_presented_ends_the_start_with_a_sentence() {
    let (one, other) = (Authority::new(), Authority::new());
    let (folder, others) = (one.folder("files"), other.folder("files"));
    one.certify(&folder);
    other.certify(&others);
    let file = |folder: &Path, name: &str| folder.join(name).display().to_string();
    let address = format!("127.0.0.1:{}", free_port());
    let cases = [
        (file(&folder, "tls.crt"), file(&others, "tls.key"), "is not that of the certificate"),
        (file(&folder, "missing"), file(&folder, "tls.key"), "missing: No such file"),
        (file(&folder, "tls.crt"), String::new(), "--tls-cert needs --tls-key"),
        (String::new(), file(&folder, "tls.key"), "--tls-key needs --tls-cert"),
    ];
    for (certificate, key, expected) in cases {
        for role in [&["ingest"][..], &["standalone", folder.to_str().unwrap()]] {
            let flags = ["--listen", &address, "--tls-cert", &certificate, "--tls-key", &key];
            let said = said(Posthorn::start(&[role, &flags].concat())).await;
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
}
