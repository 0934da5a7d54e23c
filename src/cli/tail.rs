//! `posthorn tail`: follows the events that a bus accepts.

mod pattern;

use super::connect::{Bus, Connection};
use super::names;
use super::output::{self, Format, harmless};
use super::plugin::Where;
use super::table::Table;
use super::when::When;
use crate::bus::entry::Entry;
use crate::bus::overview::{Overview, overview};
use crate::bus::{Link, Supervisor, cursor, routing};
use crate::event::{Sequence, json};
use crate::filter::{Filter, Filters};
use anyhow::Context as _;
use jiff::Timestamp;
use pattern::Pattern;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  posthorn tail                                       what bus `default` accepts from now on, until Ctrl-C
  posthorn tail shop --since 10m                      of bus `shop`, beginning ten minutes ago
  posthorn tail --filter 'type=com.example.order.*'   only these; may be repeated: all must match
  posthorn tail --for billing                         what the destination billing would get
  posthorn tail -o json | jq .data                    whole events, one a line

It only looks: nothing is taken away. What was put back by `dead redrive` is shown with --for only.";

/// Longest wait in Redis for the next event.
const BLOCK: Duration = Duration::from_secs(1);
/// Pause before Redis is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Follows the events that a bus accepts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    /// The bus [default: that of --bus]
    #[arg(id = "followed", value_name = "BUS", conflicts_with = "bus")]
    followed: Option<String>,
    /// Begin with what was accepted then: a time (RFC 3339), or how long ago (10m) [default: now]
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only events with this attribute; * at the end or the beginning stands for anything. May be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<Pattern>,
    /// Only events that this destination wants: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    r#for: Option<String>,
    /// Namespace of that destination [default: default]
    #[arg(long, short, value_name = "NAMESPACE", requires = "for")]
    namespace: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How to print
    #[arg(long, short, value_name = "text|json", value_enum, hide_possible_values = true, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// Which events are shown.
struct Wanted {
    filters: Filters,
    /// The destination for which events are shown.
    uid: Option<String>,
}

/// What is printed.
struct Printer {
    format: Format,
    table: Table,
    left: u64,
}

impl Tail {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        let bare = self.r#for.as_ref().is_some_and(|name| names::is_bare(name, self.namespace.as_deref()));
        self.connection.runs(Where::Pod { stdin: false, namespace: bare })
    }

    /// Prints events until Ctrl-C.
    ///
    /// # Errors
    /// If Redis cannot be found, or there is no such destination.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.clone().on(self.followed.clone()).open().await?;
        let link = bus.link().await?;
        let wanted = self.wanted(&link, &bus.name).await?;
        let now = overview(&link, &bus.name).await?;
        let after = self.after(&now);
        let table = Table::new(vec!["TIME", "SEQUENCE", "TYPE", "SOURCE", "ID", "BYTES"]);
        let printer = Printer { format: self.output, table, left: self.count.unwrap_or(u64::MAX) };
        tokio::select! {
            followed = follow(&bus, after, &wanted, printer) => followed?,
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn wanted(&self, link: &Link, bus: &str) -> anyhow::Result<Wanted> {
        let mut filters: Vec<Filter> = self.filter.iter().map(Pattern::filter).collect();
        let Some(name) = &self.r#for else { return Ok(Wanted { filters: Filters::compile(&filters)?, uid: None }) };
        let named = names::resolve(&routing::names(link, bus).await?, name, self.namespace.as_deref())?;
        let route = routing::routes(link, bus).await?.remove(&named.uid);
        let route =
            route.with_context(|| format!("what Redis holds of {} cannot be read; it was written by another version", named.full_name))?;
        filters.extend(route.filters);
        Ok(Wanted { filters: Filters::compile(&filters)?, uid: Some(named.uid) })
    }

    /// The place behind which the first event is.
    fn after(&self, now: &Overview) -> Sequence {
        let Some(since) = self.since else { return now.last };
        let since = since.at(now.now);
        if since < now.trimmed.ms {
            eprintln!("events before {} are no longer kept", super::when::shown(now.trimmed.ms));
        }
        Sequence { ms: since.saturating_sub(1), seq: u64::MAX }
    }
}

/// A Redis that is away for a while ends nothing.
async fn follow(bus: &Bus, mut after: Sequence, wanted: &Wanted, mut printer: Printer) -> anyhow::Result<()> {
    let links = Supervisor::start_blocking(bus.url.clone(), "tail", BLOCK);
    let mut told = false;
    while printer.left > 0 {
        match cursor::wait(&links.link().await, &bus.name, after, BLOCK).await {
            Ok(entries) => {
                told = false;
                after = entries.last().map_or(after, |last| last.sequence);
                printer.print(entries.iter().filter(|entry| wanted.wants(entry)))?;
            }
            Err(error) => {
                if !told {
                    eprintln!("{error}; trying again");
                    told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

impl Wanted {
    fn wants(&self, entry: &Entry) -> bool {
        match (entry.text("to"), &self.uid) {
            (Some(to), Some(uid)) => to == uid,
            // put back for one destination: it was accepted before
            (Some(_), None) => false,
            (None, _) => self.filters.match_event(&entry.subject(), &mut |_| {}),
        }
    }
}

impl Printer {
    fn print<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> anyhow::Result<()> {
        let entries: Vec<&Entry> = entries.take(usize::try_from(self.left).unwrap_or(usize::MAX)).collect();
        self.left -= entries.len() as u64;
        let text = match self.format {
            Format::Text => self.table.rows(&entries.iter().map(|entry| row(entry)).collect::<Vec<_>>()),
            Format::Json => entries.iter().filter_map(|entry| line(entry)).collect(),
        };
        Ok(output::print(&text)?)
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let attributes = entry.attributes();
    let time = i64::try_from(entry.sequence.ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    vec![
        time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()).unwrap_or_default(),
        entry.sequence.padded(),
        attributes.event_type().to_owned(),
        attributes.source().to_owned(),
        attributes.id().to_owned(),
        entry.field("d").map_or(0, |data| data.len()).to_string(),
    ]
}

/// The whole event; what cannot be read is told instead.
fn line(entry: &Entry) -> Option<String> {
    let event = entry.event().map_err(|error| error.to_string());
    match event.and_then(|event| json::line(&event, entry.sequence).map_err(|error| error.to_string())) {
        Ok(line) => Some(line + "\n"),
        Err(why) => {
            eprintln!("{}: {}", entry.sequence.padded(), harmless(&why));
            None
        }
    }
}
