//! `posthorn dead purge`: dead letters are removed for good.

use super::select::Selector;
use crate::bus::dead_letters;
use crate::cli::confirm::Confirm;
use crate::cli::connect::{Bus, Connection};
use crate::cli::names::{Named, Target};
use crate::cli::output::{self, Format, ObjectFormat};
use crate::cli::plugin::Where;
use crate::cli::progress::Progress;
use crate::event::Sequence;
use anyhow::{Context as _, anyhow};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn dead purge billing                      all, after a question
  posthorn dead purge billing --until 24h          those given up more than a day ago
  posthorn dead export billing -o billing.jsonl && posthorn dead purge billing --yes";

/// Dead letters removed in one call.
const CHUNK: usize = 500;

/// Removes dead letters for good
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Purge {
    #[command(flatten)]
    target: Target,
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

impl Purge {
    /// Where it runs as a plugin of kubectl.
    pub(super) fn runs(&self) -> Where {
        self.connection.runs(Where::Pod { stdin: false, namespace: self.target.is_bare() })
    }

    /// Removes them.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, or there is no such destination.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let chosen = self.selector.choose(&link, &bus.name, &named).await?;
        let ids: Vec<Sequence> = chosen.letters.iter().map(|letter| letter.id).collect();
        let question = format!("{} of {} dead letters of {} will be removed for good.", ids.len(), chosen.of, named.full_name);
        if !ids.is_empty() && !self.confirm.ask(&question)? {
            return Ok(ExitCode::FAILURE);
        }
        let mut purged = 0;
        let done = tokio::select! {
            done = purge(&bus, &named, &ids, &mut purged) => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; the rest is still there")),
        };
        let left = chosen.of as u64 - purged;
        match self.output {
            Format::Text => output::print(&format!("{}: {purged} removed, {left} dead letters are kept\n", named.full_name))?,
            Format::Json => output::object(serde_json::json!({"purged": purged, "deadLetters": left}), ObjectFormat::Json)?,
        }
        done.map(|()| ExitCode::SUCCESS)
    }
}

async fn purge(bus: &Bus, named: &Named, ids: &[Sequence], purged: &mut u64) -> anyhow::Result<()> {
    let bar = Progress::new(Some(ids.len() as u64));
    for chunk in ids.chunks(CHUNK) {
        let removed = dead_letters::purge(&bus.link().await?, &bus.name, &named.uid, chunk).await?;
        *purged += removed.with_context(|| format!("{} was deleted this very moment", named.full_name))?;
        bar.advance(chunk.len() as u64, *purged);
    }
    bar.clear();
    Ok(())
}
