//! The folder of a standalone.

pub mod step;
