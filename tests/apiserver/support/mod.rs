//! What these tests stand on, beside what all tests of the whole binary stand on ([`it`]).
//!
//! * [`cluster`]: a real etcd and kube-apiserver; `kubectl`, clients, kubeconfigs, namespaces.
//! * [`audit`]: what the API server was asked, and by whom.
//! * [`kubelet`]: runs the pods of Deployments.
//! * [`world`]: a whole installation.
//! * [`guard`]: processes and files that do not outlive the test.
#![allow(dead_code, unused_imports, reason = "not every test needs everything")]

pub mod audit;
pub mod charts;
pub mod cluster;
pub mod files;
pub mod guard;
#[path = "../../it/support/mod.rs"]
pub mod it;
pub mod kubectl;
pub mod kubelet;
pub mod namespaces;
pub mod world;

pub use audit::Request;
pub use cluster::Cluster;
pub use it::*;
pub use kubelet::Kubelet;
pub use world::World;
