//! The terminal: taken over while a table is shown, and given back as it was.

use crate::cli::output::harmless;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{IsTerminal as _, Read as _, Write as _};
use tokio::sync::mpsc;

/// The other screen, without a cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the upper left corner, and to the end of a line or of the screen.
const HOME: &str = "\u{1b}[H";
const CLEAR_LINE: &str = "\u{1b}[K\r\n";
const CLEAR_REST: &str = "\u{1b}[J";

/// A terminal that was taken over.
pub(super) struct Screen {
    before: Termios,
    keys: mpsc::Receiver<u8>,
}

impl Screen {
    /// Takes the terminal over; `None` where input or output is none.
    pub(super) fn open() -> Option<Screen> {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        if !stdin.is_terminal() || !stdout.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut modes = before.clone();
        // keys come at once and are not shown; Ctrl-C stays a signal
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &modes).ok()?;
        let screen = Screen { before, keys: keys() };
        write(ENTER);
        Some(screen)
    }

    /// Until q is pressed, or the terminal is gone.
    pub(super) async fn quit(&mut self) {
        while let Some(key) = self.keys.recv().await {
            if matches!(key, b'q' | b'Q') {
                return;
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
        // the terminal may be gone
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A thread of its own: it waits for ever, and must not hold up the end of the process.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin();
        let mut key = [0];
        while stdin.read_exact(&mut key).is_ok() && sender.blocking_send(key[0]).is_ok() {}
    });
    keys
}

fn write(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What replaces the screen: as many lines of the text, and as much of each, as fit now.
pub(super) fn frame(text: &str) -> String {
    let (columns, rows) = tcgetwinsize(std::io::stdout()).map_or((80, 24), |size| (size.ws_col, size.ws_row));
    fit(text, usize::from(columns), usize::from(rows))
}

fn fit(text: &str, columns: usize, rows: usize) -> String {
    let fits = |number: usize| if number == 0 { usize::MAX } else { number };
    let lines = text.lines().take(fits(rows).saturating_sub(1));
    let lines = lines.map(|line| harmless(line).chars().take(fits(columns)).collect::<String>() + CLEAR_LINE);
    format!("{HOME}{}{CLEAR_REST}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_into_the_terminal() {
        let shown = fit("abcdef\nb\u{1b}\nc\nd\n", 3, 4);
        assert_eq!(shown, "\u{1b}[Habc\u{1b}[K\r\nb\u{fffd}\u{1b}[K\r\nc\u{1b}[K\r\n\u{1b}[J");
        // a terminal that does not know its size
        assert!(fit("abcdef\n", 0, 0).contains("abcdef"));
    }
}
