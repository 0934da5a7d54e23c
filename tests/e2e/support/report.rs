//! The table at the end: a line for each test that passed, written as it passes.

use super::settings;
use serde_json::json;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// A line that is being made.
pub struct Line {
    scenario: String,
    begun: Instant,
    events: usize,
    repeats: usize,
    figures: Vec<(String, String)>,
}

impl Line {
    /// Begins to measure.
    pub fn begin(scenario: &str) -> Line {
        Line { scenario: scenario.to_owned(), begun: Instant::now(), events: 0, repeats: 0, figures: Vec::new() }
    }

    /// Adds events, and requests that repeated some.
    pub fn count(&mut self, events: usize, repeats: usize) {
        self.events += events;
        self.repeats += repeats;
    }

    /// Adds a time that was measured.
    pub fn time(&mut self, name: &str, time: Duration) {
        self.figure(name, &format!("{:.1}s", time.as_secs_f64()));
    }

    /// Adds anything else.
    pub fn figure(&mut self, name: &str, value: &str) {
        self.figures.push((name.to_owned(), value.to_owned()));
    }

    /// Writes it for the table and for programs.
    pub fn end(self) {
        let folder = settings::report();
        std::fs::create_dir_all(&folder).unwrap();
        let seconds = self.begun.elapsed().as_secs_f64();
        let figures: Vec<String> = self.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let row = format!("{:<26}  {:>6}  {:>7}  {seconds:>7.1}  {}", self.scenario, self.events, self.repeats, figures.join(", "));
        let figures: serde_json::Map<_, _> = self.figures.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let object = json!({"scenario": self.scenario, "events": self.events, "repeats": self.repeats, "seconds": (seconds * 10.0).round() / 10.0, "figures": figures});
        for (file, line) in [("table", row), ("lines.json", object.to_string())] {
            let mut file = std::fs::File::options().create(true).append(true).open(folder.join(file)).unwrap();
            writeln!(file, "{line}").unwrap();
        }
    }
}
