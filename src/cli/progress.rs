//! A bar for work that takes long.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Work that takes longer shows a bar.
const LONG: Duration = Duration::from_secs(1);

/// A bar on a terminal, once the work takes long.
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

impl Progress {
    /// `size`: of the whole work, where it is known.
    pub fn new(size: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::hidden());
        let template = match size {
            Some(_) => "{wide_bar} {percent}% {msg} ETA {eta}",
            None => "{spinner} {msg}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a constant template"));
        Progress { bar, begun: Instant::now() }
    }

    /// A further part of the work is done; `events` in all.
    pub fn advance(&self, by: u64, events: u64) {
        if self.bar.is_hidden() && self.begun.elapsed() > LONG {
            // draws nothing where it is no terminal
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        let rate = events as f64 / self.begun.elapsed().as_secs_f64();
        self.bar.set_message(format!("{events} events, {rate:.0}/s"));
        self.bar.inc(by);
    }

    /// Prints above the bar.
    pub fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
