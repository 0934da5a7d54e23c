//! Status of a destination, from what Redis holds. Pure.
