//! The router in trouble: killed, doubled, stopped, without memory, with destinations that come, change and go.

mod crashes;
mod destinations;
mod expressions;
mod limits;
mod space;
mod wide;

use crate::support::load::Posted;
use crate::support::{Accepted, History, Pieces};
use posthorn::event::Sequence;

/// Checks that a queue that nobody delivers from owes exactly what its destination wants.
fn assert_owes(pieces: &Pieces, uid: &str, posted: &Posted, wanted: &dyn Fn(&Accepted) -> bool) {
    let stored = pieces.stored(uid);
    let history = History::strict(uid, &posted.accepted, &[], &stored);
    History { uncertain: &posted.uncertain, wanted, ..history }.assert_kept();
}

/// The sequences of the accepted events that are wanted.
fn wanted(posted: &Posted, wanted: impl Fn(&Accepted) -> bool) -> Vec<Sequence> {
    posted.accepted.iter().filter(|event| wanted(event)).map(|event| event.sequence).collect()
}
