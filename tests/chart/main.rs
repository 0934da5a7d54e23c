//! The Helm chart, rendered: what it makes are objects of their types, with flags that the binary knows and names that others rely on.
//!
//! Needs `helm`, which `hack/helm.sh` finds or makes, and no cluster. `tests/apiserver/chart.rs` asks a real API server.
#![allow(clippy::unwrap_used)]

mod copies;
mod helm;
mod monitoring;
mod objects;
mod pods;
mod redis;
mod settings;
mod values;
