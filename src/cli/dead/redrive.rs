//! `posthorn dead redrive`: dead letters are delivered again.

use super::select::{Chosen, Picked, Selector};
use crate::bus::Error;
use crate::bus::redrive::{Redriven, redrive};
use crate::bus::state::{self, Snapshot};
use crate::cli::confirm::Confirm;
use crate::cli::connect::{Bus, Connection};
use crate::cli::names::{Named, Target};
use crate::cli::output::{self, Format, ObjectFormat};
use crate::cli::pace::{Pace, RateOrNone};
use crate::cli::plugin::Where;
use crate::cli::progress::Progress;
use crate::cli::when;
use crate::event::Sequence;
use anyhow::{anyhow, bail};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

const EXAMPLES: &str = "\
Examples:
  posthorn dead redrive billing                                all, after a question
  posthorn dead redrive billing --reason Timeout --since 2h    of the last two hours, for one reason
  posthorn dead redrive billing --id e1 --yes                  one event, without a question
  posthorn dead redrive billing --rate 0                       as fast as Redis takes them

They keep their order among themselves, and come after everything that was accepted meanwhile: in Strict and PerKey order they are late.
Each gets a new sequence; the header posthorn-redriven tells the receiver. What was interrupted can be run again: it goes on with the rest.";

/// Most dead letters in one call.
const CHUNK: usize = 200;
/// About the most bytes in one call.
const BYTES: usize = 1 << 20;
/// How long Redis may be away, and how long the router may take for what was put back before.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before trying again.
const PAUSE: Duration = Duration::from_millis(50);

/// Puts dead letters back, so that they are delivered again, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Redrive {
    #[command(flatten)]
    target: Target,
    /// Put at most so many back a second (100/s); 0 for no limit
    #[arg(long, value_name = "N/s", default_value = "100/s")]
    rate: RateOrNone,
    #[command(flatten)]
    confirm: Confirm,
    /// How to print what was done
    #[arg(long, short, value_name = "text|json", value_enum, hide_possible_values = true, default_value_t)]
    output: Format,
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    connection: Connection,
}

impl Redrive {
    /// Where it runs as a plugin of kubectl.
    pub(super) fn runs(&self) -> Where {
        self.connection.runs(Where::Pod { stdin: false, namespace: self.target.is_bare() })
    }

    /// Puts them back; 1 if not all that were meant.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, there is no such destination, or it does not take them now.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let chosen = self.selector.choose(&link, &bus.name, &named).await?;
        let before = state::snapshot(&link, &bus.name, &named.uid).await?;
        if chosen.letters.is_empty() {
            return self.end(&named, 0, chosen.of as u64, Ok(()));
        }
        if !self.confirm.ask(&announcement(&named, &chosen, &before))? {
            return Ok(ExitCode::FAILURE);
        }
        let mut work = Work { bus: &bus, named: &named, bar: Progress::new(Some(chosen.letters.len() as u64)), moved: 0 };
        let done = tokio::select! {
            done = work.run(&chosen.letters, Pace::new(self.rate.0)) => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; what was put back is on its way, running it again goes on with the rest")),
        };
        work.bar.clear();
        let moved = work.moved;
        let left = match bus.link().await {
            Ok(link) => state::snapshot(&link, &bus.name, &named.uid).await.map(|now| now.dead_letters).ok(),
            Err(_) => None,
        };
        self.end(&named, moved, left.unwrap_or(chosen.of as u64 - moved), done)
    }

    fn end(&self, named: &Named, moved: u64, left: u64, done: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
        match self.output {
            Format::Text => output::print(&format!("{}: {moved} redriven, {left} dead letters are kept\n", named.full_name))?,
            Format::Json => output::object(serde_json::json!({"redriven": moved, "deadLetters": left}), ObjectFormat::Json)?,
        }
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// What is about to happen, and what it does to the order.
fn announcement(named: &Named, chosen: &Chosen, now: &Snapshot) -> String {
    let (count, name) = (chosen.letters.len(), &named.full_name);
    let mut text = format!("{count} of {} dead letters of {name} will be delivered again, oldest first.", chosen.of);
    let overtaken = chosen.letters.iter().filter(|letter| now.last_ok.is_some_and(|last| last > letter.at)).count();
    let in_order = now.order.as_deref() != Some("Unordered");
    if let (true, true, Some(last)) = (in_order, overtaken > 0, now.last_ok) {
        let order = now.order.as_deref().map(|order| format!(" in order {order}")).unwrap_or_default();
        text += &format!(
            "\nThey are late: it delivers{order}, and after {overtaken} of them were given up, events that were accepted later have been delivered \
             already (the last at {}). These will arrive behind them; be sure that the receiver can bear that.",
            when::shown(last)
        );
    }
    if now.backlog > 0 {
        text += &format!("\n{} events wait for {name} now and go first.", now.backlog);
    }
    if now.halted.is_some() {
        text += "\nIt is halted: they will wait, too, until it goes on (posthorn describe tells what to do).";
    }
    text
}

/// The work, and how far it has come.
struct Work<'a> {
    bus: &'a Bus,
    named: &'a Named,
    bar: Progress,
    moved: u64,
}

impl Work<'_> {
    async fn run(&mut self, letters: &[Picked], mut pace: Pace) -> anyhow::Result<()> {
        for chunk in letters.chunks(pace.chunk().min(CHUNK)) {
            pace.wait(chunk.len()).await;
            let ids: Vec<Sequence> = chunk.iter().map(|letter| letter.id).collect();
            let mut rest = &ids[..];
            while !rest.is_empty() {
                let tried = self.step(rest).await?;
                self.bar.advance(tried as u64, self.moved);
                rest = &rest[tried..];
            }
        }
        Ok(())
    }

    /// Puts the first of them back; answers how many are done with.
    async fn step(&mut self, ids: &[Sequence]) -> anyhow::Result<usize> {
        let (deadline, name) = (Instant::now() + PATIENCE, &self.named.full_name);
        let mut unanswered = false;
        loop {
            let link = self.bus.link().await?;
            match redrive(&link, &self.bus.name, &self.named.uid, BYTES, ids).await {
                Ok(Redriven::Done { tried, moved }) => {
                    // what an unanswered call has put back is no longer there
                    self.moved += if unanswered { tried as u64 } else { moved };
                    return Ok(tried);
                }
                Ok(Redriven::Full) => bail!(
                    "stopped: the backlog of {name} is at the limit of its spec (limits.backlog), so more would be dropped; run it again once events were delivered"
                ),
                Ok(Redriven::Wait) if Instant::now() < deadline => {}
                Ok(Redriven::Wait) => {
                    bail!(
                        "stopped: what was put back has not reached the queue of {name} within {PATIENCE:?}; does a router run? (posthorn check)"
                    )
                }
                Ok(Redriven::Gone) => bail!("stopped: {name} was deleted this very moment"),
                Ok(Redriven::Closed) => bail!("stopped: {name} is being deleted and takes no more events"),
                Ok(Redriven::Unreadable) => bail!("stopped: the route of {name} was written by a newer version; use that version"),
                Err(error @ (Error::Full(_) | Error::Protocol(_) | Error::TooNew { .. })) => {
                    return Err(anyhow::Error::from(error).context("stopped; nothing was lost, running it again goes on with the rest"));
                }
                Err(error) if Instant::now() < deadline => unanswered |= matches!(error, Error::Unknown(_)),
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
