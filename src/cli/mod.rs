//! The commands: the clap tree, and one file for each.

pub mod ask;
pub mod connect;
pub mod dead;
pub mod generate;
pub mod get;
pub mod names;
pub mod output;
pub mod receiver;
pub mod retry;
pub mod send;
pub mod setting;
pub mod skip;
pub mod standalone;
pub mod table;
pub mod validate;
