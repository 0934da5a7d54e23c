//! Posthorn installed by its chart on a real cluster, the one that `KUBECONFIG` names: one test binary, one module for each subject.
//!
//! `hack/e2e.sh` installs the release, runs these tests one after the other, and removes everything. Alone they would find nothing to test, so
//! they are all ignored by default.
// A test fails by panicking; the harness does so with a message wherever the reason is not plain.
#![allow(clippy::unwrap_used)]

mod deletion;
mod delivery;
mod documented;
mod install;
mod kills;
mod removal;
mod secrets;
mod support;
mod trouble;
mod upgrade;
