//! All of Redis: keys, scripts, connections. Nothing else imports `redis`.

pub mod append;
pub mod connection;
pub mod dead_letters;
pub mod keys;
pub mod lease;
pub mod queue;
pub mod routing;
pub mod safety;
pub mod state;

pub use connection::{Link, RedisUrl, Supervisor};
