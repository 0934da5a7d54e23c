//! From a host's name to a connection, past the address guard.

use super::config::{ConfigError, Receiver, ReceiverHost};
use super::connection::Connection;
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

/// Longest time to connect to one address, and longest time of a TLS handshake; the limit of the whole attempt applies as well.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens connections to one receiver.
pub(super) struct Connector {
    host: ReceiverHost,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    policy: Arc<Policy>,
    resolver: Resolver,
}

impl Connector {
    pub(super) fn to_receiver(receiver: &Receiver, plan: &plan::HttpSink, context: &SinkContext) -> Result<Connector, ConfigError> {
        if plan.insecure_skip_verify && !context.allow_insecure_tls {
            return Err(ConfigError::InsecureTls);
        }
        let policy = if plan.in_cluster { Arc::new(context.policy.for_services()) } else { context.policy.clone() };
        Connector::new(receiver, Security::of(plan), plan.server_name.as_deref(), policy, context)
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
        Ok(Connector { host: receiver.host.clone(), port: receiver.port, tls, policy, resolver: context.resolver.clone() })
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let addresses = self.permitted_addresses().await?;
        let tcp = self.connect_tcp(&addresses).await?;
        let stream = match &self.tls {
            None => Stream::plain(tcp),
            Some((connector, name)) => self.shake_hands(connector, name, tcp).await?,
        };
        Connection::open(stream).await.map_err(|error| self.failure(Class::ConnectionFailed, error))
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

    async fn shake_hands(&self, connector: &TlsConnector, name: &ServerName<'static>, tcp: TcpStream) -> Result<Stream, Failure> {
        match timeout(STEP_TIMEOUT, connector.connect(name.clone(), tcp)).await {
            Ok(Ok(tls)) => Ok(Stream::tls(tls)),
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
