//! The commands: the clap tree, and one file for each.

pub mod generate;
pub mod receiver;
pub mod setting;
pub mod standalone;
pub mod validate;
