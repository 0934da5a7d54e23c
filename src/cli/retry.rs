//! `posthorn retry`: the waiting or halted head is tried now.

use super::ask::{Asked, Asking};
use super::output;
use super::plugin::Where;
use crate::bus::routing::Ask;
use crate::bus::state::{Head, Snapshot};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Example:
  posthorn retry billing     the receiver is mended: do not wait for the next attempt";

/// Tries the oldest waiting event of a destination now, also where it is halted or blocked
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Retry {
    #[command(flatten)]
    asking: Asking,
}

impl Retry {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        self.asking.runs()
    }

    /// Asks the worker and says what came of it; 1 where there is no worker to ask.
    ///
    /// # Errors
    /// If Redis or the worker does not answer, or there is no such destination.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let asked = self.asking.open().await?;
        let name = &asked.named.full_name;
        let Some(head) = &asked.before.head else {
            output::print(&format!("{name}: no event waits, nothing to try\n"))?;
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(why) = cannot(&asked) {
            eprintln!("{name}: not tried: {why}");
            return Ok(ExitCode::FAILURE);
        }
        let after = asked.ask(Ask::Retry).await?;
        output::print(&format!("{name}: {}\n", outcome(&asked.before, head, &after)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Why nobody would try.
fn cannot(asked: &Asked) -> Option<&'static str> {
    match asked.before.state.as_deref() {
        Some("Suspended") => Some("delivery is suspended; set spec.suspend to false"),
        _ if !asked.before.owned => Some("no worker runs it now; it goes on by itself once one does"),
        _ => None,
    }
}

fn outcome(before: &Snapshot, head: &Head, after: &Snapshot) -> String {
    let sequence = head.sequence.padded();
    match &after.head {
        Some(now) if now.sequence == head.sequence && now.attempts > head.attempts => format!(
            "{sequence} was tried and failed again, attempt {}: {} {}",
            now.attempts,
            now.class.as_deref().unwrap_or_default(),
            now.message.as_deref().unwrap_or_default()
        ),
        Some(now) if now.sequence == head.sequence => format!("{sequence} is tried now"),
        _ if after.buried > before.buried => format!("{sequence} left the queue; {} dead letters were added", after.buried - before.buried),
        _ => format!("{sequence} left the queue; {} events were delivered", after.settled.saturating_sub(before.settled)),
    }
}
