//! When a destination, not an event, is given a rest. Pure.
