//! Cli.

pub mod receiver;
