//! Tables and ages as kubectl prints them.

use super::output::harmless;

/// Spaces between two columns.
const PADDING: usize = 3;
/// Least width of a column, padding included.
const MIN_WIDTH: usize = 6;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

/// An aligned table that may grow: rows printed later keep at least the widths of the rows before.
#[derive(Debug)]
pub struct Table {
    headers: Vec<&'static str>,
    widths: Vec<usize>,
    begun: bool,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn new(headers: Vec<&'static str>) -> Table {
        Table { widths: vec![MIN_WIDTH; headers.len()], headers, begun: false }
    }

    /// More rows as text; the header before the first ones. Nothing for no rows.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if !self.begun {
            lines.push(self.headers.iter().copied().map(String::from).collect());
            self.begun = true;
        }
        lines.extend(rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect::<Vec<_>>()));
        for (column, width) in self.widths.iter_mut().enumerate() {
            let widest = lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count() + PADDING).max();
            *width = (*width).max(widest.unwrap_or_default());
        }
        lines.iter().map(|line| self.line(line)).collect()
    }

    /// Every cell but the last is padded.
    fn line(&self, cells: &[String]) -> String {
        let mut text = String::new();
        for (index, cell) in cells.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < cells.len() {
                let fill = self.widths[index].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', fill));
            }
        }
        text + "\n"
    }
}

/// How long ago, by two times in milliseconds since the epoch.
pub fn age(since_ms: u64, now_ms: u64) -> String {
    human(now_ms.saturating_sub(since_ms) / 1000)
}

/// A number of seconds with at most two units, the more of it the coarser: `45s`, `5m32s`, `3d4h`.
fn human(seconds: u64) -> String {
    let two = |unit: u64, name: &str, part: u64, part_name: &str| match seconds % unit / part {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{part_name}", seconds / unit),
    };
    let one = |unit: u64, name: &str| format!("{}{name}", seconds / unit);
    match seconds {
        _ if seconds < 2 * MINUTE => one(1, "s"),
        _ if seconds < 10 * MINUTE => two(MINUTE, "m", 1, "s"),
        _ if seconds < 3 * HOUR => one(MINUTE, "m"),
        _ if seconds < 8 * HOUR => two(HOUR, "h", MINUTE, "m"),
        _ if seconds < 2 * DAY => one(HOUR, "h"),
        _ if seconds < 8 * DAY => two(DAY, "d", HOUR, "h"),
        _ if seconds < 2 * YEAR => one(DAY, "d"),
        _ if seconds < 8 * YEAR => two(YEAR, "y", DAY, "d"),
        _ => one(YEAR, "y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().copied().map(String::from).collect()
    }

    #[test]
    fn columns_are_aligned_and_the_header_comes_once() {
        let mut table = Table::new(vec!["NAME", "READY", "N", "AGE"]);
        let first = table.rows(&[row(&["a-long-name", "True", "1", "5s"]), row(&["b", "", "20", "3d4h"])]);
        assert_eq!(
            first,
            "NAME          READY   N     AGE\n\
             a-long-name   True    1     5s\n\
             b                     20    3d4h\n"
        );
        assert_eq!(table.rows(&[]), "");
        assert_eq!(table.rows(&[row(&["c", "True", "3", "1s"])]), "c             True    3     1s\n");
        assert_eq!(table.rows(&[row(&["c", "Unknown", "3", "1s"])]), "c             Unknown   3     1s\n");
    }

    #[test]
    fn a_table_without_rows_has_no_header() {
        assert_eq!(Table::new(vec!["NAME"]).rows(&[]), "");
    }

    #[test]
    fn ages_are_those_of_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (332, "5m32s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 61, "3h1m"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (3 * YEAR + 5 * DAY, "3y5d"),
            (8 * YEAR + 5 * DAY, "8y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn what_lies_in_the_future_is_no_age() {
        assert_eq!(age(2000, 1000), "0s");
    }
}
