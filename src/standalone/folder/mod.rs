//! The folder of a standalone.

pub mod read;
pub mod step;
