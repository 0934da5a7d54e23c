//! `posthorn validate`: checks manifests as an API server and standalone would.

use crate::api::manifest::{self, Document, Problem};
use crate::api::not_yet::{self, Place};
use crate::api::objects::Objects;
use crate::api::{API_VERSION, KIND};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Checks EventDestinations, and the Secrets and ConfigMaps beside them, without a cluster or a Redis.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  posthorn validate destinations/\n  kubectl get evd -o yaml billing | posthorn validate -")]
pub struct Validate {
    /// YAML files, directories of them, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print what was found.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How to print what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line for each object or problem.
    Text,
    /// One JSON object: `valid` (names) and `problems` (file, line, field, message).
    Json,
}

/// What was found.
#[derive(Debug, Default, serde::Serialize)]
struct Findings {
    valid: Vec<String>,
    problems: Vec<Problem>,
    #[serde(skip)]
    notes: Vec<Problem>,
    /// Where each destination was first met: namespace and name → file and line.
    #[serde(skip)]
    seen: BTreeMap<(String, String, String), String>,
}

impl Validate {
    /// Checks all files and prints what was found; 1 if there is a problem.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut findings = Findings::default();
        for (file, text) in read_all(&self.files)? {
            findings.check_file(&file, &text);
        }
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&findings)?),
            Output::Text => findings.print(),
        }
        anyhow::ensure!(
            !findings.valid.is_empty() || !findings.problems.is_empty(),
            "found no {KIND}: give a file with `apiVersion: {API_VERSION}` and `kind: {KIND}`"
        );
        Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Findings {
    fn check_file(&mut self, file: &str, text: &str) {
        let (documents, problems) = manifest::read(file, text);
        self.problems.extend(problems);
        for document in documents {
            match self.check(&document) {
                Ok(name) => self.valid.extend(name),
                Err(problems) => self.problems.extend(problems),
            }
        }
    }

    /// The name of a valid object; none for one that is not checked.
    fn check(&mut self, document: &Document) -> Result<Option<String>, Vec<Problem>> {
        if document.kind == KIND {
            self.check_destination(document)?;
        } else if !Objects::default().insert(document)? {
            self.notes.push(document.problem("kind", format!("{} is not checked: only {KIND}, Secret and ConfigMap are", document.kind)));
            return Ok(None);
        }
        self.check_unique(document)?;
        Ok(Some(format!("{}/{} {}", document.namespace, document.name, document.kind)))
    }

    fn check_destination(&mut self, document: &Document) -> Result<(), Vec<Problem>> {
        let destination = document.destination()?;
        let object = serde_json::to_value(&destination).expect("a destination is JSON");
        let said = |found: not_yet::Found| document.problem(&found.path, found.sentence);
        let problems: Vec<Problem> = not_yet::find(&object, Place::Cluster).into_iter().map(said).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let only_standalone = not_yet::find(&object, Place::Standalone).into_iter().chain(not_yet::notes(&object, Place::Standalone));
        self.notes.extend(only_standalone.map(said));
        Ok(())
    }

    fn check_unique(&mut self, document: &Document) -> Result<(), Vec<Problem>> {
        let key = (document.kind.clone(), document.namespace.clone(), document.name.clone());
        let here = format!("{}:{}", document.file, document.line("metadata.name"));
        if let Some(before) = self.seen.get(&key) {
            let message = format!("{} {}/{} is already in {before}", document.kind, document.namespace, document.name);
            return Err(vec![document.problem("metadata.name", message)]);
        }
        self.seen.insert(key, here);
        Ok(())
    }

    fn print(&self) {
        for name in &self.valid {
            println!("{name} valid");
        }
        for note in &self.notes {
            eprintln!("{}:{}: note: {}", note.file, note.line, note.message);
        }
        for problem in &self.problems {
            println!("{problem}");
        }
    }
}

/// The texts of all files, each with its name; those of a directory in the order of their names.
pub(super) fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            texts.push(("-".to_owned(), text));
            continue;
        }
        for file in files_of(path)? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            texts.push((file.display().to_string(), text));
        }
    }
    Ok(texts)
}

/// The file itself, or the YAML and JSON files of a directory.
fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path.read_dir().with_context(|| format!("cannot list {}", path.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|file| manifest::is_manifest(file));
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} has no .yaml, .yml or .json file; name the files themselves", path.display());
    Ok(files)
}
