//! What commands print: JSON and YAML as kubectl prints them, and text that cannot steer the terminal.

use clap::ValueEnum;
use serde_json::Value;
use std::io::{self, Write as _};

/// Exit status of a process that wrote to a pipe nobody reads: what a shell reports for SIGPIPE.
const NOBODY_READS: i32 = 141;

/// How a list of objects is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// The table with more columns
    Wide,
    /// JSON, all fields
    Json,
    /// YAML, all fields
    Yaml,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    #[default]
    Text,
    /// JSON for programs
    Json,
}

/// How one object is printed for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectFormat {
    /// JSON, all fields
    Json,
    /// YAML, all fields
    Yaml,
}

impl ListFormat {
    /// The format of objects; `None` for a table.
    pub fn object(self) -> Option<ObjectFormat> {
        match self {
            ListFormat::Wide => None,
            ListFormat::Json => Some(ObjectFormat::Json),
            ListFormat::Yaml => Some(ObjectFormat::Yaml),
        }
    }
}

/// Prints an object as kubectl does: fields in alphabetical order, JSON indented by four spaces.
///
/// # Errors
/// If it cannot be written.
pub fn object(mut value: Value, format: ObjectFormat) -> io::Result<()> {
    value.sort_all_objects();
    print(&match format {
        ObjectFormat::Json => json(&value) + "\n",
        ObjectFormat::Yaml => yaml(&value),
    })
}

/// Prints text. Ends the process where nobody reads any more (`posthorn get -w | head`).
///
/// # Errors
/// If it cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(NOBODY_READS),
        written => written,
    }
}

fn json(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut text, formatter)).expect("a value is always JSON");
    String::from_utf8(text).expect("JSON is UTF-8")
}

fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).expect("JSON can be written as YAML")
}

/// Text from outside without control characters: it must not steer the terminal.
pub fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_by_four_spaces() {
        assert_eq!(json(&serde_json::json!({"a": [1]})), "{\n    \"a\": [\n        1\n    ]\n}");
    }

    #[test]
    fn yaml_is_read_back_as_it_was() {
        let value = serde_json::json!({"n": 1, "t": "2026-01-02T03:04:05Z", "s": "0001-02", "y": "yes", "e": "", "m": "a\nb: c\n", "l": [{"k": null}], "x": {}, "z": []});
        let read = crate::api::yaml::Yaml::read(&yaml(&value)).pop().expect("one document").expect("YAML");
        assert_eq!(read.value, value);
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
