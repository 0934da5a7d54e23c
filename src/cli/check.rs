//! `posthorn check`: whether all is well with Redis, the router and every destination; of what is not, what to do.

mod destinations;
mod storage;
mod tidiness;

use super::config::Config;
use super::connect::Connection;
use super::output::{self, Format, ObjectFormat, harmless};
use super::plugin::Where;
use crate::bus::overview::overview;
use crate::bus::{cursor, routing};
use std::io::IsTerminal as _;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn check                              all of it
  posthorn check --quiet || page-somebody     only what is not well
  posthorn check -o json | jq '.findings[] | select(.level != \"OK\")'

OK is well, WARN should be looked at, FAIL stops events or may lose them. The exit status is 1 if something fails.";

/// Checks Redis, the router and every destination, and says what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// Print only what is not well
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    config: Config,
    /// How to print
    #[arg(long, short, value_name = "text|json", value_enum, hide_possible_values = true, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    level: Level,
    /// What was looked at.
    check: String,
    /// What was found.
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<String>,
}

impl Finding {
    fn ok(check: &str, message: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, check: check.to_owned(), message: message.into(), what_to_do: None }
    }

    fn warn(check: &str, message: impl Into<String>, what_to_do: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, what_to_do: Some(what_to_do.into()), ..Finding::ok(check, message) }
    }

    fn fail(check: &str, message: impl Into<String>, what_to_do: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, ..Finding::warn(check, message, what_to_do) }
    }

    fn line(&self, colours: bool) -> String {
        let (word, colour) = match self.level {
            Level::Ok => ("OK  ", 32),
            Level::Warn => ("WARN", 33),
            Level::Fail => ("FAIL", 31),
        };
        let level = if colours { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word.to_owned() };
        let what_to_do = self.what_to_do.as_ref().map(|what| format!("; {}", harmless(what))).unwrap_or_default();
        format!("{level}  {}: {}{what_to_do}\n", harmless(&self.check), harmless(&self.message))
    }
}

impl Check {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        self.connection.runs(Where::Pod { stdin: false, namespace: false })
    }

    /// Prints what was found; 1 if something fails.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, or the settings are wrong.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let (link, settings) = (bus.link().await?, self.config.of(&bus)?);
        let routes = routing::routes(&link, &bus.name).await?;
        let mut findings = storage::look(&link, &settings).await?;
        findings.extend(storage::flow(&overview(&link, &bus.name).await?, routes.len()));
        let now = cursor::now(&link).await?;
        findings.extend(destinations::look(&link, &bus.name, &routes, now).await?);
        findings.extend(tidiness::look(&link, &bus.name, &routes).await?);
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        findings.retain(|finding| !self.quiet || finding.level != Level::Ok);
        match self.output {
            Format::Json => output::object(serde_json::json!({"ok": !failed, "findings": findings}), ObjectFormat::Json)?,
            Format::Text => {
                let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                output::print(&findings.iter().map(|finding| finding.line(colours)).collect::<String>())?;
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
