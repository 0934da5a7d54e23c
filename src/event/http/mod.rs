//! The CloudEvents HTTP protocol binding: what a request holds, and what is sent.

mod decode;
mod encode;
mod percent;

pub use decode::{Format, Received, decode, format};
pub use encode::binary;
