//! What was promised, of each destination of a scene.

use super::it::History;
use super::it::stored::Stored;
use super::load::Posted;
use super::receiver::{Got, longest_gap};
use super::release;
use super::{Accepted, PATIENCE, Receiver, Scene, eventually_within, holds};
use posthorn::receiver::Seen;
use std::collections::BTreeMap;
use std::time::Duration;

/// What came out for one destination.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Events that its receiver accepted.
    pub accepted: usize,
    /// Requests that it accepted again.
    pub repeats: usize,
    /// The longest time between two that it accepted.
    pub longest_gap: Duration,
}

/// Waits until all accepted events are routed and the destination owes nothing, and returns what Redis holds of it then.
pub async fn drained(scene: &Scene, destination: &str) -> Stored {
    let name = format!("{}/{destination}", scene.namespace);
    eventually_within(PATIENCE, &format!("{name} owes nothing"), async || {
        let (behind, stored) = (release::behind()?, release::stored(&name)?);
        holds(behind == 0 && stored.queued.is_empty(), || format!("{behind} not routed, {} in the queue", stored.queued.len()))?;
        Ok(stored)
    })
    .await
}

/// Waits until nothing moves, and checks everything that was promised. `repeats`: how often one event may be accepted again.
pub async fn judge(scene: &Scene, destination: &str, accepted: &[Accepted], receiver: &Receiver, lanes: Lanes, repeats: usize) -> Outcome {
    let stored = drained(scene, destination).await;
    let log = receiver.log();
    let seen: Vec<Seen> = log.iter().map(|got| got.seen.clone()).collect();
    let lane = |seen: &Seen| match lanes {
        Lanes::One => String::new(),
        Lanes::BySource => seen.source().unwrap_or_default().to_owned(),
    };
    History { lane: &lane, repeats, ..History::strict(destination, accepted, &seen, &stored) }.assert_kept();
    outcome(&log)
}

/// What is delivered in order.
#[derive(Clone, Copy, Debug)]
pub enum Lanes {
    /// All events.
    One,
    /// Those of each source.
    BySource,
}

/// Counts what a receiver accepted.
pub fn outcome(log: &[Got]) -> Outcome {
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for got in log.iter().filter(|got| got.seen.accepted()) {
        *times.entry(got.seen.sequence()).or_default() += 1;
    }
    let repeats = times.values().map(|times| times - 1).sum();
    Outcome { accepted: times.len(), repeats, longest_gap: longest_gap(log) }
}

/// Panics if ingest itself refused anything: what could not be reached is the network's, and is tried again.
pub fn refused_nothing(posted: &Posted) {
    assert!(posted.refusals.answered.is_empty(), "ingest refused: {:?}", posted.refusals);
}
