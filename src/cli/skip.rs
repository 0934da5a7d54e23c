//! `posthorn skip`: the head is given up, so that the events behind it go on.

use super::ask::{Asked, Asking};
use super::output;
use super::plugin::Where;
use crate::bus::routing::Ask;
use crate::bus::skip::{self, Skipped};
use crate::bus::state::Snapshot;
use crate::event::Sequence;
use anyhow::bail;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  posthorn get billing -o json | jq -r .status.head.sequence
  posthorn skip billing --sequence 0001764000000000-0000000000

The event becomes a dead letter with the reason Skipped.";

/// Gives up the oldest waiting event of a destination, so that the next ones go on
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Skip {
    /// Sequence of the event, so that no other one is skipped by mistake; it must be the oldest that waits
    #[arg(long, value_name = "SEQUENCE")]
    sequence: Sequence,
    #[command(flatten)]
    asking: Asking,
}

impl Skip {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        self.asking.runs()
    }

    /// Asks the worker, or does it itself where there is none, and says what came of it; 1 if the event still waits.
    ///
    /// # Errors
    /// If Redis or the worker does not answer, there is no such destination, or another event is its oldest.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let asked = self.asking.open().await?;
        let (name, sequence) = (&asked.named.full_name, self.sequence.padded());
        match &asked.before.head {
            Some(head) if head.sequence == self.sequence => {}
            Some(head) => {
                bail!("{sequence} is not the oldest event that waits for {name}: that is {} (id {:?})", head.sequence.padded(), head.id)
            }
            None => bail!("no event waits for {name}, so {sequence} cannot be skipped"),
        }
        let after = match self.skip_without_worker(&asked).await? {
            Some(after) => after,
            None => asked.ask(Ask::Skip(self.sequence)).await?,
        };
        let (skipped, what) = self.outcome(&asked.before, &after);
        output::print(&format!("{name}: {sequence} {what}\n"))?;
        Ok(if skipped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Takes the queue for a moment and buries the event; `None` where a worker has it.
    async fn skip_without_worker(&self, asked: &Asked) -> anyhow::Result<Option<Snapshot>> {
        if asked.before.owned {
            return Ok(None);
        }
        let (link, bus) = asked.place();
        match skip::without_worker(link, bus, &asked.named.uid, self.sequence).await? {
            Skipped::Done => Ok(Some(asked.now().await?)),
            Skipped::Busy => Ok(None),
            Skipped::Gone => bail!("{} was deleted this very moment", asked.named.full_name),
        }
    }

    fn outcome(&self, before: &Snapshot, after: &Snapshot) -> (bool, &'static str) {
        match &after.head {
            Some(head) if head.sequence == self.sequence => (false, "still waits: the worker did not skip it; try again"),
            _ if after.buried > before.buried => (true, "was skipped and is a dead letter now"),
            _ => (true, "no longer waits: it was delivered or dropped meanwhile"),
        }
    }
}
