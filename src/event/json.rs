//! The CloudEvents JSON format and its batch.
