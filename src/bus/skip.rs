//! Gives up the head of a queue that no worker holds.

use super::connection::{Error, Link};
use super::lease::{self, Leased, Tokens};
use super::queue::{Answered, Burial, Buried, Fate, Streak, Tenure};
use super::state;
use crate::event::Sequence;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The event is a dead letter now, or was gone already.
    Done,
    /// A worker has the queue: ask it.
    Busy,
    /// There is no such destination.
    Gone,
}

/// Takes the queue for a moment and buries the event, reason `Skipped`.
///
/// # Errors
/// If Redis does not answer; then it may be done or not, and may be repeated.
pub async fn without_worker(link: &Link, bus: &str, uid: &str, id: Sequence) -> Result<Skipped, Error> {
    let token = match lease::lease(link, bus, uid, &Tokens::in_memory()).await? {
        (token, Leased::Held { .. }) => token,
        (_, Leased::Busy) => return Ok(Skipped::Busy),
        (_, Leased::NoRoute) => return Ok(Skipped::Gone),
    };
    let tenure = Tenure { link: link.clone(), bus: bus.to_owned(), uid: uid.to_owned(), token };
    let buried = bury(&tenure, id).await;
    tenure.release().await?;
    match buried? {
        Answered::Done(Buried::Done | Buried::ThenHalted(_) | Buried::Halted) | Answered::Gone => Ok(Skipped::Done),
        Answered::Fenced => Ok(Skipped::Busy),
    }
}

/// Belongs to no streak, so it never halts. The number of dead letters is bounded by the worker's next burial: only its plan tells the bound.
async fn bury(tenure: &Tenure, id: Sequence) -> Result<Answered<Buried>, Error> {
    let route = state::snapshot(&tenure.link, &tenure.bus, &tenure.uid).await?.route;
    let copy_to = route.as_ref().and_then(|route| Some((route.namespace.as_str(), route.dead_letters_to.as_deref()?)));
    let burial = Burial {
        id,
        fate: Fate::DeadLetter,
        streak: Streak::None,
        class: "Skipped",
        message: "skipped on request",
        destination_limit: u32::MAX,
        event_limit: u32::MAX,
        max_dead_letters: u64::MAX,
        copy_to,
    };
    tenure.bury(&burial).await
}
