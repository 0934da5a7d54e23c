//! HTTP POST over HTTP/1.1, or HTTP/2 where the receiver agrees to it by ALPN.
//!
//! A sink owns one connection of HTTP/1.1, and its lane's task drives it: no pool, no lock, no task of its own. That is the least work per
//! request. One of HTTP/2 is shared by all sinks of its destination. Proxies and redirects do not exist here.
//!
//! * `config`: what is wrong with a plan; the parts of its URL
//! * `request`, `sign`: from an attempt to a request
//! * `preview`: that request for a person, secrets masked
//! * `token`: OAuth 2.0 client credentials
//! * `connect`, `resolve`, `tls`, `stream`: from a host's name to a stream, past the address guard
//! * `connection`: one connection of HTTP/1.1, and what is left on it of the last answer
//! * `http2`: one connection of HTTP/2, and who shares it
//! * `send`: one attempt, with its time limit and the free retry on a stale connection
//! * `classify`: from an answer or an error to an outcome

mod classify;
mod config;
mod connect;
mod connection;
mod http2;
mod preview;
mod request;
mod resolve;
mod send;
mod sign;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod token;

pub use config::ConfigError;
pub use preview::{NoRequest, Preview, Shown, preview};
pub use resolve::Resolver;
pub use send::HttpSink;
pub use sign::{KeyError, Keys};
pub use tls::Trust;
