//! A question before what cannot be taken back.

use anyhow::bail;
use std::io::{IsTerminal as _, Write as _};

/// Not asked again.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Confirm {
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Tells what is about to happen and asks; false for no.
    ///
    /// # Errors
    /// Where nobody can be asked and `--yes` was not given.
    pub fn ask(self, what: &str) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        eprintln!("{what}");
        if !std::io::stdin().is_terminal() {
            bail!("nothing was done: there is no terminal to ask on; with --yes it is done without asking");
        }
        eprint!("Go on? [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        let yes = matches!(answer.trim(), "y" | "Y" | "yes");
        if !yes {
            eprintln!("nothing was done");
        }
        Ok(yes)
    }
}
