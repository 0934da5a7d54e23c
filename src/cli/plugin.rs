//! `kubectl posthorn …`: kubectl runs this binary under the name `kubectl-posthorn`. A command that works on Redis is then run in the pod of the
//! operator, which has the way to every Redis of the installation; the others run here.

mod complete;

use super::Cli;
use anyhow::{Context as _, bail};
use clap::{Arg, Command as Tree, CommandFactory as _, FromArgMatches as _};
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// What a file must be called to be found by kubectl, and to complete for it.
const NAMES: [&str; 2] = ["kubectl-posthorn", "kubectl_complete-posthorn"];
/// As people type it.
const TYPED: &str = "kubectl posthorn";
/// Names the namespace of the installation, where it need not be looked for.
const NAMESPACE: &str = "POSTHORN_NAMESPACE";
const NO_KUBECTL: &str = "kubectl cannot be run; is it on the PATH?";
/// Flags of kubectl that are taken and passed on.
const FLAGS: [(&str, &str, &str); 2] =
    [("context", "NAME", "Context of the kubeconfig"), ("kubeconfig", "FILE", "The kubeconfig [env: KUBECONFIG]")];

/// Where the plugin runs a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// Here: it needs no Redis, or was told where that is.
    Here,
    /// In the pod of the operator.
    Pod {
        /// It reads standard input.
        stdin: bool,
        /// It names a destination without a namespace: that of the context is meant.
        namespace: bool,
    },
    /// Nowhere, and why.
    Refused(&'static str),
}

/// The command line. As a plugin a command that belongs into the pod is run there: then this does not return.
///
/// # Errors
/// If the plugin cannot run the command in the cluster.
pub fn parse() -> anyhow::Result<Cli> {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str) {
        Some(name) if name == NAMES[0] => here_or_there(&args),
        Some(name) if name == NAMES[1] => {
            complete::print(&tree(), &args[1..]);
            std::process::exit(0);
        }
        _ => Ok(<Cli as clap::Parser>::parse()),
    }
}

fn here_or_there(args: &[OsString]) -> anyhow::Result<Cli> {
    let mut tree = tree();
    let matches = tree.try_get_matches_from_mut(args).unwrap_or_else(|error| error.exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut tree).exit());
    let cluster =
        Cluster { flags: FLAGS.iter().filter_map(|(name, ..)| Some((*name, matches.get_one::<OsString>(name)?.clone()))).collect() };
    match cli.runs() {
        Where::Here => Ok(cli),
        Where::Refused(why) => bail!("{why}"),
        Where::Pod { stdin, namespace } => {
            let mut command = forwarded(&args[1..]);
            if namespace {
                within(&mut command, &cluster.namespace()?);
            }
            let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
            let line = exec(&cluster.release()?, stdin, terminal, &command);
            // replaces this process: signals and the exit status are kubectl's from here on
            Err(cluster.kubectl().args(line).exec()).context(NO_KUBECTL)
        }
    }
}

/// The commands as a plugin has them: with its name, and with flags of kubectl.
fn tree() -> Tree {
    let flag = |(name, value, help): (&'static str, &'static str, &'static str)| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .global(true)
            .help_heading("Which cluster")
            .value_parser(clap::value_parser!(OsString))
    };
    renamed(Cli::command()).name(NAMES[0]).bin_name(TYPED).args(FLAGS.map(flag))
}

/// With examples as they are typed.
fn renamed(tree: Tree) -> Tree {
    let examples = tree.get_after_help().map(|text| text.to_string().replace("posthorn ", &format!("{TYPED} ")));
    let tree = examples.into_iter().fold(tree, Tree::after_help);
    tree.mut_subcommands(renamed)
}

/// What goes on to the pod: all but the flags of kubectl.
fn forwarded(args: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let text = arg.to_string_lossy();
        let flag = text.strip_prefix("--").and_then(|flag| FLAGS.iter().find(|(name, ..)| flag.split('=').next() == Some(name)));
        match flag {
            Some(_) if text.contains('=') => {}
            Some(_) => drop(rest.next()),
            None => kept.push(arg.clone()),
        }
        if text == "--" {
            kept.extend(rest.by_ref().cloned());
        }
    }
    kept
}

/// Names the namespace, before what is no flag any more.
fn within(command: &mut Vec<OsString>, namespace: &str) {
    let end = command.iter().position(|arg| arg == "--").unwrap_or(command.len());
    command.insert(end, format!("--namespace={namespace}").into());
}

/// The arguments of kubectl. Standard input goes along only if something reads it: else it would be taken from whoever calls in a loop.
fn exec(release: &str, stdin: bool, terminal: bool, command: &[OsString]) -> Vec<OsString> {
    let mut line = vec!["exec"];
    line.extend((stdin || terminal).then_some("-i"));
    line.extend(terminal.then_some("-t"));
    line.extend(["-n", release, "deploy/posthorn-operator", "--", "posthorn"]);
    line.into_iter().map(OsString::from).chain(command.iter().cloned()).collect()
}

/// The cluster that is meant.
struct Cluster {
    flags: Vec<(&'static str, OsString)>,
}

impl Cluster {
    fn kubectl(&self) -> Command {
        let mut command = Command::new("kubectl");
        for (name, value) in &self.flags {
            command.arg(format!("--{name}")).arg(value);
        }
        command
    }

    /// What kubectl prints; its own errors go to the terminal.
    fn ask(&self, args: &[&str]) -> anyhow::Result<Option<String>> {
        let output = self.kubectl().args(args).stderr(std::process::Stdio::inherit()).output().context(NO_KUBECTL)?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The namespace of the installation.
    fn release(&self) -> anyhow::Result<String> {
        if let Some(name) = std::env::var(NAMESPACE).ok().filter(|name| !name.is_empty()) {
            return Ok(name);
        }
        let found = self.ask(&[
            "get",
            "deployments",
            "-A",
            "-l",
            "app.kubernetes.io/name=posthorn,app.kubernetes.io/component=operator",
            "-o",
            "jsonpath={range .items[*]}{.metadata.namespace}{\"\\n\"}{end}",
        ])?;
        let Some(found) = found else { bail!("the operator cannot be looked for in this cluster; name its namespace by {NAMESPACE}") };
        match found.lines().collect::<Vec<_>>()[..] {
            [name] => Ok(name.to_owned()),
            [] => {
                bail!("this cluster has no operator of Posthorn; is it the right one (--context)? else name its namespace by {NAMESPACE}")
            }
            ref several => bail!("there are operators in {}; choose one by {NAMESPACE}", several.join(", ")),
        }
    }

    /// The namespace of the context, where kubectl would look.
    fn namespace(&self) -> anyhow::Result<String> {
        let found = self.ask(&["config", "view", "--minify", "-o", "jsonpath={..namespace}"])?;
        let Some(found) = found else { bail!("the kubeconfig has no such context; name the namespace by -n") };
        Ok(if found.is_empty() { super::names::DEFAULT_NAMESPACE.to_owned() } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    fn runs(args: &[&str]) -> Where {
        let matches = tree().try_get_matches_from([&["kubectl-posthorn"], args].concat()).unwrap_or_else(|error| panic!("{error}"));
        Cli::from_arg_matches(&matches).unwrap().runs()
    }

    fn pod(stdin: bool, namespace: bool) -> Where {
        Where::Pod { stdin, namespace }
    }

    #[test]
    fn what_works_on_redis_runs_in_the_pod_and_the_rest_here() {
        let cases: [(&[&str], Where); 25] = [
            (&["get"], pod(false, true)),
            (&["get", "-A"], pod(false, false)),
            (&["get", "billing"], pod(false, true)),
            (&["get", "shop/billing"], pod(false, false)),
            (&["get", "-n", "shop"], pod(false, false)),
            (&["get", "--redis", "redis://127.0.0.1"], Where::Here),
            (&["get", "--data-dir", "/tmp"], Where::Here),
            (&["describe", "billing"], pod(false, true)),
            (&["describe", "billing", "-n", "shop"], pod(false, false)),
            (&["check"], pod(false, false)),
            (&["top"], pod(false, false)),
            (&["tail"], pod(false, false)),
            (&["tail", "--for", "billing"], pod(false, true)),
            (&["tail", "--for", "billing", "-n", "shop"], pod(false, false)),
            (&["retry", "billing"], pod(false, true)),
            (&["skip", "shop/billing", "--sequence", "1-0"], pod(false, false)),
            (&["dead", "list", "billing"], pod(false, true)),
            (&["dead", "purge", "shop/billing"], pod(false, false)),
            (&["dead", "export", "shop/billing"], pod(false, false)),
            (&["send", "--type", "t", "--data", "x"], pod(false, false)),
            (&["send", "--type", "t", "--data-file", "-"], pod(true, false)),
            (&["send", "-f", "-"], pod(true, false)),
            (&["validate", "x.yaml"], Where::Here),
            (&["dry-run", "-f", "x.yaml", "-e", "-"], Where::Here),
            (&["completions", "bash"], Where::Here),
        ];
        for (args, expected) in cases {
            assert_eq!(runs(args), expected, "{args:?}");
        }
        for args in [&["send", "-f", "x"][..], &["send", "--type", "t", "--data-file", "x"], &["dead", "export", "a", "-o", "x"]] {
            assert!(matches!(runs(args), Where::Refused(why) if why.contains("kubectl posthorn")), "{args:?}");
        }
    }

    #[test]
    fn flags_of_kubectl_are_taken_out_wherever_they_stand() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["--context", "a", "get", "-n", "shop"], &["get", "-n", "shop"]),
            (&["get", "--context=a", "-A", "--kubeconfig", "/k"], &["get", "-A"]),
            (&["get", "--", "--context"], &["get", "--", "--context"]),
            (&["send", "--type", "--contexts"], &["send", "--type", "--contexts"]),
        ];
        for (args, expected) in cases {
            assert_eq!(forwarded(&os(args)), os(expected), "{args:?}");
        }
    }

    #[test]
    fn the_namespace_stands_before_what_is_no_flag() {
        for (args, expected) in
            [(&["get"][..], &["get", "--namespace=shop"][..]), (&["get", "--", "billing"], &["get", "--namespace=shop", "--", "billing"])]
        {
            let mut args = os(args);
            within(&mut args, "shop");
            assert_eq!(args, os(expected));
        }
    }

    #[test]
    fn standard_input_goes_along_if_it_is_read_and_a_terminal_if_there_is_one() {
        let line = |stdin, terminal| exec("release", stdin, terminal, &os(&["check"]));
        let rest = ["-n", "release", "deploy/posthorn-operator", "--", "posthorn", "check"];
        assert_eq!(line(false, false), os(&[&["exec"], &rest[..]].concat()));
        assert_eq!(line(true, false), os(&[&["exec", "-i"], &rest[..]].concat()));
        assert_eq!(line(false, true), os(&[&["exec", "-i", "-t"], &rest[..]].concat()));
    }

    #[test]
    fn help_is_that_of_the_plugin() {
        let help = |args: &[&str]| tree().try_get_matches_from([&["kubectl-posthorn"], args].concat()).unwrap_err().to_string();
        assert!(help(&["--help"]).contains("Usage: kubectl posthorn [OPTIONS] <COMMAND>"), "{}", help(&["--help"]));
        let get = help(&["get", "--help"]);
        assert!(get.contains("Usage: kubectl posthorn get") && get.contains("\n  kubectl posthorn get -A -w"), "{get}");
        assert!(get.contains("--context") && !get.contains("\n  posthorn"), "{get}");
        tree().debug_assert();
    }
}
