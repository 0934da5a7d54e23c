//! What the macros of one evaluation may cost. `check` puts a call of [`SPEND`] before each round of a macro; when the budget is spent, it fails.
//!
//! A unit is about one value looked at. A round costs what its body does with values of a fixed size, and what those of its operators that may
//! look at a whole list, map or string do with all of the event.

use cel::common::types::{CelBool, CelInt, INT_TYPE};
use cel::common::value::CowVal;
use cel::{Env, ExecutionError};
use std::cell::Cell;

/// The function; no expression can name it.
pub(super) const SPEND: &str = "@spend";
/// All that one evaluation may cost.
const BUDGET: u64 = 5_000_000;
/// What a round costs beside its operators, and each of the parts of its body.
const ROUND: u64 = 64;

thread_local! {
    /// What is left, and the weight of the event.
    static LEFT: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Declares the function.
pub(super) fn declare(env: &mut Env) {
    let declared = env.add_overload(SPEND, "spend_int", vec![INT_TYPE], spend);
    declared.expect("the name belongs to nobody else");
}

/// An evaluation on an event of this weight begins on this thread.
pub(super) fn begin(weight: u64) {
    LEFT.set((BUDGET, weight));
}

/// Whether it was stopped.
pub(super) fn is_spent() -> bool {
    LEFT.get().0 == 0
}

/// The argument of the function for a body of so many parts, of which so many may look at all of the event.
pub(super) fn price(parts: u64, heavy: u64) -> i64 {
    i64::try_from((parts.min(0xffff) << 16) | heavy.min(0xffff)).expect("it has 32 bits")
}

fn spend<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let price = arguments.first().and_then(|price| price.downcast_ref::<CelInt>()).map_or(0, |price| *price.inner());
    let price = u64::try_from(price).unwrap_or_default();
    let (left, weight) = LEFT.get();
    let cost = ROUND + (price >> 16) * 8 + (price & 0xffff) * weight;
    LEFT.set((left.saturating_sub(cost), weight));
    if left <= cost {
        return Err(ExecutionError::function_error("macro", "too many rounds"));
    }
    Ok(CowVal::owned(CelBool::from(true)))
}
