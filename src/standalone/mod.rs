//! Standalone.
