//! All of Redis: keys, scripts, connections. Nothing else imports `redis`.
//!
//! The life of an entry, destination `u1` of bus `default` (every key begins `ph:{default}:`):
//!
//! | step | script | in Redis |
//! | --- | --- | --- |
//! | POST, 202 | `append` | `XADD in *` gives 5-0; `seen:<hash>` = 5-0 |
//! | its filter matches | `route` | `XADD q:u1 NOMKSTREAM 5-0 …`, routed + 1, cursor = 5-0 |
//! | the worker fetches it | `read` | pending of consumer `w` of group `delivery` |
//! | 204 | `settle` | XACK, XDEL; settled + 1 |
//! | or 503 | `fail` | `try:u1` 5-0 → attempts, class, next; later the same entry again |
//! | given up | `bury` | `XADD dead:u1 *`, XACK, XDEL; buried + 1 |
//!
//! The entry ID is the event's place in the order, in `in`, in every queue, and for the receiver. Each counter changes in the script that moves
//! the entry, so at any moment `settled + buried + dropped + lost + XLEN q = routed`.

pub mod append;
pub mod connection;
pub mod counters;
pub mod cursor;
pub mod dead_letters;
pub mod entry;
pub mod keys;
pub mod lease;
pub mod overview;
pub mod queue;
pub mod redrive;
pub mod routing;
pub mod safety;
mod scripts;
pub mod servers;
pub mod skip;
pub mod state;
pub mod states;
mod url;
pub mod wake;

pub use connection::{Error, Link, Supervisor};
pub use servers::{Links, PerServer, Server, Servers};
pub use url::{BadAuthorities, BadUrl, RedisUrl};
