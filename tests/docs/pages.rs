//! The pages, and what stands in their blocks.

use regex::Regex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page: its path below the root, its text.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block: where it begins, what is said after the fence, its lines.
pub struct Block {
    pub place: String,
    pub language: String,
    pub text: String,
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn entries(folder: &Path) -> Vec<PathBuf> {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Every page of the root and below `docs/`.
pub fn pages() -> Vec<Page> {
    let files = entries(root()).into_iter().chain(files(&root().join("docs")));
    let mut pages: Vec<Page> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .map(|file| Page { path: file.strip_prefix(root()).unwrap().to_owned(), text: read(&file) })
        .collect();
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(pages.len() > 5);
    pages
}

impl Page {
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in (1..).zip(self.text.lines()) {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let place = format!("{}:{number}", self.path.display());
                    open = Some(Block { place, language: language.to_owned(), text: String::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.path.display());
        blocks
    }

    /// The text between the blocks, with a line for each line of the page.
    pub fn prose(&self) -> String {
        let mut inside = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            prose.extend([if inside || fence { "" } else { line }, "\n"]);
        }
        prose
    }

    /// What stands between backticks, on one line or over two.
    pub fn code(&self) -> Vec<String> {
        let code = Regex::new(r"`([^`]+)`").unwrap();
        code.captures_iter(&self.prose()).map(|found| found[1].replace('\n', " ")).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let headings = self
            .prose()
            .lines()
            .filter_map(|line| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim().to_owned()))
            .collect::<Vec<_>>();
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        headings.iter().map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
    }
}

/// The words of the first command of a shell line: up to a comment, pipe, redirection or the like, without quotes.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('|' | ';' | '&' | '>' | '<', None) => break,
            ('#', None) if word.is_none() => break,
            (' ', None) => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The lines that are typed: all of a script, those behind a prompt of a session; continued lines are joined.
pub fn typed(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let typed = |line: &str| match block.language.as_str() {
        "sh" => Some(line.trim().to_owned()),
        "console" => line.strip_prefix("$ ").map(str::to_owned),
        _ => None,
    };
    joined.lines().filter_map(typed).collect()
}

/// What a script gives to a command by `<<EOF`.
pub fn documents(block: &Block) -> Vec<String> {
    let document = Regex::new(r"(?s)<<'?EOF'?[^\n]*\n(.*?)\n\s*EOF\n").unwrap();
    document.captures_iter(&block.text).filter(|_| block.language == "sh").map(|found| found[1].to_owned()).collect()
}
