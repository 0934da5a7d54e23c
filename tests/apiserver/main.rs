//! The resource and the operator against a real API server: one test binary, one module for each subject.
//!
//! `hack/apiserver.sh` finds or makes etcd, kube-apiserver and kubectl.
// A test fails by panicking; the harness does so with a message wherever the reason is not plain.
#![allow(clippy::unwrap_used)]

mod chart;
mod crd;
mod deletion;
mod documented;
mod flow;
mod foreign;
mod harness;
mod kubelet;
mod leader;
mod life;
mod many;
mod rbac;
mod redis_faults;
mod references;
mod scale;
mod support;
#[path = "../fixtures/refusals.rs"]
mod table;
mod telling;
mod workers;
