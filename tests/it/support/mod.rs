//! What the tests stand on.
//!
//! * [`authority`]: certifies servers of this machine.
//! * [`redis`]: a real server that can be killed and started again on the same files.
//! * [`process`]: the real binary, its log, its signals.
//! * [`client`]: posts events and remembers what was accepted.
//! * [`proxy`]: a TCP connection that is cut, stalls, or is slow.
//! * [`eventually`](mod@eventually): waits for a condition with a deadline.
//! * [`home`]: a standalone with its folder and its data directory.
//! * [`load`]: several clients at once.
//! * [`pieces`]: a bus in pieces, each role in a process of its own.
//! * [`checker`]: the invariants of delivery, one checker for all tests.
#![allow(dead_code, unused_imports, reason = "not every test needs everything")]

pub mod authority;
pub mod checker;
pub mod client;
pub mod eventually;
pub mod home;
pub mod load;
pub mod pieces;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod stored;

pub use checker::{Accepted, History};
pub use client::Client;
pub use eventually::{eventually, eventually_within};
pub use home::Home;
pub use load::Load;
pub use pieces::Pieces;
pub use process::Posthorn;
pub use proxy::Proxy;
pub use redis::Redis;
