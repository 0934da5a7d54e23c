//! The CloudEvents HTTP protocol binding: what a request holds, and what is sent.

mod decode;
mod encode;
mod percent;
mod reserved;

pub use decode::{Format, Received, decode, format};
pub use encode::binary;
pub use reserved::{RESERVED, RESERVED_PREFIXES, is_reserved};
