//! What these tests stand on, beside what all tests of the whole binary stand on ([`it`]).
//!
//! * [`settings`]: what `hack/e2e.sh` says.
//! * [`tools`]: `kubectl` and `helm`, as a user has them.
//! * [`release`]: the installation.
//! * [`scene`]: a namespace with destinations, dumped if the test fails, and removed.
//! * [`receiver`]: a pod that remembers what it got.
//! * [`load`]: producers that post through the API server.
//! * [`judge`]: what was promised, of each destination of a scene.
//! * [`report`]: the table at the end.
#![allow(dead_code, unused_imports, reason = "not every test needs everything")]

#[path = "../../it/support/mod.rs"]
pub mod it;
pub mod judge;
pub mod load;
pub mod receiver;
pub mod release;
pub mod report;
pub mod scene;
pub mod settings;
pub mod tools;

pub use it::eventually::holds;
pub use it::{Accepted, History, eventually, eventually_within};
pub use load::Load;
pub use receiver::Receiver;
pub use scene::Scene;

/// Long enough for pods to be scheduled, probed and told about each other on a busy machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(180);
