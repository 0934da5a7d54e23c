//! Which addresses a sink connects to.

use super::super::Resolver;
use super::server::{OK, Server, refusing};
use super::*;
use crate::worker::guard::Cidr;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// A policy that permits 127.0.0.1 alone.
fn only_here() -> Policy {
    let here: Cidr = "127.0.0.1/32".parse().expect("a range");
    Policy { allow: vec![here], ..Policy::cluster_default() }
}

fn resolving(policy: Policy, lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> SinkContext {
    SinkContext { resolver: Resolver::new(lookup), ..SinkContext::new(policy) }
}

async fn send_to(uri: &str, context: &SinkContext) -> Outcome {
    send(&mut HttpSink::new(&plan(uri), PATIENT, context).expect("a good plan"), 1).await
}

#[tokio::test]
async fn a_literal_in_whatever_form_is_denied_before_a_packet_leaves() {
    let server = Server::answering(OK).await;
    let port = server.address.port();
    let context = SinkContext::new(Policy::cluster_default());
    let forms = [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "127.0.0.1.",
        "１２７.０.０.１",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "[::]",
        "localhost",
        "LOCALHOST.",
    ];
    for host in forms {
        let failure = failed(send_to(&format!("http://{host}:{port}/?token=canary"), &context).await);
        assert_eq!(failure.class, Class::AddressDenied, "{host}: {}", failure.message);
        assert!(!failure.message.contains("canary"), "{}", failure.message);
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn metadata_services_are_denied_in_standalone_too() {
    let context = resolving(Policy::standalone(), |_| Ok(vec![[169, 254, 169, 254].into()]));
    for host in ["169.254.169.254", "2852039166", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "metadata.example"] {
        assert_eq!(class(send_to(&format!("http://{host}/"), &context).await), Class::AddressDenied, "{host}");
    }
}

#[tokio::test]
async fn a_service_of_the_cluster_may_be_at_a_private_address_and_a_url_may_not() {
    let send_to = async |in_cluster, ip: &str| {
        let ip: IpAddr = ip.parse().expect("an address");
        let context = resolving(Policy::cluster_default(), move |_| Ok(vec![ip]));
        let plan = plan::HttpSink { in_cluster, ..plan("http://billing.shop.svc/") };
        class(send(&mut HttpSink::new(&plan, IMPATIENT, &context).expect("a good plan"), 1).await)
    };
    assert_eq!(send_to(false, "fd00::1").await, Class::AddressDenied);
    assert_ne!(send_to(true, "fd00::1").await, Class::AddressDenied);
    for ip in ["127.0.0.1", "169.254.169.254", "fe80::1", "fd00:ec2::254"] {
        assert_eq!(send_to(true, ip).await, Class::AddressDenied, "{ip}");
    }
}

#[tokio::test]
async fn names_are_resolved_once_and_every_address_is_checked() {
    let server = Server::answering(OK).await;
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    // a second answer, between check and connection, would be a denied one
    let context = resolving(only_here(), move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(vec![ELSEWHERE, HERE]),
        _ => Ok(vec![ELSEWHERE]),
    });
    let uri = format!("http://rebinding.example:{}/", server.address.port());
    assert_eq!(send_to(&uri, &context).await, DELIVERED);
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    assert_eq!(class(send_to(&uri, &context).await), Class::AddressDenied);
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests()[0].header("host"), format!("rebinding.example:{}", server.address.port()));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::answering(OK).await;
    let context = resolving(Policy::standalone(), |_| Ok(vec![[127, 0, 0, 9].into(), [127, 0, 0, 8].into(), HERE]));
    assert_eq!(send_to(&format!("http://many.example:{}/", server.address.port()), &context).await, DELIVERED);

    let (_socket, address) = refusing();
    let many = resolving(Policy::standalone(), |_| Ok((1..=100).map(|last| [127, 0, 1, last].into()).collect()));
    assert_eq!(class(send_to(&format!("http://many.example:{}/", address.port()), &many).await), Class::ConnectionRefused);
}

#[tokio::test]
async fn a_new_connection_uses_the_new_address() {
    let server = Server::answering(OK).await;
    let moved = Arc::new(AtomicUsize::new(0));
    let told = moved.clone();
    let context =
        resolving(Policy::standalone(), move |_| Ok(vec![if told.load(Ordering::SeqCst) == 0 { [127, 0, 0, 9].into() } else { HERE }]));
    let mut sink =
        HttpSink::new(&plan(&format!("http://moves.example:{}/", server.address.port())), PATIENT, &context).expect("a good plan");
    assert_eq!(class(send(&mut sink, 1).await), Class::ConnectionRefused);
    moved.store(1, Ordering::SeqCst);
    assert_eq!(send(&mut sink, 2).await, DELIVERED);
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_a_dns_failure() {
    let failing = resolving(Policy::standalone(), |_| Err(io::Error::other("NXDOMAIN")));
    let empty = resolving(Policy::standalone(), |_| Ok(Vec::new()));
    for context in [failing, empty] {
        let failure = failed(send_to("https://no.example/hooks?token=canary", &context).await);
        assert_eq!(failure.class, Class::DnsFailed);
        assert!(failure.message.contains("no.example") && !failure.message.contains("canary"), "{}", failure.message);
    }
}

#[tokio::test]
async fn slow_name_servers_hold_up_nobody_else() {
    let server = Server::answering(OK).await;
    let (release, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let context = resolving(Policy::standalone(), move |name| {
        if name == "slow.example" {
            let _ = held.lock().expect("no panic while locked").recv();
        }
        Ok(vec![HERE])
    });
    let mut slow = HttpSink::new(&plan("http://slow.example/"), IMPATIENT, &context).expect("a good plan");
    assert_eq!(class(send(&mut slow, 1).await), Class::Timeout);
    assert_eq!(send_to(&format!("http://fast.example:{}/", server.address.port()), &context).await, DELIVERED);
    drop(release);
}
