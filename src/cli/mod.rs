//! The commands: the clap tree, and one file for each.

pub mod generate;
pub mod ingest;
pub mod receiver;
pub mod role;
pub mod setting;
pub mod validate;
