//! `posthorn send`: events straight into Redis or through ingest, one from flags or many from lines of JSON.
//!
//! ```text
//! flags or lines ─▶ source (a thread) ─▶ batches ─▶ sender: pace, append or post, retry ─▶ totals
//! ```

mod flags;
mod ingest;
mod sender;
mod source;
mod totals;

use super::config::Config;
use super::connect::Connection;
use super::output::Format;
use super::pace::{Pace, Rate};
use super::plugin::Where;
use super::progress::Progress;
use super::setting::Time;
use crate::settings::BusSettings;
use anyhow::Context as _;
use flags::EventFlags;
use ingest::Ingest;
use sender::Sender;
use source::Source;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use totals::Totals;

const EXAMPLES: &str = "\
Examples:
  posthorn send --type com.example.order.created --data '{\"order\":7}'
  posthorn send --type com.example.tick --count 1000 --rate 100/s
  posthorn send --type com.example.photo --data-file photo.png --content-type image/png --ext partitionkey=7
  posthorn send --file events.jsonl
  tail -f events.jsonl | posthorn send --file -
  posthorn send --ingest http://127.0.0.1:8080 --type com.example.tick

A line of --file is one CloudEvent in JSON:
  {\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/shop\",\"type\":\"com.example.order.created\",\"data\":{\"order\":7}}

An event that was sent before (same source and id, within the last ten minutes) is not stored again, so what was interrupted can be repeated.
The exit status is 1 if an event was refused.";

/// Said by the plugin of kubectl.
const NOT_IN_POD: &str = "this runs in a pod, which has no files of yours: give them on standard input, `kubectl posthorn send --file - < FILE` or \
                          `kubectl posthorn send --type TYPE --data-file - < FILE`";

/// Largest event that any bus may allow; ingest knows what its own does.
const MOST: u64 = 16 << 20;

/// Stores events: one from flags, or many from a file or standard input
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Send {
    /// How long to try again while Redis is full or away
    #[arg(long, value_name = "TIME", default_value = "30s")]
    retry_for: Time,
    #[command(flatten)]
    config: Config,
    /// How to print what became of the events
    #[arg(long, short, value_name = "text|json", value_enum, hide_possible_values = true, default_value_t)]
    output: Format,
    #[command(flatten)]
    event: EventFlags,
    /// Events as lines of JSON (structured CloudEvents); - reads standard input
    #[arg(
        long,
        short,
        value_name = "FILE",
        conflicts_with = "event",
        required_unless_present = "event_type",
        help_heading = "Many events"
    )]
    file: Option<PathBuf>,
    /// Send the event of the flags so many times; -1, -2 … are added to its id
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "file", help_heading = "Many events")]
    count: u64,
    /// Send at most so many events a second (100/s)
    #[arg(long, value_name = "N/s", help_heading = "Many events")]
    rate: Option<Rate>,
    /// Send through ingest at this address, as producers do, instead of straight into Redis; the limits of its own settings count, --config is not read
    #[arg(long, value_name = "URL", conflicts_with_all = ["redis", "redis_ca", "data_dir"], help_heading = "Through ingest")]
    ingest: Option<String>,
    /// File with the bearer token of a producer
    #[arg(long, value_name = "FILE", requires = "ingest", help_heading = "Through ingest")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// Where events go, and what is allowed there as far as is known here.
async fn way(args: &Send) -> anyhow::Result<(Sender, BusSettings)> {
    if let Some(address) = &args.ingest {
        let ingest = Ingest::new(address, args.connection.bus(), args.token_file.as_deref())?;
        return Ok((Sender::through(ingest, args.retry_for.0), BusSettings { max_event_bytes: MOST, ..BusSettings::default() }));
    }
    let bus = args.connection.open().await?;
    let settings = args.config.of(&bus)?;
    Ok((Sender::connect(bus, settings.clone(), args.retry_for.0).await?, settings))
}

impl Send {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        if self.ingest.is_some() {
            return Where::Here;
        }
        let of_here = |file: &Path| file != Path::new("-");
        let (many, data) = (self.file.as_deref(), self.event.data_file());
        if many.is_some_and(of_here) || data.is_some_and(of_here) {
            return self.connection.runs(Where::Refused(NOT_IN_POD));
        }
        self.connection.runs(Where::Pod { stdin: many.is_some() || data.is_some(), namespace: false })
    }

    /// Sends, and prints the totals; 1 if an event was refused.
    ///
    /// # Errors
    /// If Redis cannot be found, stays full or away for too long, or the input cannot be read.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let (mut sender, settings) = way(&self).await?;
        let source = self.source(&settings)?;
        let bar = Progress::new(source.size());
        let mut totals = Totals::new(self.file.is_none() && self.count == 1);
        let sent = tokio::select! {
            sent = send(source, &mut sender, self.rate, &bar, &mut totals) => sent,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; sending the same again is safe, what was stored is not stored twice")),
        };
        bar.clear();
        totals.print(self.output)?;
        sent?;
        Ok(if totals.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn source(&self, settings: &BusSettings) -> anyhow::Result<Source> {
        match &self.file {
            Some(file) => Source::lines(file, flags::limits(settings)),
            None => Source::repeat(self.event.event(&flags::limits(settings))?, self.count),
        }
    }
}

async fn send(mut source: Source, sender: &mut Sender, rate: Option<Rate>, bar: &Progress, totals: &mut Totals) -> anyhow::Result<()> {
    let mut pace = Pace::new(rate);
    while let Some(batch) = source.next().await {
        let batch = batch.context("the input cannot be read any further")?;
        for refused in batch.refused {
            bar.above(|| totals.refuse(refused));
        }
        let (all, mut size) = (batch.events.len() as u64, batch.size);
        for part in batch.events.chunks(pace.chunk().min(sender.most())) {
            pace.wait(part.len()).await;
            let stored = sender.store(part, |what| bar.above(|| eprintln!("{what}"))).await;
            totals.add(part, stored.with_context(|| format!("stopped after {} events", totals.handled()))?);
            let share = batch.size * part.len() as u64 / all;
            bar.advance(share, totals.handled());
            size -= share;
        }
        bar.advance(size, totals.handled());
    }
    Ok(())
}
