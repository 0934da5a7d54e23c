//! What the documentation shows is true: manifests are valid, command lines parse, links lead somewhere, names exist.
#![allow(clippy::unwrap_used)]

mod cluster;
mod pages;

use crate::pages::{Page, documents, entries, files, pages, read, root, typed, words};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use posthorn::api::KIND;
use posthorn::api::manifest::{self, Document};
use posthorn::api::not_yet::{self, Place};
use posthorn::api::objects::Objects;
use posthorn::cli::Cli;
use posthorn::settings::Settings;
use posthorn::worker::halt::HaltReason;
use regex::Regex;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What is wrong with a manifest; nothing for a kind that is not ours.
fn wrong(document: &Document, place: Option<Place>) -> Vec<String> {
    if document.kind != KIND {
        return Objects::default().insert(document).err().into_iter().flatten().map(|problem| problem.to_string()).collect();
    }
    match document.destination() {
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
        Ok(_) => {
            let found = place.map(|place| not_yet::find(document.value(), place)).unwrap_or_default();
            found.into_iter().map(|found| document.problem(&found.path, found.sentence).to_string()).collect()
        }
    }
}

fn problems_of(name: &str, text: &str, place: Option<Place>) -> Vec<String> {
    let (documents, problems) = manifest::read(name, text);
    let bad = documents.iter().flat_map(|document| wrong(document, place));
    problems.iter().map(ToString::to_string).chain(bad).collect()
}

#[test]
fn every_yaml_block_can_be_used_as_it_stands() {
    let mut wrong = Vec::new();
    let mut manifests = 0;
    for block in pages().iter().flat_map(Page::blocks).filter(|block| block.language == "yaml") {
        if block.text.starts_with("buses:") {
            wrong.extend(Settings::parse(&block.text, Path::new("")).err().map(|error| format!("{}: {error}", block.place)));
        } else if block.text.starts_with("# values") {
            // tests/chart/values.rs gives them to the chart
        } else if block.text.starts_with("# --worker-template") {
            let read = serde_saphyr::from_str::<PodTemplateSpec>(&block.text);
            wrong.extend(read.err().map(|error| format!("{}: {error}", block.place)));
        } else {
            manifests += 1;
            let place = if block.place.contains("-cluster.md") { Place::Cluster } else { Place::Standalone };
            wrong.extend(problems_of(&block.place, &block.text, Some(place)));
        }
    }
    for block in pages().iter().flat_map(Page::blocks) {
        wrong.extend(documents(&block).iter().flat_map(|text| problems_of(&block.place, text, Some(Place::Cluster))));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(manifests > 3);
}

#[test]
fn every_manifest_is_valid() {
    let manifests = files(&root().join("manifests")).into_iter().filter(|path| manifest::is_manifest(path));
    let wrong: Vec<String> = manifests.flat_map(|path| problems_of(&path.display().to_string(), &read(&path), None)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// The words of each call of `posthorn` in a shell line, its own name first; variables before it are passed over, and the word SEQUENCE stands for
/// one. As a plugin of kubectl, as the command of a pod and in a container it takes the same.
fn calls(line: &str) -> Vec<Vec<String>> {
    let before = r"^|[|;&(] *|kubectl +| -- +|^docker run .* |compose exec (?:-T )?posthorn ";
    let start = Regex::new(&format!(r"(?:{before})((?:[A-Z_]+=\S+ +)*)(posthorn(?::\w+)?(?: |$))")).unwrap();
    let call = |line: &str| words(line).into_iter().map(|word| if word == "SEQUENCE" { "1-0".to_owned() } else { word }).collect();
    start.captures_iter(line).map(|found| call(&line[found.get(2).unwrap().start()..])).collect()
}

#[test]
fn every_command_line_parses() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for block in pages().iter().flat_map(Page::blocks) {
        for call in typed(&block).iter().flat_map(|line| calls(line)) {
            count += 1;
            match Cli::try_parse_from(&call) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {}
                Err(error) => wrong.push(format!("{}: {}: {error}", block.place, call.join(" "))),
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count > 20, "{count}");
}

#[test]
fn every_script_is_one_for_a_shell() {
    for block in pages().iter().flat_map(Page::blocks).filter(|block| block.language == "sh") {
        let read = Command::new("sh").args(["-n", "-c", &block.text]).output().unwrap();
        assert!(read.status.success(), "{}: {}", block.place, String::from_utf8_lossy(&read.stderr));
    }
}

#[test]
fn every_command_in_the_text_exists() {
    let mut wrong = Vec::new();
    for page in pages() {
        for call in page.code().iter().flat_map(|code| calls(code)) {
            // in the text a command may stand without what it needs
            let incomplete = [
                ErrorKind::MissingRequiredArgument,
                ErrorKind::MissingSubcommand,
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                ErrorKind::DisplayHelp,
                ErrorKind::DisplayVersion,
            ];
            if let Err(error) = Cli::try_parse_from(&call)
                && !incomplete.contains(&error.kind())
            {
                wrong.push(format!("{}: {}: {error}", page.path.display(), call.join(" ")));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn calls_are_found_in_shell_lines() {
    let found = |line: &str| calls(line).iter().map(|call| call.join("·")).collect::<Vec<_>>();
    assert_eq!(found("posthorn get -w   # for ever"), ["posthorn·get·-w"]);
    assert_eq!(found("POSTHORN_LISTEN=0.0.0.0:1 posthorn standalone d > log"), ["posthorn·standalone·d"]);
    assert_eq!(found("tail -f a | posthorn send --file - | posthorn get"), ["posthorn·send·--file·-", "posthorn·get"]);
    assert_eq!(found(r#"posthorn send --data '{"a": "b c"}' --id "x y""#), [r#"posthorn·send·--data·{"a": "b c"}·--id·x y"#]);
    assert_eq!(found("kubectl posthorn get -n shop > x"), ["posthorn·get·-n·shop"]);
    assert_eq!(found("docker compose exec -T posthorn posthorn get -w"), ["posthorn·get·-w"]);
    assert_eq!(found("docker run --rm -e POSTHORN_REDIS_URL posthorn:dev get"), ["posthorn:dev·get"]);
    assert_eq!(found("kubectl posthorn dead list a -n shop"), ["posthorn·dead·list·a·-n·shop"]);
    assert_eq!(found("kubectl create deployment a --image=b -- posthorn receiver"), ["posthorn·receiver"]);
    assert_eq!(found("helm install posthorn charts/posthorn -n posthorn-system"), Vec::<String>::new());
    assert_eq!(found("cat posthorn.yaml; echo posthorn-attempt"), Vec::<String>::new());
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let pages = pages();
    let mut dead = Vec::new();
    for page in &pages {
        for target in link.captures_iter(&page.prose()).map(|found| found[1].to_owned()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { root().join(&page.path) } else { root().join(&page.path).parent().unwrap().join(file) };
            let path = path.canonicalize().unwrap_or(path);
            let linked = pages.iter().find(|other| root().join(&other.path) == path);
            let has_anchor = anchor.is_empty() || linked.is_some_and(|linked| linked.anchors().contains(anchor));
            if !path.exists() || !has_anchor {
                dead.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn every_named_file_target_and_variable_is_there() {
    let makefile = read(&root().join("Makefile"));
    let sources = sources();
    let variable = Regex::new(r"POSTHORN_[A-Z_]*[A-Z]").unwrap();
    let mut missing = Vec::new();
    for page in pages().iter().filter(|page| page.path != Path::new("CHANGELOG.md")) {
        for code in page.code() {
            let is_path = ["src/", "tests/", "hack/", "docs/", "manifests/", "crds/"].iter().any(|folder| code.starts_with(folder));
            let path = root().join(&code);
            let there = match code.strip_prefix("make ") {
                Some(target) => makefile.contains(&format!("\n{target}:")),
                None => !is_path || code.contains([' ', '*']) || path.exists() || path.with_extension("rs").exists(),
            };
            if !there {
                missing.push(format!("{}: {code}", page.path.display()));
            }
        }
        let unread = variable
            .find_iter(&page.text)
            .map(|found| found.as_str())
            .filter(|name| !sources.contains(&format!("\"{name}\"")) && !sources.contains(&format!("${{{name}")));
        missing.extend(unread.map(|name| format!("{}: {name}", page.path.display())));
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// The text of everything in which a variable of the environment may be read.
fn sources() -> String {
    let files = ["src", "hack", "tests"].iter().flat_map(|folder| files(&root().join(folder)));
    files.chain([root().join("compose.yaml")]).map(|path| String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()).collect()
}

#[test]
fn every_file_that_is_named_in_a_command_is_there() {
    let folders: BTreeSet<String> = entries(root())
        .into_iter()
        .filter(|path| path.is_dir() && !path.ends_with("target"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut missing = Vec::new();
    for block in pages().iter().flat_map(Page::blocks) {
        for line in typed(&block) {
            let paths = line.split_whitespace().filter(|word| word.split_once('/').is_some_and(|(first, _)| folders.contains(first)));
            let gone = paths.filter(|path| !root().join(path).exists()).map(|path| format!("{}: {path}", block.place));
            missing.extend(gone);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_receivers_of_the_guide_are_the_files_that_are_tested() {
    let page = Page { path: "docs/receivers.md".into(), text: read(&root().join("docs/receivers.md")) };
    let blocks = page.blocks();
    for (language, file) in [("python", "receiver.py"), ("javascript", "receiver.mjs"), ("go", "receiver.go")] {
        let shown: Vec<&str> = blocks.iter().filter(|block| block.language == language).map(|block| block.text.as_str()).collect();
        assert_eq!(shown, [read(&root().join("docs/receivers").join(file))], "docs/receivers.md shows another docs/receivers/{file}");
    }
}

#[test]
fn every_row_of_the_failure_semantics_names_its_tests() {
    let text = read(&root().join("docs/failure-semantics.md"));
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---") && !line.ends_with("| shown by |"));
    let shown = |row: &str| row.rsplit('|').nth(1).is_some_and(|cell| cell.contains("`tests/") || cell.contains("`src/"));
    let unshown: Vec<&str> = rows.filter(|row| !shown(row)).collect();
    assert_eq!(unshown, Vec::<&str>::new());
    assert!(text.lines().filter(|line| shown(line)).count() > 40);
}

#[test]
fn the_summary_names_every_page_once() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut named: Vec<String> = link.captures_iter(&summary).map(|found| found[1].to_owned()).collect();
    let mut there: Vec<String> = entries(&root().join("docs"))
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "SUMMARY.md")
        .collect();
    named.sort();
    there.sort();
    assert_eq!(named, there);
}

#[test]
fn operations_say_what_to_do_about_every_status_word_and_halt() {
    let operations = read(&root().join("docs/operations.md"));
    let delivery = read(&root().join("docs/delivery.md"));
    let (_, words) = delivery.split_once("## Status words").unwrap();
    let row = Regex::new(r"(?m)^\| `(\w+)` \| (?:True|False|Unknown) \|").unwrap();
    let words = row.captures_iter(words).map(|found| found[1].to_owned());
    let halts = HaltReason::ALL.iter().map(|reason| reason.as_str().to_owned());
    let unnamed: Vec<String> = words.chain(halts).filter(|word| !operations.contains(&format!("\n| `{word}`"))).collect();
    assert_eq!(unnamed, Vec::<String>::new());
}

#[test]
fn every_command_has_a_chapter_and_the_tables_name_every_flag() {
    let cli = Cli::command();
    let page = |name: &str| Page { path: name.into(), text: read(&root().join(name)) };
    let chapters = page("docs/commands.md").anchors();
    let missing: Vec<&str> = cli.get_subcommands().map(|command| command.get_name()).filter(|name| !chapters.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "docs/commands.md");
    for (command, file) in [("standalone", "docs/standalone.md"), ("ingest", "docs/ingest.md")] {
        let text = page(file).text;
        let command = cli.find_subcommand(command).unwrap();
        let flags = command.get_arguments().chain(cli.get_arguments()).filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version"));
        let names = flags.flat_map(|flag| {
            let name = flag.get_long().map(|long| format!("--{long}"));
            name.into_iter().chain(flag.get_env().map(|env| env.to_string_lossy().into_owned()))
        });
        let unnamed: Vec<String> = names.filter(|name| !text.contains(&format!("`{name}"))).collect();
        assert_eq!(unnamed, Vec::<String>::new(), "{file}");
    }
}
