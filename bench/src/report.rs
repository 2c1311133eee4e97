//! What is printed at the end: tables of text, aims met or missed, and what was not measured.

use std::fmt;
use std::time::Duration;

use crate::times::Times;

/// A table with a heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// No rows yet.
    #[must_use]
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Adds a row; cells that are missing at its end stay empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a sentence below the table.
    pub fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let cells = cells
                .chain(self.columns.get(at))
                .map(|cell| cell.chars().count());
            cells.max().unwrap_or(0)
        };
        (0..self.columns.len()).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let widths = self.widths();
        let mut line = |cells: &[String]| {
            let padded = widths.iter().enumerate().map(|(at, width)| {
                let cell = cells.get(at).map_or("", String::as_str);
                if is_figure(cell) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            let text = padded.collect::<Vec<_>>().join("  ");
            writeln!(f, "  {}", text.trim_end())
        };
        line(&self.columns)?;
        line(
            &widths
                .iter()
                .map(|width| "-".repeat(*width))
                .collect::<Vec<_>>(),
        )?;
        self.rows.iter().try_for_each(|row| line(row))?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// Figures stand to the right.
fn is_figure(cell: &str) -> bool {
    cell.starts_with(|c: char| c.is_ascii_digit())
}

/// Something to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// What is looked at.
    pub what: String,
    /// What it should be.
    pub limit: String,
    /// What it is.
    pub measured: String,
    /// Whether that will do.
    pub is_met: bool,
}

/// All of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What it was measured on: names and values.
    pub facts: Vec<(String, String)>,
    /// The figures.
    pub tables: Vec<Table>,
    /// What they should be.
    pub aims: Vec<Aim>,
    /// What they do not say.
    pub limits: Vec<String>,
}

impl Report {
    /// Whether every aim that was looked at is met.
    #[must_use]
    pub fn meets_all_aims(&self) -> bool {
        self.aims.iter().all(|aim| aim.is_met)
    }

    fn aims(&self) -> Table {
        let mut table = Table::new("Aims", &["met", "what", "aim", "measured"]);
        for aim in &self.aims {
            let met = if aim.is_met { "yes" } else { "NO" };
            table.row(vec![
                met.to_owned(),
                aim.what.clone(),
                aim.limit.clone(),
                aim.measured.clone(),
            ]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .facts
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        for (name, value) in &self.facts {
            writeln!(f, "{name:<width$}  {value}")?;
        }
        for table in &self.tables {
            write!(f, "\n{table}")?;
        }
        if !self.aims.is_empty() {
            write!(f, "\n{}", self.aims())?;
        }
        writeln!(f, "\nNot measured")?;
        self.limits
            .iter()
            .try_for_each(|limit| writeln!(f, "  - {limit}"))
    }
}

/// Three digits and a unit.
#[must_use]
pub fn time_cell(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        m if m < 999.5 => format!("{} us", three_digits(m)),
        m if m < 999_500.0 => format!("{} ms", three_digits(m / 1e3)),
        m => format!("{} s", three_digits(m / 1e6)),
    }
}

/// Count, median, 99th percentile, maximum.
#[must_use]
pub fn percent_cells(times: &Times) -> [String; 4] {
    [
        times.count().to_string(),
        time_cell(times.p50()),
        time_cell(times.p99()),
        time_cell(times.max()),
    ]
}

/// So many per second.
#[must_use]
pub fn rate_cell(count: usize, time: Duration) -> String {
    if time.is_zero() {
        return "-".to_owned();
    }
    three_digits(f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64())
}

/// A factor, if there is one.
#[must_use]
pub fn ratio_cell(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        let cases = [
            (0, "0.00 us"),
            (812, "812 us"),
            (999_600, "1.00 s"),
            (1_234, "1.23 ms"),
            (45_600, "45.6 ms"),
            (61_000_000, "61.0 s"),
        ];
        for (micros, text) in cases {
            assert_eq!(time_cell(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn a_rate_of_no_time_is_no_figure() {
        assert_eq!(rate_cell(300, Duration::from_secs(2)), "150");
        assert_eq!(rate_cell(3, Duration::ZERO), "-");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_figures_stand_right() {
        let mut table = Table::new("T", &["name", "n"]);
        table.row(vec!["long name".to_owned(), "7".to_owned()]);
        table.row(vec!["x".to_owned(), "1234".to_owned()]);
        table.note("So it is.");
        let text = "T\n  name       n\n  ---------  ----\n  long name     7\n  x          1234\n  So it is.\n";
        assert_eq!(table.to_string(), text);
    }

    #[test]
    fn a_missed_aim_shows_in_the_report() {
        let aim = |is_met| Aim {
            what: "w".to_owned(),
            limit: "l".to_owned(),
            measured: "m".to_owned(),
            is_met,
        };
        let report = Report {
            aims: vec![aim(true), aim(false)],
            ..Report::default()
        };
        assert!(!report.meets_all_aims());
        assert!(
            report.to_string().contains("\n  NO   w     l    m\n"),
            "{report}"
        );
    }
}
