//! Makes the status of each destination and writes it to the object, within budget.
//!
//! ```text
//! board: somebody changed ─▶ make (pure) ─▶ differs from what we wrote? ─▶ pace: when ─▶ write ─▶ Events about what changed
//! ```
//!
//! A transition is written at once, an object at most once a second; numbers at most every 10 s, and only if they changed. So an idle object
//! costs nothing. Writes are server-side applies without a resource version: they never conflict, and a field that is left out goes away.

mod make;
mod pace;
mod write;

pub use make::make;
pub use write::{FIELD_MANAGER, StatusWriter, Trouble};
