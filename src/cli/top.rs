//! `posthorn top`: a live table of rates and backlog.

mod sample;
mod screen;

use super::connect::{Bus, Connection};
use super::output::{self, Format};
use super::plugin::Where;
use super::setting::Time;
use sample::{Rates, Sample};
use screen::{Screen, frame};
use std::process::ExitCode;
use tokio::time::{Instant, sleep_until};

const EXAMPLES: &str = "\
Examples:
  posthorn top                              each second, until q or Ctrl-C
  posthorn top -n shop --interval 5s        of one namespace, each five seconds
  posthorn top --count 1 > now.txt          one table
  posthorn top --count 1 -o json

IN/S is what the filters took, OUT/S what was delivered, RETRY/S the attempts that repeated an earlier one, each a second. The largest backlog
comes first.";

/// Shows a live table: state, backlog, rates
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// Only destinations of this namespace [default: all]
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Time,
    /// End after so many tables [default: for ever on a terminal, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How to print
    #[arg(long, short, value_name = "text|json", value_enum, hide_possible_values = true, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Top {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        self.connection.runs(Where::Pod { stdin: false, namespace: false })
    }

    /// Shows it until q, Ctrl-C or the last table.
    ///
    /// # Errors
    /// If Redis cannot be found, or not be reached at the beginning.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let first = self.look(&bus).await?;
        // dropped, and with it the terminal as it was, whatever happens
        let mut screen = (self.output == Format::Text).then(Screen::open).flatten();
        let left = self.count.unwrap_or(if screen.is_some() { u64::MAX } else { 1 });
        tokio::select! {
            shown = self.show(&bus, first, left, screen.is_some()) => shown?,
            () = ended(screen.as_mut()) => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn look(&self, bus: &Bus) -> anyhow::Result<Sample> {
        Sample::take(&bus.link().await?, &bus.name, self.namespace.as_deref()).await
    }

    /// A Redis that is away for a while ends nothing on a screen.
    async fn show(&self, bus: &Bus, mut before: Sample, mut left: u64, live: bool) -> anyhow::Result<()> {
        let mut due = Instant::now();
        while left > 0 {
            due = (due + self.interval.0).max(Instant::now());
            sleep_until(due).await;
            let now = match self.look(bus).await {
                Ok(now) => now,
                Err(error) if live => {
                    output::print(&frame(&format!("trying again: {error:#}\n")))?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let rates = Rates::between(&before, &now);
            output::print(&match self.output {
                Format::Json => rates.json() + "\n",
                Format::Text if live => frame(&rates.page(&bus.name)),
                Format::Text => rates.table(),
            })?;
            (before, left) = (now, left - 1);
        }
        Ok(())
    }
}

/// Until somebody wants it to end.
async fn ended(screen: Option<&mut Screen>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminate {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    let quit = async {
        match screen {
            Some(screen) => screen.quit().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        () = quit => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
