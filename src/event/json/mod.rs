//! The CloudEvents JSON format and its batch.
//!
//! Values are never read into a tree: `members` finds where each member of the envelope begins and ends, without recursion, so that
//! neither depth nor size of `data` matters, and `data` keeps its bytes.

mod decode;
mod encode;
mod line;
mod members;

pub use decode::{batch, event};
pub(super) use encode::content;
pub use encode::{batched, data, structured};
pub use line::{line, line_with};

/// Media type of one event.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// Media type of a batch of events.
pub const BATCH: &str = "application/cloudevents-batch+json";
