//! `posthorn man`: manual pages, made of the help of the commands.

use super::{Cli, output};
use anyhow::bail;
use clap::CommandFactory as _;
use clap_mangen::roff::{Roff, roman};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  posthorn man | man -l -                                   all commands
  posthorn man dead redrive | man -l -                      one of them
  posthorn man > /usr/local/share/man/man1/posthorn.1       for man posthorn";

/// Prints a manual page, for man
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Man {
    /// The command; all of Posthorn if left out
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl Man {
    /// Prints it.
    ///
    /// # Errors
    /// If there is no such command, or it cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        output::print(&page(&self.command)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The page of a command, in roff.
fn page(path: &[String]) -> anyhow::Result<String> {
    let mut command = Cli::command();
    // passes on to the others what every command has
    command.build();
    for name in path {
        let Some(found) = command.find_subcommand(name) else { bail!("there is no command {name}; posthorn --help lists them") };
        command = found.clone();
    }
    let more = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let title = [&["posthorn".to_owned()], path].concat().join("-").to_uppercase();
    let man = clap_mangen::Man::new(command.after_help(None::<&str>));
    let man = man.title(title).source(concat!("posthorn ", env!("CARGO_PKG_VERSION"))).manual("Posthorn");
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned() + &examples(&more))
}

/// What stands below the help: indented lines as they are, the others as paragraphs.
fn examples(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut roff = Roff::default();
    roff.control("SH", ["EXAMPLES"]);
    let mut as_they_are = false;
    for line in text.lines().filter(|line| !matches!(*line, "Examples:" | "Example:")) {
        if line.starts_with(' ') != as_they_are {
            as_they_are = !as_they_are;
            roff.control(if as_they_are { "nf" } else { "fi" }, []);
        }
        if line.is_empty() {
            roff.control("PP", [])
        } else {
            roff.text([roman(line)])
        };
    }
    roff.control("fi", []);
    roff.to_roff()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// Every command with those below it.
    fn paths(command: &clap::Command, path: &[String]) -> Vec<Vec<String>> {
        let below = command.get_subcommands().flat_map(|below| paths(below, &[path, &[below.get_name().to_owned()]].concat()));
        [path.to_vec()].into_iter().chain(below).collect()
    }

    /// What `man` makes of a page, and what it complains of; `None` where there is no man-db (another program of that name has no `-l`).
    fn rendered(page: &str) -> Option<(String, String)> {
        let version = Command::new("man").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        if !version.starts_with(b"man ") {
            eprintln!("skipped: man-db is not installed");
            return None;
        }
        let mut man = Command::new("man");
        man.args(["--warnings", "-l", "-"]).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100").env("MANPAGER", "cat");
        let mut child = man.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
        child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        Some((String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    #[test]
    fn every_command_has_a_page() {
        let all = paths(&Cli::command(), &[]);
        assert!(all.len() > 20, "{all:?}");
        for path in all {
            let page = page(&path).unwrap();
            let title = [&["POSTHORN".to_owned()], &path[..]].concat().join("-").to_uppercase();
            assert!(page.contains(&format!(".TH {title} 1 ")), "{page}");
            for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
                assert!(page.contains(&format!(".SH {section}")), "{path:?}: {section}");
            }
        }
        assert!(page(&["nothing".to_owned()]).unwrap_err().to_string().contains("no command nothing"));
    }

    #[test]
    fn man_shows_them_without_complaints_and_examples_line_by_line() {
        let page = |path: &[&str]| page(&path.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        for path in [&[][..], &["get"], &["dead", "redrive"], &["operator"], &["man"]] {
            let Some((text, complaints)) = rendered(&page(path)) else { return };
            assert_eq!(complaints, "", "{path:?}");
            assert!(text.contains("SYNOPSIS"), "{path:?}: {text}");
        }
        let (text, _) = rendered(&page(&["get"])).unwrap();
        assert!(text.contains("posthorn get -A -w                 of all namespaces"), "{text}");
    }
}
