//! Where Redis is.

use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisError};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Where Redis is: `redis://[user:password@]host:port/db`, `rediss://…` (TLS) or `unix:///path[?user=…&pass=…&db=…]`. `Debug` and `Display`
/// hide user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// Not the address of a Redis.
#[derive(Debug, thiserror::Error)]
#[error("not the address of a Redis ({0}); write redis://host:6379, rediss://host:6379 or unix:///path/to/socket")]
pub struct BadUrl(String);

impl FromStr for RedisUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<RedisUrl, BadUrl> {
        text.into_connection_info().map_err(|error| BadUrl(error.category().to_owned()))?;
        Ok(RedisUrl(text.to_owned()))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visible = self.0.split_once('?').map_or(self.0.as_str(), |(address, _)| address);
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
        let info = self.0.as_str().into_connection_info().ok()?;
        info.redis_settings().password().is_none().then_some(&self.0)
    }

    /// A client for one more connection: no Nagle, keep-alive, so that a dead peer is noticed.
    pub(super) fn client(&self) -> Result<Client, RedisError> {
        let mut info = self.0.as_str().into_connection_info()?;
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
        Client::open(info.set_redis_settings(settings))
    }
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
}
