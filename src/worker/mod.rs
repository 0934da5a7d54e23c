//! Delivers: one lane for each plan.

pub mod attempt;
pub mod guard;
pub mod halt;
pub mod plans;
pub mod retry;
pub mod sink;
