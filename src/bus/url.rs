//! Where Redis is.

use crate::authorities;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisError, TlsCertificates};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where Redis is: `redis://[user:password@]host:port/db`, `rediss://…` (TLS) or `unix:///path[?user=…&pass=…&db=…]`. `Debug` and `Display`
/// hide user and password. Who certifies a server with TLS: the system's authorities, or those of a file and no others.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    text: String,
    authorities: Option<PathBuf>,
}

/// Not the address of a Redis.
#[derive(Debug, thiserror::Error)]
#[error("not the address of a Redis ({0}); write redis://host:6379, rediss://host:6379 or unix:///path/to/socket")]
pub struct BadUrl(String);

/// A file that cannot say whom to trust.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}; give a file with the certificates (PEM) of the authorities that certify Redis", file.display())]
pub struct BadAuthorities {
    file: PathBuf,
    why: String,
}

impl FromStr for RedisUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<RedisUrl, BadUrl> {
        text.into_connection_info().map_err(|error| BadUrl(error.category().to_owned()))?;
        Ok(RedisUrl { text: text.to_owned(), authorities: None })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visible = self.text.split_once('?').map_or(self.text.as_str(), |(address, _)| address);
        match visible.rsplit_once('@').zip(visible.split_once("://")) {
            Some(((_, address), (scheme, _))) => write!(f, "{scheme}://…@{address}"),
            None => f.write_str(visible),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl RedisUrl {
    /// As it was given, if it holds no password: fit for a place that others can read.
    pub fn without_password(&self) -> Option<&str> {
        let info = self.text.as_str().into_connection_info().ok()?;
        info.redis_settings().password().is_none().then_some(&self.text)
    }

    /// Whether the connection is by TLS.
    pub fn is_tls(&self) -> bool {
        self.text.as_str().into_connection_info().is_ok_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// The same, where a server with TLS must be certified by one of the authorities in this file (PEM), if one is given. It is read for each
    /// connection, so that new authorities need no restart.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no certificate.
    pub fn trusting(self, file: Option<&Path>) -> Result<RedisUrl, BadAuthorities> {
        let Some(file) = file else { return Ok(self) };
        match certificates(file) {
            Ok(_) => Ok(RedisUrl { authorities: Some(file.to_owned()), ..self }),
            Err(error) => Err(BadAuthorities { file: file.to_owned(), why: error.to_string() }),
        }
    }

    /// The file with the authorities that are trusted; `None` for the system's.
    pub fn authorities(&self) -> Option<&Path> {
        self.authorities.as_deref()
    }

    /// What a failed connection says, and what to do about it where the server is not trusted.
    pub(super) fn explain(&self, error: &RedisError) -> String {
        let text = error.to_string();
        // the second is what another authority of the same name comes to
        if text.contains("UnknownIssuer") || text.contains("BadSignature") {
            let given = self.authorities.as_ref().map_or_else(|| "the system's authorities".to_owned(), |file| file.display().to_string());
            return format!(
                "{text}: its certificate is by none of {given}; name the file with its authority by --redis-ca (of a bus's own Redis: redis.caFile)"
            );
        }
        // without TLS Redis waits for the end of what it takes for a command, or answers what is no record of TLS
        if self.is_tls() && (error.is_timeout() || text.contains("InvalidContentType")) {
            return format!("{text}: does Redis speak TLS there? else write redis://, or name its port for TLS");
        }
        text
    }

    /// A client for one more connection: no Nagle, keep-alive, so that a dead peer is noticed.
    pub(super) fn client(&self) -> Result<Client, RedisError> {
        let mut info = self.text.as_str().into_connection_info()?;
        if !matches!(info.addr(), ConnectionAddr::Unix(_)) {
            let keepalive = redis::io::tcp::socket2::TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(3))
                .with_retries(3);
            let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
            info = info.set_tcp_settings(tcp);
        }
        // RESP3, so that the loss of a connection is told while nothing is sent
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        match &self.authorities {
            Some(file) if self.is_tls() => {
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
                let root_cert = Some(certificates(file).map_err(named)?);
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
            _ => Client::open(info),
        }
    }
}

/// What a file of certificates holds, if that can be trusted.
fn certificates(file: &Path) -> io::Result<Vec<u8>> {
    let pem = std::fs::read(file)?;
    authorities::of_pem(&pem).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_without_a_password_is_given_away() {
        for open in ["redis://redis:6379", "rediss://redis:6379/1", "unix:///run/redis.sock?db=1"] {
            assert_eq!(open.parse::<RedisUrl>().unwrap().without_password(), Some(open));
        }
        for secret in ["redis://:pass@redis", "rediss://user:pass@redis:6379", "unix:///run/redis.sock?pass=secret"] {
            assert_eq!(secret.parse::<RedisUrl>().unwrap().without_password(), None);
        }
    }

    #[test]
    fn only_a_file_with_certificates_says_whom_to_trust() {
        let dir = tempfile::tempdir().unwrap();
        let url = || "rediss://redis:6379".parse::<RedisUrl>().unwrap();
        let file = dir.path().join("ca.pem");
        let refused = || url().trusting(Some(&file)).unwrap_err().to_string();
        assert!(refused().contains("ca.pem: No such file"), "{}", refused());
        for (text, why) in [("", "holds no certificate"), ("-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n", "certificate")] {
            std::fs::write(&file, text).unwrap();
            assert!(refused().contains(why) && refused().contains("authorities that certify Redis"), "{}", refused());
        }
        let authority = rcgen::generate_simple_self_signed(vec!["redis".to_owned()]).unwrap();
        std::fs::write(&file, authority.cert.pem()).unwrap();
        let trusting = url().trusting(Some(&file)).unwrap();
        assert_eq!(trusting.authorities(), Some(&*file));
        trusting.client().unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(trusting.client().unwrap_err().to_string().contains("ca.pem"), "it is read for each connection");
    }
}
