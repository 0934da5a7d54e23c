//! One function and one doc line for each key.
