//! The operator: makes `EventDestination` objects true, and tells on their status how they do.
//!
//! ```text
//! object ─▶ dereference ─▶ validate ─▶ apply: route in Redis, plan Secret and Deployment ─▶ outcome ─▶ board
//!           (fetches)      (pure)                                                                      │
//! Redis ─▶ observe ─▶ board ──────────────────────────────────────────────────────────────────────────┴▶ status, Events
//! ```
//!
//! It alone talks to the API server. Without it, or without the API server, events go on being accepted, routed and delivered.

pub mod annotations;
pub mod api;
pub mod backoff;
pub mod board;
pub mod config;
pub mod error;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod rbac;
pub mod status;

pub use config::OperatorConfig;
