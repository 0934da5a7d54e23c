//! `posthorn describe`: all about one destination: how it does, why it is stuck, what to do.

mod advice;
mod report;

use super::connect::Connection;
use super::names::Target;
use super::output::{self, ObjectFormat};
use super::plugin::Where;
use crate::bus::dead_letters;
use crate::bus::state::{self, Snapshot};
use crate::bus::{self, Link};
use crate::event::Sequence;
use anyhow::Context as _;
use report::Report;
use std::collections::BTreeMap;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn describe billing                              its state, and what to do
  posthorn describe billing -o json | jq '.whatToDo[]'";

/// Dead letters looked at in one call.
const PAGE: usize = 1000;

/// Shows all about one destination: how it does, why it is stuck, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Describe {
    #[command(flatten)]
    target: Target,
    /// How to print
    #[arg(long, short, value_name = "json|yaml", hide_possible_values = true)]
    output: Option<ObjectFormat>,
    #[command(flatten)]
    connection: Connection,
}

/// Dead letters of one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Group {
    count: u64,
    /// When the first and the last of them were given up, milliseconds since the epoch.
    #[serde(skip)]
    first: u64,
    #[serde(skip)]
    last: u64,
}

/// Dead letters by reason.
type Groups = BTreeMap<String, Group>;

impl Describe {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        self.connection.runs(Where::Pod { stdin: false, namespace: self.target.is_bare() })
    }

    /// Prints it.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, or there is no such destination.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let named = self.target.find(&link, &bus.name).await?;
        let snapshot: Snapshot = state::snapshot(&link, &bus.name, &named.uid).await?;
        let route = snapshot.route.clone();
        let route =
            route.with_context(|| format!("what Redis holds of {} cannot be read; it was written by another version", named.full_name))?;
        let groups = groups(&link, &bus.name, &named.uid).await?;
        let report = Report { named: &named, bus: &bus.name, snapshot: &snapshot, route: &route, groups: &groups };
        match self.output {
            Some(format) => output::object(report.object(), format)?,
            None => output::print(&report.text())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn groups(link: &Link, bus: &str, uid: &str) -> Result<Groups, bus::Error> {
    let (mut groups, mut after) = (Groups::new(), Sequence::ZERO);
    loop {
        let page = dead_letters::briefs(link, bus, uid, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(groups) };
        after = last.id;
        for letter in page {
            let group = groups.entry(letter.class).or_insert(Group { first: letter.at, ..Group::default() });
            *group = Group { count: group.count + 1, first: group.first.min(letter.at), last: group.last.max(letter.at) };
        }
    }
}
