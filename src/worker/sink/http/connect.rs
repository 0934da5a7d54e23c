//! From a host's name to a connection, past the address guard.

use super::config::{ConfigError, Receiver, ReceiverHost};
use super::connection::Connection;
use super::http2::Multiplexed;
use super::resolve::Resolver;
use super::stream::Stream;
use super::tls::Security;
use crate::plan;
use crate::worker::attempt::{Class, Failure};
use crate::worker::guard::Policy;
use crate::worker::sink::SinkContext;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest time to connect to one address, and longest time of a TLS handshake; the limit of the whole attempt applies as well.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

const HTTP_2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// A new connection.
pub(super) enum Opened {
    Http1(Connection),
    Http2(Arc<Multiplexed>),
}

/// Opens connections to one receiver.
pub(super) struct Connector {
    host: ReceiverHost,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Protocols that are offered with TLS, the best first.
    offered: &'static [&'static [u8]],
    policy: Arc<Policy>,
    resolver: Resolver,
}

impl Connector {
    pub(super) fn to_receiver(receiver: &Receiver, plan: &plan::HttpSink, context: &SinkContext) -> Result<Connector, ConfigError> {
        if plan.insecure_skip_verify && !context.allow_insecure_tls {
            return Err(ConfigError::InsecureTls);
        }
        let policy = if plan.in_cluster { Arc::new(context.policy.for_services()) } else { context.policy.clone() };
        let connector = Connector::new(receiver, Security::of(plan), plan.server_name.as_deref(), policy, context)?;
        Ok(Connector { offered: &[HTTP_2, HTTP_11], ..connector })
    }

    /// The token endpoint is another party than the receiver: what was said of that one's certificate and address is not for it.
    pub(super) fn to_token_endpoint(endpoint: &Receiver, plan: &plan::HttpSink, context: &SinkContext) -> Result<Connector, ConfigError> {
        let security = Security { bundle: plan.ca_bundle.as_deref(), certificate: None, skip_verify: false };
        Connector::new(endpoint, security, None, context.policy.clone(), context)
    }

    fn new(
        receiver: &Receiver,
        security: Security<'_>,
        server: Option<&str>,
        policy: Arc<Policy>,
        context: &SinkContext,
    ) -> Result<Connector, ConfigError> {
        let tls = match receiver.https {
            true => Some((context.trust.client_config(security)?.into(), server_name(receiver, server)?)),
            false => None,
        };
        let (host, resolver) = (receiver.host.clone(), context.resolver.clone());
        Ok(Connector { host, port: receiver.port, tls, offered: &[HTTP_11], policy, resolver })
    }

    /// A connection of the protocol that was agreed upon.
    pub(super) async fn connect(&self) -> Result<Opened, Failure> {
        let addresses = self.permitted_addresses().await?;
        let tcp = self.connect_tcp(&addresses).await?;
        let failed = |error| self.failure(Class::ConnectionFailed, error);
        let Some((connector, name)) = &self.tls else {
            return Connection::open(Stream::plain(tcp)).await.map(Opened::Http1).map_err(failed);
        };
        let tls = self.shake_hands(connector, name, tcp).await?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(HTTP_2);
        let stream = Stream::tls(tls);
        match is_http2 {
            true => Multiplexed::open(stream).await.map(Opened::Http2).map_err(failed),
            false => Connection::open(stream).await.map(Opened::Http1).map_err(failed),
        }
    }

    /// A connection of HTTP/1.1, where nothing else is offered.
    pub(super) async fn connect_http1(&self) -> Result<Connection, Failure> {
        match self.connect().await? {
            Opened::Http1(connection) => Ok(connection),
            Opened::Http2(_) => Err(self.failure(Class::ConnectionFailed, "HTTP/2 was not offered")),
        }
    }

    /// Addresses that the policy lets pass. No name is resolved after this, so no other address can take their place.
    async fn permitted_addresses(&self) -> Result<Vec<IpAddr>, Failure> {
        let addresses = match &self.host {
            ReceiverHost::Address(ip) => vec![*ip],
            ReceiverHost::Name(name) => self.resolver.resolve(name).await.map_err(|error| self.failure(Class::DnsFailed, error))?,
        };
        let mut denied = None;
        let mut permitted = Vec::with_capacity(addresses.len());
        for ip in addresses {
            match self.policy.check(ip) {
                Ok(()) => permitted.push(ip.to_canonical()),
                Err(error) => denied = denied.or(Some(error)),
            }
        }
        match denied {
            Some(error) if permitted.is_empty() => Err(Failure::new(Class::AddressDenied, error)),
            None if permitted.is_empty() => Err(self.failure(Class::DnsFailed, "the name has no address")),
            _ => Ok(permitted),
        }
    }

    /// Tries the addresses in turn; the failure is that of the last one.
    async fn connect_tcp(&self, addresses: &[IpAddr]) -> Result<TcpStream, Failure> {
        let mut failure = self.failure(Class::DnsFailed, "the name has no address");
        for ip in addresses {
            let address = SocketAddr::new(*ip, self.port);
            match timeout(STEP_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    tcp.set_nodelay(true).map_err(|error| self.failure(Class::ConnectionFailed, error))?;
                    return Ok(tcp);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    failure = self.failure(Class::ConnectionRefused, format_args!("nothing listens at {address}"));
                }
                Ok(Err(error)) => failure = self.failure(Class::ConnectionFailed, error),
                Err(_) => failure = self.failure(Class::Timeout, format_args!("{address} did not answer within {STEP_TIMEOUT:?}")),
            }
        }
        Err(failure)
    }

    async fn shake_hands(
        &self,
        connector: &TlsConnector,
        name: &ServerName<'static>,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let offered = self.offered.iter().map(|protocol| protocol.to_vec()).collect();
        match timeout(STEP_TIMEOUT, connector.with_alpn(offered).connect(name.clone(), tcp)).await {
            Ok(Ok(tls)) => Ok(tls),
            Ok(Err(error)) => Err(self.failure(Class::TlsFailed, format_args!("TLS: {error}"))),
            Err(_) => Err(self.failure(Class::Timeout, format_args!("the TLS handshake was not done within {STEP_TIMEOUT:?}"))),
        }
    }

    fn failure(&self, class: Class, why: impl fmt::Display) -> Failure {
        Failure::new(class, format_args!("no connection to {}, port {}: {why}", self.host, self.port))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({}, port {}, tls {})", self.host, self.port, self.tls.is_some())
    }
}

/// The name that the receiver's certificate must be for.
fn server_name(receiver: &Receiver, given: Option<&str>) -> Result<ServerName<'static>, ConfigError> {
    let name = match (given, &receiver.host) {
        (Some(name), _) => name.trim_end_matches('.'),
        (None, ReceiverHost::Name(name)) => name.trim_end_matches('.'),
        (None, ReceiverHost::Address(ip)) => return Ok(ServerName::IpAddress((*ip).into())),
    };
    ServerName::try_from(name.to_owned()).map_err(|_| ConfigError::ServerName(name.to_owned()))
}
