//! `posthorn generate`: writes the generated files of the repository, or compares them.

use crate::generate;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes the files that are generated from the code: the CustomResourceDefinition and its reference, the operator's roles.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  posthorn generate --check")]
pub struct Generate {
    /// Writes nothing; fails if a file is not as it would be written.
    #[arg(long)]
    check: bool,
    /// Root of the repository.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

impl Generate {
    /// Writes or compares; 1 if `--check` found a difference.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let root = self.dir.display();
        if self.check {
            let differing = generate::differences(&self.dir).with_context(|| format!("cannot compare the files below {root}"))?;
            for path in &differing {
                println!("{} is out of date; run `posthorn generate`", path.display());
            }
            return Ok(if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        for path in generate::write(&self.dir).with_context(|| format!("cannot write the files below {root}"))? {
            println!("{}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}
