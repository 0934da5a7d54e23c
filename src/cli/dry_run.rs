//! `posthorn dry-run`: does a destination want an event, and what exactly would it be sent. Needs files only, sends nothing.

mod event;
mod report;

use super::output::{self, Format, ObjectFormat, harmless};
use super::validate::read_all;
use crate::api::KIND;
use crate::api::manifest;
use crate::api::objects::Objects;
use crate::api::spec::EventDestination;
use crate::event::{Event, Sequence};
use crate::filter::Subject;
use crate::filter::explain::{Clause, explain};
use crate::plan::{self, Plan, Sink, Surroundings};
use crate::worker::attempt::Attempt;
use crate::worker::sink::http::{Preview, Shown, preview};
use anyhow::{bail, ensure};
use report::Report;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

const EXAMPLES: &str = "\
Examples:
  posthorn dry-run -f destinations/billing.yaml -e event.json
  kubectl get evd billing -o yaml | posthorn dry-run -f - -f secrets.yaml -e event.json
  posthorn dry-run -f billing.yaml -e photo.png --header 'ce-id: 1' --header 'ce-source: /s' --header 'ce-type: t' \\
    --header 'ce-specversion: 1.0' --header 'content-type: image/png'

The event is a CloudEvent in JSON; with --header it is the body of a request with these headers, as ingest would get it. Values of Secrets are
masked. Sequence, timestamp and signature are those of this moment. The exit status is 1 if no destination wants the event, or one that does
could not be sent it.";

/// Tells whether a destination wants an event, why, and exactly what it would be sent
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DryRun {
    /// The destination, and the Secrets and ConfigMaps that it uses: YAML files, directories, or - for standard input; may be repeated
    #[arg(long, short, value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// The event, a CloudEvent in JSON; - reads standard input
    #[arg(long, short, value_name = "FILE")]
    event: PathBuf,
    /// A header of the request that brings the event: then the event is its body; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Only the destination of this NAME or NAMESPACE/NAME [default: every one in the files]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How to print
    #[arg(long, short, value_name = "text|json", value_enum, hide_possible_values = true, default_value_t)]
    output: Format,
}

/// What the files hold.
#[derive(Default)]
struct Contents {
    destinations: Vec<EventDestination>,
    objects: Objects,
}

impl DryRun {
    /// Tells it of every destination; 1 if none wants the event, or one that does could not be sent it.
    ///
    /// # Errors
    /// If a file cannot be read or is wrong, or the event is none.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let stdin = |path: &PathBuf| path == Path::new("-");
        ensure!(!(stdin(&self.event) && self.file.iter().any(stdin)), "standard input is either the destination or the event, not both");
        let contents = Contents::read(&self.file)?;
        let event = event::read(&self.event, &self.header)?;
        let wanted: Vec<_> = contents.destinations.iter().filter(|destination| self.is_meant(destination)).collect();
        if wanted.is_empty() {
            let names: Vec<_> = contents.destinations.iter().map(full_name).collect();
            bail!("there is no {KIND} {} in the files; they have {}", self.name.as_deref().unwrap_or_default(), names.join(", "));
        }
        let reports = wanted.into_iter().map(|destination| check(destination, &contents.objects, &event)).collect::<Result<Vec<_>, _>>()?;
        match self.output {
            Format::Text => output::print(&reports.iter().map(Report::text).collect::<Vec<_>>().join("\n"))?,
            Format::Json => output::object(reports.iter().map(Report::object).collect(), ObjectFormat::Json)?,
        }
        let good = reports.iter().any(|report| report.filters.matches)
            && reports.iter().all(|report| report.request.as_ref().is_none_or(Result::is_ok));
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn is_meant(&self, destination: &EventDestination) -> bool {
        let full_name = full_name(destination);
        self.name.as_ref().is_none_or(|name| full_name == *name || full_name.split_once('/').is_some_and(|(_, own)| own == name))
    }
}

impl Contents {
    fn read(files: &[PathBuf]) -> anyhow::Result<Contents> {
        let (mut contents, mut wrong) = (Contents::default(), Vec::new());
        for (file, text) in read_all(files)? {
            let (documents, problems) = manifest::read(&file, &text);
            wrong.extend(problems);
            for document in documents {
                if document.kind == KIND {
                    match document.destination() {
                        Ok(destination) => contents.destinations.push(destination),
                        Err(problems) => wrong.extend(problems),
                    }
                } else if let Err(problems) = contents.objects.insert(&document) {
                    wrong.extend(problems);
                }
            }
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.iter().map(|problem| harmless(&problem.to_string())).collect::<Vec<_>>().join("\n"));
        }
        ensure!(!contents.destinations.is_empty(), "there is no {KIND} in the files: give it by -f, with the Secrets that it uses");
        Ok(contents)
    }
}

fn full_name(destination: &EventDestination) -> String {
    let metadata = &destination.metadata;
    format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn check(destination: &EventDestination, objects: &Objects, event: &Event) -> anyhow::Result<Report> {
    let refers = destination.spec.sink.http.as_ref().is_some_and(|http| http.r#ref.is_some());
    let surroundings = if refers { Surroundings::Cluster(None) } else { Surroundings::Standalone };
    let resolved = match plan::resolve(destination, "", objects, &surroundings) {
        Ok(resolved) => resolved,
        Err(problems) => bail!("{}: {}", full_name(destination), problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    };
    let filters: Clause = explain(&resolved.route.filters, &Subject::new(event.clone()));
    let request = filters.matches.then(|| match &resolved.plan {
        Ok(plan) => request(plan, destination, event),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    });
    Ok(Report { name: full_name(destination), suspended: resolved.route.suspend, filters, request })
}

fn request(plan: &Plan, destination: &EventDestination, event: &Event) -> Result<Preview, String> {
    let Sink::Http(sink) = &plan.sink;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let sequence = Sequence { ms: u64::try_from(now.as_millis()).unwrap_or_default(), seq: 0 };
    preview(sink, Attempt { event, sequence, number: 1, redriven: false }, &public(destination)).map_err(|error| error.to_string())
}

/// What stands in the destination itself, so that it is no secret.
fn public(destination: &EventDestination) -> Shown {
    let Some(http) = &destination.spec.sink.http else { return Shown::default() };
    let given = http.headers.iter().filter(|header| header.value_from.is_none());
    let secret = |name: &str| http.headers.iter().any(|header| header.value_from.is_some() && header.name.eq_ignore_ascii_case(name));
    let headers = given.map(|header| header.name.to_ascii_lowercase()).filter(|name| !secret(name)).collect();
    Shown { url: http.uri_from.is_none(), headers }
}
