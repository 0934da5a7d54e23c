//! One folder for each kind of destination.
pub mod http;
