//! `posthorn completions`: what a shell needs to complete command lines.

use super::Cli;
use super::output;
use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell as Generator;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn completions bash > /etc/bash_completion.d/posthorn
  posthorn completions zsh > \"${fpath[1]}/_posthorn\"
  posthorn completions fish > ~/.config/fish/completions/posthorn.fish";

/// Prints what a shell needs to complete command lines
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "bash|zsh|fish", hide_possible_values = true)]
    shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// Prints it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let generator = match self.shell {
            Shell::Bash => Generator::Bash,
            Shell::Zsh => Generator::Zsh,
            Shell::Fish => Generator::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(generator, &mut Cli::command(), "posthorn", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}
