//! Limits: the worker's rate, the router's backlog.

use super::Problem;
use crate::api::{spec, values};
use crate::plan::{BacklogLimit, OnOverflow, Rate};

const LIMITS: &str = "spec.limits";

type Limits = (Option<Rate>, Option<BacklogLimit>);

pub(super) fn resolve(limits: Option<&spec::Limits>) -> Result<Limits, Vec<Problem>> {
    let Some(spec::Limits { rate, backlog }) = limits else { return Ok((None, None)) };
    let rate = rate.as_ref().map(resolve_rate).transpose().map_err(|problem| vec![problem])?;
    let backlog = backlog.as_ref().map(resolve_backlog).transpose().map_err(|problem| vec![problem])?;
    Ok((rate, backlog))
}

fn resolve_rate(spec::Rate { requests, per }: &spec::Rate) -> Result<Rate, Problem> {
    let requests = u32::try_from(*requests).unwrap_or_default();
    let per = values::duration(per).map_err(|error| Problem::invalid(&format!("{LIMITS}.rate.per"), error))?;
    if requests == 0 || per.is_zero() {
        return Err(Problem::invalid(&format!("{LIMITS}.rate"), "a rate is at least one request in a period that is not 0"));
    }
    Ok(Rate { requests, per })
}

fn resolve_backlog(spec::BacklogLimit { max_events, max_bytes, on_overflow }: &spec::BacklogLimit) -> Result<BacklogLimit, Problem> {
    let max_bytes = max_bytes.as_ref().map(|bytes| bytes.bytes()).transpose();
    Ok(BacklogLimit {
        max_events: max_events.and_then(|events| u64::try_from(events).ok()),
        max_bytes: max_bytes.map_err(|error| Problem::invalid(&format!("{LIMITS}.backlog.maxBytes"), error))?,
        on_overflow: match on_overflow {
            spec::OnOverflow::DropNewest => OnOverflow::DropNewest,
            spec::OnOverflow::DropOldest => OnOverflow::DropOldest,
        },
    })
}
