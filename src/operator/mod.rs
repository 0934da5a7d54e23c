//! The operator: makes `EventDestination` objects true, and tells on their status how they do.
//!
//! ```text
//! object ─▶ dereference ─▶ validate ─▶ apply: route in Redis, plan Secret and Deployment ─▶ outcome ─▶ board
//!           (fetches)      (pure)                                                                      │
//! Redis ─▶ observe ─▶ board ──────────────────────────────────────────────────────────────────────────┴▶ status, Events
//! ```
//!
//! It alone talks to the API server. Without it, or without the API server, events go on being accepted, routed and delivered.
//!
//! * [`reconcile`] is the driver. Its steps: [`dereference`] fetches, [`validate`] is pure, [`routes`] and [`workers`] write.
//! * [`objects`], [`watch`], [`references`] and [`trigger`]: what makes an object reconcile. [`sweep`]: what no watch tells.
//! * [`board`], [`observe`], [`status`], [`events`]: how it does, and where that is told.
//! * [`leader`]: one of several operators writes. [`cleanup`] and [`finalizer`]: how an object goes.

pub mod address;
pub mod annotations;
pub mod api;
pub mod backoff;
pub mod board;
pub mod cleanup;
pub mod config;
pub mod context;
pub mod dereference;
pub mod error;
pub mod events;
pub mod finalizer;
pub mod kinds;
pub mod leader;
pub mod metrics;
pub mod objects;
pub mod observe;
pub mod rbac;
pub mod reconcile;
pub mod references;
pub mod routes;
mod run;
pub mod status;
pub mod sweep;
pub mod trigger;
pub mod validate;
pub mod watch;
pub mod workers;

pub use api::ApiServer;
pub use config::OperatorConfig;
pub use run::{Ended, Surroundings, run};
