//! Cli.

pub mod generate;
pub mod setting;
pub mod standalone;
pub mod validate;
