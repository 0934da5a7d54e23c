//! Cli.

pub mod generate;
pub mod validate;
