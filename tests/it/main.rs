//! The real binary against a real redis-server: one test binary, one module for each subject.
//!
//! `POSTHORN_TEST_REDIS` names another server to run on (`valkey-server`).
// A test fails by panicking; the harness does so with a message wherever the reason is not plain.
#![allow(clippy::unwrap_used)]

mod bus;
mod buses;
mod commands;
mod delivery;
mod harness;
mod ingest_faults;
mod readiness;
mod receiver;
mod routing;
mod soak;
mod standalone_faults;
mod support;
mod tls;
