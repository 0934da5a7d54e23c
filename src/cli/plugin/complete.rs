//! `kubectl_complete-posthorn`: what kubectl's own completion asks for the plugin. It prints a candidate a line, with a description, and last what
//! the shell is to do, as kubectl expects it of a plugin.

use clap::Command as Tree;
use std::ffi::OsString;
use std::fmt::Write as _;

/// The shell is to offer nothing of its own.
const NO_FILES: &str = ":4";
/// The shell is to offer files where nothing of ours fits.
const FILES: &str = ":0";

/// Prints the candidates for the last of these words.
pub(super) fn print(tree: &Tree, words: &[OsString]) {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // nobody is there to be told
    let _ = crate::cli::output::print(&candidates(tree.clone(), &words));
}

fn candidates(mut tree: Tree, words: &[String]) -> String {
    // passes global flags on to every command
    tree.build();
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut command = &tree;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let mut found = String::new();
    let mut add = |name: &str, help: Option<&clap::builder::StyledStr>| {
        if name.starts_with(last) {
            let help = help.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(found, "{name}\t{}", help.lines().next().unwrap_or_default());
        }
    };
    let flags = || command.get_arguments().filter(|flag| !flag.is_hide_set());
    let awaited =
        before.last().and_then(|word| word.strip_prefix("--")).and_then(|name| flags().find(|flag| flag.get_long() == Some(name)));
    match awaited.filter(|flag| flag.get_action().takes_values()) {
        Some(flag) => flag.get_possible_values().iter().for_each(|value| add(value.get_name(), value.get_help())),
        None if last.starts_with('-') => {
            for flag in flags() {
                flag.get_long().into_iter().for_each(|name| add(&format!("--{name}"), flag.get_help()));
            }
        }
        None => {
            command
                .get_subcommands()
                .filter(|command| !command.is_hide_set())
                .for_each(|command| add(command.get_name(), command.get_about()));
            let values = command.get_positionals().flat_map(clap::Arg::get_possible_values);
            values.for_each(|value| add(value.get_name(), value.get_help()));
        }
    }
    let what = if found.is_empty() { FILES } else { NO_FILES };
    found + what + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let text = candidates(super::super::tree(), &words);
        text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn commands_flags_and_values_are_offered() {
        assert_eq!(offered(&["de"]), ["describe", "dead", ":4"]);
        assert!(offered(&[""]).contains(&"get".to_owned()));
        assert_eq!(offered(&["dead", "re"]), ["redrive", ":4"]);
        assert_eq!(offered(&["get", "--all"]), ["--all-namespaces", ":4"]);
        assert_eq!(offered(&["get", "--cont"]), ["--context", ":4"]);
        assert_eq!(offered(&["--context", "x", "che"]), ["check", ":4"]);
        assert_eq!(offered(&["completions", "z"]), ["zsh", ":4"]);
        assert_eq!(offered(&["check", "--output", "j"]), ["json", ":4"]);
        assert_eq!(offered(&["validate", "x"]), [":0"]);
    }
}
