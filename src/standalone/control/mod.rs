//! Makes Redis hold what the folder wants.

pub mod compare;
