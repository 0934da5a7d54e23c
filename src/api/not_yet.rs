//! NotYet
