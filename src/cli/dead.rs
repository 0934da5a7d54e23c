//! `posthorn dead`: the events that were given up, and why; put back, removed, or taken out.

mod export;
mod purge;
mod redrive;
mod select;
mod show;

use super::connect::Connection;
use super::names::{Named, Target};
use super::output::{self, ListFormat, ObjectFormat};
use super::plugin::Where;
use super::table::{Table, age};
use crate::bus::dead_letters::{self, DeadLetter};
use crate::bus::{Link, state};
use crate::event::Sequence;
use anyhow::bail;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn dead list billing                             the oldest hundred, with the reasons
  posthorn dead list billing --limit 0 -o json           all of them, for programs
  posthorn dead show billing 0001764000000000-0000000000 all about one, its data included
  posthorn dead redrive billing --reason Timeout         deliver these again
  posthorn dead export billing -o billing.jsonl          keep them as CloudEvents, one a line
  posthorn dead purge billing --until 24h                remove those given up more than a day ago";

/// Dead letters read at once.
const PAGE: usize = 500;

/// Shows the events that were given up, puts them back, exports or removes them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Dead {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Redrive(redrive::Redrive),
    Export(export::Export),
    Purge(purge::Purge),
}

/// Lists the dead letters of a destination, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct List {
    #[command(flatten)]
    target: Target,
    /// Most dead letters to list; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// How to print
    #[arg(long, short, value_name = "wide|json|yaml", hide_possible_values = true)]
    output: Option<ListFormat>,
    #[command(flatten)]
    connection: Connection,
}

/// Shows all about one dead letter, its data included
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Show {
    #[command(flatten)]
    target: Target,
    /// Its sequence, as `dead list` shows it and as receivers got it
    #[arg(value_name = "SEQUENCE")]
    sequence: Sequence,
    /// How to print
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<ObjectFormat>,
    #[command(flatten)]
    connection: Connection,
}

impl Dead {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        match &self.command {
            Command::List(List { target, connection, .. }) | Command::Show(Show { target, connection, .. }) => {
                connection.runs(Where::Pod { stdin: false, namespace: target.is_bare() })
            }
            Command::Redrive(args) => args.runs(),
            Command::Export(args) => args.runs(),
            Command::Purge(args) => args.runs(),
        }
    }

    /// Does what was asked for.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, or there is no such destination or dead letter.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await?,
            Command::Show(show) => show.run().await?,
            Command::Redrive(redrive) => return redrive.run().await,
            Command::Export(export) => return export.run().await,
            Command::Purge(purge) => return purge.run().await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let letters = read(&link, &bus.name, &named, self.limit).await?;
        let now = state::snapshot(&link, &bus.name, &named.uid).await?;
        match self.output.and_then(ListFormat::object) {
            Some(format) => output::object(serde_json::json!({"items": letters.iter().map(show::object).collect::<Vec<_>>()}), format)?,
            None if letters.is_empty() => eprintln!("No dead letters found for {}.", named.full_name),
            None => output::print(&self.table(&letters, now.now))?,
        }
        let shown = letters.len() as u64;
        if now.dead_letters > shown && self.limit > 0 && shown > 0 {
            eprintln!("{} more; --limit 0 lists all", now.dead_letters - shown);
        }
        Ok(())
    }

    fn table(&self, letters: &[DeadLetter], now: u64) -> String {
        let wide = self.output.is_some();
        let more = ["SOURCE", "MESSAGE"].into_iter().filter(|_| wide);
        let headers = ["SEQUENCE", "ID", "TYPE", "REASON", "CODE", "ATTEMPTS", "AGE"].into_iter().chain(more).collect();
        let rows: Vec<_> = letters.iter().map(|letter| row(letter, wide, now)).collect();
        Table::new(headers).rows(&rows)
    }
}

fn row(letter: &DeadLetter, wide: bool, now: u64) -> Vec<String> {
    let attribute = |name: &str| letter.event.as_ref().ok().and_then(|event| event.attributes.get(name)).unwrap_or_default().to_owned();
    let mut row = vec![
        letter.sequence.padded(),
        attribute("id"),
        attribute("type"),
        letter.class.clone(),
        letter.code.map(|code| code.to_string()).unwrap_or_default(),
        letter.attempts.to_string(),
        age(letter.at, now),
    ];
    if wide {
        row.extend([attribute("source"), letter.message.clone()]);
    }
    row
}

/// The oldest ones; 0 reads all.
async fn read(link: &Link, bus: &str, named: &Named, limit: usize) -> anyhow::Result<Vec<DeadLetter>> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut letters: Vec<DeadLetter> = Vec::new();
    while letters.len() < limit {
        let after = letters.last().map_or(Sequence::ZERO, |last| last.id);
        let page = dead_letters::list(link, bus, &named.uid, after, PAGE.min(limit - letters.len())).await?;
        if page.is_empty() {
            break;
        }
        letters.extend(page);
    }
    Ok(letters)
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let Some(letter) = dead_letters::find(&link, &bus.name, &named.uid, self.sequence).await? else {
            bail!(
                "{} has no dead letter {}; `posthorn dead list {}` shows those that are kept",
                named.full_name,
                self.sequence.padded(),
                named.full_name
            );
        };
        match self.output {
            Some(format) => output::object(show::object_with_data(&letter), format)?,
            None => output::print(&show::text(&letter))?,
        }
        Ok(())
    }
}
