//! Dead letters that are put back: the script `redrive`.

use super::connection::{Error, Link};
use super::scripts::Script;
use crate::event::Sequence;

/// What came of putting dead letters back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redriven {
    /// The first `tried` of them are done with.
    Done {
        /// Done with.
        tried: usize,
        /// So many of those were still there, and are on the log now.
        moved: u64,
    },
    /// The backlog is at the limit of its spec; nothing was put back.
    Full,
    /// What was put back before has not reached its queue, so nobody knows whether there is room; nothing was put back.
    Wait,
    /// There is no such destination.
    Gone,
    /// It is being deleted.
    Closed,
    /// A newer version wrote its route.
    Unreadable,
}

/// Puts dead letters back, by their own IDs and in this order, until about so many bytes: onto the log, for their destination alone. They
/// come after all that was accepted before. Script `redrive`; a full Redis refuses it as a whole.
pub async fn redrive(link: &Link, bus: &str, uid: &str, bytes: usize, ids: &[Sequence]) -> Result<Redriven, Error> {
    link.hello(bus).await?;
    loop {
        let mut call = link.script(Script::Redrive, bus).arg(uid).arg(bytes);
        ids.iter().for_each(|id| call.push(id.to_string()));
        let mut answer = call.run().await?;
        return Ok(match answer.text()?.as_str() {
            "OK" => Redriven::Done { tried: answer.parse()?, moved: answer.parse()? },
            "FULL" => Redriven::Full,
            "WAIT" => Redriven::Wait,
            "GONE" => Redriven::Gone,
            "CLOSED" => Redriven::Closed,
            "UNREADABLE" => Redriven::Unreadable,
            // the bus was deleted from Redis since this connection said hello
            "NOBUS" => {
                link.hello_again(bus).await?;
                continue;
            }
            other => return Err(answer.unexpected(other)),
        });
    }
}
