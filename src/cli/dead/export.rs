//! `posthorn dead export`: dead letters as lines of CloudEvents in JSON.

use super::select::Selector;
use crate::bus::dead_letters::{self, Brief, DeadLetter};
use crate::bus::{Link, state};
use crate::cli::connect::Connection;
use crate::cli::names::{Named, Target};
use crate::cli::output::harmless;
use crate::cli::plugin::Where;
use crate::cli::progress::Progress;
use crate::cli::when;
use crate::event::{Sequence, json};
use anyhow::Context as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn dead export billing                     to standard output
  posthorn dead export billing -o billing.jsonl
  posthorn dead export billing | jq .deadletterreason
  posthorn send --file billing.jsonl               sends them to every destination that wants them

A line is the event as its producer sent it, with the attributes deadletterreason, deadlettermessage, deadlettercode, deadletterattempts,
deadlettertime and deadlettersequence. Nothing is removed.";

/// About the most bytes read at once.
const BYTES: usize = 1 << 20;
/// Exit status of a process that wrote to a pipe nobody reads: what a shell reports for SIGPIPE.
const NOBODY_READS: u8 = 141;

/// Said by the plugin of kubectl.
const NOT_IN_POD: &str =
    "this runs in a pod, where no file of yours can be written: leave --output out, `kubectl posthorn dead export NAME > FILE`";

/// Writes dead letters as CloudEvents in JSON, one a line
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Export {
    #[command(flatten)]
    target: Target,
    /// Where to write to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    selector: Selector,
    #[command(flatten)]
    connection: Connection,
}

/// How many were written, and how many cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    written: u64,
    unreadable: u64,
}

impl Export {
    /// Where it runs as a plugin of kubectl.
    pub(super) fn runs(&self) -> Where {
        match &self.output {
            Some(_) => self.connection.runs(Where::Refused(NOT_IN_POD)),
            None => self.connection.runs(Where::Pod { stdin: false, namespace: self.target.is_bare() }),
        }
    }

    /// Writes them; 1 if one of them cannot be read.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, there is no such destination, or it cannot be written.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let place = self.output.as_ref().map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
        let out: Box<dyn Write> = match &self.output {
            Some(file) => Box::new(File::create(file).with_context(|| format!("cannot write {place}"))?),
            None => Box::new(io::stdout()),
        };
        let totals = match self.write(&link, &bus.name, &named, BufWriter::new(out)).await {
            Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => {
                return Ok(ExitCode::from(NOBODY_READS));
            }
            written => written.with_context(|| format!("cannot write all of it to {place}"))?,
        };
        if self.output.is_some() {
            println!("{}: {} written to {place}", named.full_name, totals.written);
        }
        Ok(if totals.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Holds no more than one page of them.
    async fn write(&self, link: &Link, bus: &str, named: &Named, mut out: impl Write) -> anyhow::Result<Totals> {
        let before = state::snapshot(link, bus, &named.uid).await?;
        let (test, mut after, mut totals) = (self.selector.at(before.now), Sequence::ZERO, Totals::default());
        let bar = Progress::new(self.output.is_some().then_some(before.dead_letters));
        loop {
            let page = dead_letters::page(link, bus, &named.uid, after, BYTES).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for letter in page.iter().filter(|letter| test.takes(&brief(letter))) {
                match line(letter) {
                    Ok(line) => {
                        out.write_all(line.as_bytes())?;
                        out.write_all(b"\n")?;
                        totals.written += 1;
                    }
                    Err(why) => {
                        totals.unreadable += 1;
                        bar.above(|| eprintln!("{}: left out: {}", letter.sequence.padded(), harmless(&why)));
                    }
                }
            }
            if self.output.is_some() {
                bar.advance(page.len() as u64, totals.written);
            }
        }
        bar.clear();
        out.flush()?;
        Ok(totals)
    }
}

fn brief(letter: &DeadLetter) -> Brief {
    let event_id = letter.event.as_ref().map(|event| event.attributes.id().to_owned()).unwrap_or_default();
    Brief { id: letter.id, sequence: letter.sequence, event_id, class: letter.class.clone(), at: letter.at }
}

/// The event, with why it was given up; or why it cannot be read.
fn line(letter: &DeadLetter) -> Result<String, String> {
    let event = letter.event.as_ref().map_err(ToString::to_string)?;
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut more = vec![
        ("deadletterreason", text(&letter.class)),
        ("deadletterattempts", letter.attempts.to_string()),
        ("deadlettertime", text(&when::shown(letter.at))),
        ("deadlettersequence", text(&letter.sequence.padded())),
    ];
    // an attribute is never empty
    more.extend((!letter.message.is_empty()).then(|| ("deadlettermessage", text(&harmless(&letter.message)))));
    more.extend(letter.code.map(|code| ("deadlettercode", code.to_string())));
    json::line_with(event, &more).map_err(|error| error.to_string())
}
