//! The commands a person uses: one file for each.

pub mod ask;
pub mod connect;
pub mod dead;
pub mod generate;
pub mod get;
pub mod names;
pub mod output;
pub mod retry;
pub mod send;
pub mod skip;
pub mod table;
pub mod validate;
