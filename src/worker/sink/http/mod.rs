//! HTTP POST over HTTP/1.1.
//!
//! A sink owns one connection, and its lane's task drives it: no pool, no lock, no task of its own. That is the least work per
//! request. Proxies and redirects do not exist here.
//!
//! * `config`: what is wrong with a plan; the parts of its URL
//! * `request`, `sign`: from an attempt to a request
//! * `preview`: that request for a person, secrets masked
//! * `token`: OAuth 2.0 client credentials
//! * `connect`, `resolve`, `tls`, `stream`: from a host's name to a stream, past the address guard
//! * `connection`: one HTTP connection, and what is left on it of the last answer
//! * `send`: one attempt, with its time limit and the free retry on a stale connection
//! * `classify`: from an answer or an error to an outcome

mod classify;
mod config;
mod connect;
mod connection;
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
