//! What is wrong with a plan; the parts of its URL.

use super::sign::KeyError;
use http::{HeaderValue, Uri};
use std::net::IpAddr;
use url::{Host, Position, Url};

/// Why a plan cannot be run. Never repeats a value of it that may be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not an absolute http or https URL.
    #[error("the receiver's URL must be an absolute http:// or https:// URL with a host")]
    Uri,
    /// User name or password in the URL.
    #[error("the receiver's URL must not hold a user name or password; use auth.basic")]
    UriCredentials,
    /// A header that cannot be sent.
    #[error("the header `{0}` cannot be sent: its name must be a token, its value must hold no line break or other control character")]
    Header(String),
    /// A header that belongs to Posthorn or to the connection.
    #[error("the header `{0}` is set by Posthorn itself and cannot be overridden")]
    ReservedHeader(String),
    /// Credentials that cannot be sent.
    #[error("the credentials cannot be sent: no control characters, and no colon in a user name")]
    Auth,
    /// A signing secret that is none.
    #[error("signing secret number {number} cannot be used: {error}")]
    Signing {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A CA bundle without a usable certificate.
    #[error("the CA bundle must hold at least one certificate in PEM form, and nothing else that claims to be one")]
    CaBundle,
    /// A client certificate that cannot be presented.
    #[error("the client certificate must be PEM certificates and the PEM private key of the first one")]
    ClientCertificate,
    /// Any certificate would be accepted, which the admin does not allow.
    #[error(
        "tls.insecureSkipVerify is not allowed here: trust the receiver's certificate by caBundleRef, or have --allow-insecure-tls set"
    )]
    InsecureTls,
    /// A token endpoint that is none.
    #[error("the token endpoint must be an absolute https:// URL without a user name or password; correct auth.oauth2.tokenURI")]
    TokenUri,
    /// A server name that is none.
    #[error("`{0}` is not a name or an address that a certificate could be for; correct tls.serverName")]
    ServerName(String),
    /// The system has no certificate authorities.
    #[error("this system has no certificate authorities: install its package `ca-certificates`, or give the destination a CA bundle")]
    NoSystemRoots,
}

/// The parts of a receiver's URL.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) https: bool,
    pub(super) host: ReceiverHost,
    pub(super) port: u16,
    /// The target of each request: path and query.
    pub(super) target: Uri,
    /// The `Host` header.
    pub(super) authority: HeaderValue,
}

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReceiverHost {
    /// Given by a name.
    Name(String),
    /// Given by an address; the odd forms (hexadecimal, octal, one number, full-width digits, trailing dot) end here, too.
    Address(IpAddr),
}

impl Receiver {
    pub(super) fn parse(uri: &str) -> Result<Receiver, ConfigError> {
        let url = Url::parse(uri).map_err(|_| ConfigError::Uri)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ConfigError::Uri);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::UriCredentials);
        }
        let host = match url.host().ok_or(ConfigError::Uri)? {
            Host::Domain(name) => ReceiverHost::Name(name.to_owned()),
            Host::Ipv4(ip) => ReceiverHost::Address(ip.into()),
            Host::Ipv6(ip) => ReceiverHost::Address(ip.into()),
        };
        Ok(Receiver {
            https: url.scheme() == "https",
            host,
            port: url.port_or_known_default().filter(|port| *port != 0).ok_or(ConfigError::Uri)?,
            target: url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| ConfigError::Uri)?,
            authority: HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|_| ConfigError::Uri)?,
        })
    }
}

impl std::fmt::Display for ReceiverHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReceiverHost::Name(name) => f.write_str(name),
            ReceiverHost::Address(ip) => ip.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_url_are_found() {
        // (URL, https, host, port, target, Host header)
        let table = [
            ("http://a.example", false, "a.example", 80, "/", "a.example"),
            ("https://a.example:443/h?x=1#f", true, "a.example", 443, "/h?x=1", "a.example"),
            ("https://A.example.:8443/ü", true, "a.example.", 8443, "/%C3%BC", "a.example.:8443"),
            ("http://[::1]:8080/", false, "::1", 8080, "/", "[::1]:8080"),
            ("http://bücher.example/", false, "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example"),
        ];
        for (uri, https, host, port, target, authority) in table {
            let receiver = Receiver::parse(uri).expect(uri);
            assert_eq!((receiver.https, receiver.port), (https, port), "{uri}");
            assert_eq!((receiver.host.to_string().as_str(), receiver.target.to_string().as_str()), (host, target), "{uri}");
            assert_eq!(receiver.authority, authority, "{uri}");
        }
    }

    #[test]
    fn odd_forms_of_an_address_are_seen_as_the_address() {
        for host in
            ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "１２７.０.０.１", "①②⑦.0.0.1", "127。0。0。1"]
        {
            let receiver = Receiver::parse(&format!("http://{host}/")).expect(host);
            assert_eq!(receiver.host, ReceiverHost::Address([127, 0, 0, 1].into()), "{host}");
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused_without_repeating_it() {
        for uri in
            ["", "a.example/h", "ftp://a.example/", "http://", "http://a.example:0/", "http://1.2.3.4.5/", "http://a b/", "file:///etc"]
        {
            assert_eq!(Receiver::parse(uri).err(), Some(ConfigError::Uri), "{uri}");
        }
        assert_eq!(Receiver::parse("https://user:canary@a.example/").err(), Some(ConfigError::UriCredentials));
        assert_eq!(Receiver::parse("https://user@a.example/").err(), Some(ConfigError::UriCredentials));
    }
}
