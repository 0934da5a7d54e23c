//! `posthorn get`: destinations and how they do, as kubectl shows them.

mod rows;

use super::all::snapshots;
use super::connect::{Bus, Connection};
use super::names::{self, DEFAULT_NAMESPACE};
use super::output::{self, ListFormat, ObjectFormat};
use super::plugin::Where;
use super::table::Table;
use crate::bus::state::Snapshot;
use crate::bus::{self, Link, routing};
use crate::plan::Route;
use anyhow::bail;
use rows::Columns;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  posthorn get                       all destinations of namespace default
  posthorn get -A -w                 of all namespaces; prints those that change, until Ctrl-C
  posthorn get billing -o wide       one of them, with its receiver and the trouble of its oldest event
  posthorn get -o json | jq '.items[].status.backlog'

STATUS is Idle, Active or Draining while events go out, Retrying, Halted, Blocked or Suspended while they wait, and Pending or NoWorker
where no worker runs. OLDEST is the age of the oldest event that waits, DEAD the dead letters kept now.";

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);

/// Shows destinations: state, backlog, retries, dead letters
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Get {
    /// NAME or NAMESPACE/NAME of one destination; all if left out
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces")]
    name: Option<String>,
    /// Only destinations of this namespace [default: default]
    #[arg(long, short, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Destinations of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Goes on and prints every destination that changes
    #[arg(long, short)]
    watch: bool,
    /// How to print
    #[arg(long, short, value_name = "wide|json|yaml", hide_possible_values = true)]
    output: Option<ListFormat>,
    #[command(flatten)]
    connection: Connection,
}

/// One destination as Redis holds it.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    uid: String,
    route: Route,
    snapshot: Snapshot,
}

/// Which destinations are shown.
enum Wanted {
    /// The one of this `namespace/name`.
    One(String),
    /// All of this namespace.
    Namespace(String),
    /// All.
    All,
}

impl Wanted {
    fn includes(&self, route: &Route) -> bool {
        match self {
            Wanted::One(name) => route.full_name() == *name,
            Wanted::Namespace(namespace) => route.namespace == *namespace,
            Wanted::All => true,
        }
    }
}

/// Destinations by `namespace/name`.
type Destinations = BTreeMap<String, Found>;

impl Get {
    /// Where it runs as a plugin of kubectl.
    pub fn runs(&self) -> Where {
        let bare = match &self.name {
            Some(name) => names::is_bare(name, self.namespace.as_deref()),
            None => self.namespace.is_none() && !self.all_namespaces,
        };
        self.connection.runs(Where::Pod { stdin: false, namespace: bare })
    }

    /// Prints what there is, once or for ever.
    ///
    /// # Errors
    /// If Redis cannot be found or does not answer, or there is no destination of that name.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let bus = self.connection.open().await?;
        let link = bus.link().await?;
        let wanted = self.wanted(&link, &bus.name).await?;
        let destinations = load(&link, &bus.name, &wanted).await?;
        if let (Wanted::One(name), true) = (&wanted, destinations.is_empty()) {
            bail!("what Redis holds of {name} cannot be read; it was written by another version");
        }
        match self.output.and_then(ListFormat::object) {
            _ if self.watch => self.watch(&bus, &wanted, destinations).await?,
            Some(format) => self.print_objects(&bus, &destinations, format)?,
            None => self.print_table(&destinations)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn wanted(&self, link: &Link, bus: &str) -> anyhow::Result<Wanted> {
        match &self.name {
            Some(name) => Ok(Wanted::One(names::resolve(&routing::names(link, bus).await?, name, self.namespace.as_deref())?.full_name)),
            None if self.all_namespaces => Ok(Wanted::All),
            None => Ok(Wanted::Namespace(self.namespace().to_owned())),
        }
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    fn columns(&self) -> Columns {
        Columns { namespace: self.all_namespaces, wide: self.output == Some(ListFormat::Wide) }
    }

    fn print_table(&self, destinations: &Destinations) -> anyhow::Result<()> {
        if destinations.is_empty() {
            match self.all_namespaces {
                true => eprintln!("No resources found"),
                false => eprintln!("No resources found in {} namespace.", self.namespace()),
            }
            return Ok(());
        }
        let columns = self.columns();
        let rows: Vec<_> = destinations.values().map(|found| columns.row(found)).collect();
        Ok(output::print(&Table::new(columns.headers()).rows(&rows))?)
    }

    fn print_objects(&self, bus: &Bus, destinations: &Destinations, format: ObjectFormat) -> anyhow::Result<()> {
        let mut objects = destinations.values().map(|found| rows::object(found, &bus.name));
        let printed = match &self.name {
            Some(_) => objects.next().unwrap_or_default(),
            None => serde_json::json!({
                "apiVersion": "v1",
                "kind": "List",
                "items": objects.collect::<Vec<Value>>(),
                "metadata": {"resourceVersion": ""},
            }),
        };
        Ok(output::object(printed, format)?)
    }

    /// Prints all, then each one that changed. A Redis that is away for a while ends nothing.
    async fn watch(&self, bus: &Bus, wanted: &Wanted, first: Destinations) -> anyhow::Result<()> {
        let mut table = Table::new(self.columns().headers());
        let mut shown = Destinations::new();
        let mut now = first;
        loop {
            let gone = shown.iter().filter(|(name, _)| !now.contains_key(*name));
            let changed = now.iter().filter(|(name, found)| shown.get(*name).is_none_or(|before| rows::differ(before, found)));
            self.print_changes(bus, &mut table, gone.chain(changed).map(|(_, found)| found))?;
            shown = now;
            now = look_again(bus, wanted).await;
        }
    }

    fn print_changes<'a>(&self, bus: &Bus, table: &mut Table, changes: impl Iterator<Item = &'a Found>) -> anyhow::Result<()> {
        match self.output.and_then(ListFormat::object) {
            Some(format) => {
                for found in changes {
                    output::object(rows::object(found, &bus.name), format)?;
                }
            }
            None => {
                let columns = self.columns();
                let rows: Vec<_> = changes.map(|found| columns.row(found)).collect();
                output::print(&table.rows(&rows))?;
            }
        }
        Ok(())
    }
}

/// Reads the destinations that are wanted.
async fn load(link: &Link, bus: &str, wanted: &Wanted) -> Result<Destinations, bus::Error> {
    let mut routes = routing::routes(link, bus).await?;
    routes.retain(|_, route| wanted.includes(route));
    let found = |(uid, route, snapshot): (String, Route, Snapshot)| (route.full_name(), Found { uid, route, snapshot });
    Ok(snapshots(link, bus, routes).await?.into_iter().map(found).collect())
}

async fn look_again(bus: &Bus, wanted: &Wanted) -> Destinations {
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let failed = match bus.link().await {
            Ok(link) => match load(&link, &bus.name, wanted).await {
                Ok(found) => return found,
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        if !told {
            eprintln!("{failed:#}; trying again");
            told = true;
        }
    }
}
