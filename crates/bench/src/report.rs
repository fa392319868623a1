//! What a benchmark found: one JSON line per figure, and its own table in the document, which replaces the one before.
//!
//! A figure that was measured in several rounds is told by its median, with the lowest and the highest; a ratio is made of
//! the two figures of each round, so that what slowed one round down slowed both.

use anyhow::Context;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The figures of one benchmark, with what they depend on.
pub(crate) struct Report {
    name: String,
    title: String,
    settings: String,
    date: String,
    machine: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// One figure, by its rounds.
struct Figure {
    name: String,
    values: Vec<f64>,
    /// What it should be, in words; empty where there is no goal.
    goal: String,
}

impl Report {
    pub(crate) fn new(name: &str, title: &str, settings: &str) -> Self {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let date = now.split('T').next().unwrap_or_default().to_owned();
        let (name, title, settings) = (name.to_owned(), title.to_owned(), settings.to_owned());
        Self { name, title, settings, date, machine: String::new(), figures: Vec::new(), notes: Vec::new() }
    }

    /// Adds a figure, or another round of it.
    pub(crate) fn add(&mut self, figure: &str, value: f64) {
        match self.figures.iter_mut().find(|known| known.name == figure) {
            Some(known) => known.values.push(value),
            None => self.figures.push(Figure { name: figure.to_owned(), values: vec![value], goal: String::new() }),
        }
    }

    /// Adds, for each round, how much larger one figure is than another.
    pub(crate) fn add_ratio(&mut self, name: &str, figure: &str, to: &str, goal: &str) {
        let ratios = self.values(figure).iter().zip(self.values(to)).map(|(over, under)| hundredths(over / under));
        self.figures.push(Figure { name: name.to_owned(), values: ratios.collect(), goal: goal.to_owned() });
    }

    /// Says what a figure should be.
    pub(crate) fn set_goal(&mut self, figure: &str, goal: &str) {
        if let Some(known) = self.figures.iter_mut().find(|known| known.name == figure) {
            goal.clone_into(&mut known.goal);
        }
    }

    /// What each round found; nothing for a figure that was not measured.
    pub(crate) fn values(&self, figure: &str) -> &[f64] {
        self.figures.iter().find(|known| known.name == figure).map_or(&[], |known| &known.values)
    }

    /// A sentence under the table.
    pub(crate) fn note(&mut self, sentence: &str) {
        self.notes.push(sentence.to_owned());
    }

    /// Prints the figures, and puts the table into the document where there is one.
    pub(crate) fn publish(mut self, document: Option<&Path>) -> anyhow::Result<()> {
        self.machine = machine();
        self.print();
        document.map_or(Ok(()), |document| self.write_into(document))
    }

    /// One line of JSON per figure, on stdout.
    fn print(&self) {
        for figure in &self.figures {
            let (lowest, highest) = figure.range();
            let mut line = serde_json::json!({
                "benchmark": self.name, "figure": figure.name, "value": figure.median(),
                "date": self.date, "machine": self.machine, "settings": self.settings,
            });
            if figure.values.len() > 1 {
                line["lowest"] = lowest.into();
                line["highest"] = highest.into();
                line["rounds"] = figure.values.len().into();
            }
            if !figure.goal.is_empty() {
                line["goal"] = figure.goal.as_str().into();
            }
            println!("{line}");
        }
    }

    /// Puts the table in the place of the one that the document has of this benchmark, or at its end.
    fn write_into(&self, document: &Path) -> anyhow::Result<()> {
        let text = match std::fs::read_to_string(document) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.with_context(|| format!("{} cannot be read, so it is left alone", document.display()))?,
        };
        std::fs::write(document, self.placed_in(&text))
            .with_context(|| format!("{} cannot be written: make its folder, or name another", document.display()))
    }

    fn placed_in(&self, text: &str) -> String {
        let (begin, end) = (format!("<!-- begin {} -->\n", self.name), format!("<!-- end {} -->\n", self.name));
        let table = format!("{begin}{}{end}", self.table());
        match (text.find(&begin), text.find(&end)) {
            (Some(from), Some(to)) if from < to => format!("{}{table}{}", &text[..from], &text[to + end.len()..]),
            _ if text.is_empty() => table,
            _ => format!("{}\n\n{table}", text.trim_end()),
        }
    }

    fn table(&self) -> String {
        let mut table = format!("## {}\n\n", self.title);
        let (date, machine, settings) = (&self.date, &self.machine, &self.settings);
        let _ = writeln!(table, "{date}; {machine}; settings: {settings}.\n");
        if self.figures.iter().any(|figure| figure.values.len() > 1 || !figure.goal.is_empty()) {
            let _ = writeln!(table, "| figure | median | lowest | highest | goal |\n|---|---:|---:|---:|---|");
            for figure in &self.figures {
                let (lowest, highest) = figure.range();
                let (name, median, goal) = (&figure.name, figure.median(), &figure.goal);
                let _ = writeln!(table, "| {name} | {median} | {lowest} | {highest} | {goal} |");
            }
        } else {
            let _ = writeln!(table, "| figure | value |\n|---|---:|");
            for figure in &self.figures {
                let _ = writeln!(table, "| {} | {} |", figure.name, figure.median());
            }
        }
        for note in &self.notes {
            let _ = writeln!(table, "\n{note}");
        }
        table
    }
}

impl Figure {
    /// The middle one of what was measured; of two, the lower.
    fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    fn range(&self) -> (f64, f64) {
        let lowest = self.values.iter().copied().min_by(f64::total_cmp).unwrap_or_default();
        let highest = self.values.iter().copied().max_by(f64::total_cmp).unwrap_or_default();
        (lowest, highest)
    }
}

/// Milliseconds with one decimal.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Milliseconds with two decimals, for what takes few of them.
pub(crate) fn fine_milliseconds(duration: Duration) -> f64 {
    hundredths(duration.as_secs_f64() * 1_000.0)
}

/// A number with two decimals.
pub(crate) fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// What the figures were measured on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} cores, {} {}, load {load} at the end", std::env::consts::OS, kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_before_and_leaves_the_rest_of_the_document() {
        let mut report = Report::new("failover", "Failover", "defaults");
        report.add("gap, ms", 400.0);
        let first = report.placed_in("# Benchmarks\n\nRead this.\n");
        let document = format!("{first}\nThe end.\n");
        let mut report = Report::new("failover", "Failover", "defaults");
        report.add("gap, ms", 300.5);
        let second = report.placed_in(&document);
        assert!(second.starts_with("# Benchmarks\n\nRead this.\n\n<!-- begin failover -->\n## Failover\n"), "{second}");
        assert!(second.contains("| gap, ms | 300.5 |") && !second.contains("400"), "{second}");
        assert!(second.ends_with("<!-- end failover -->\n\nThe end.\n"), "{second}");
    }

    #[test]
    fn rounds_are_told_by_their_median_and_a_ratio_by_the_ratios_of_each_round() {
        let mut report = Report::new("write", "Writes", "defaults");
        for (ours, theirs) in [(100.0, 50.0), (90.0, 30.0), (400.0, 100.0)] {
            report.add("ours", ours);
            report.add("theirs", theirs);
        }
        report.add_ratio("ours to theirs", "ours", "theirs", "at least 3");
        report.note("Told below.");
        let table = report.table();
        assert!(table.contains("| figure | median | lowest | highest | goal |"), "{table}");
        assert!(table.contains("| ours | 100 | 90 | 400 |  |"), "{table}");
        assert!(table.contains("| ours to theirs | 3 | 2 | 4 | at least 3 |"), "{table}");
        assert!(table.ends_with("\n\nTold below.\n"), "{table}");
    }

    #[test]
    fn of_two_rounds_the_lower_is_the_median_and_nothing_measured_is_nothing() {
        let figure = |values: &[f64]| Figure { name: String::new(), values: values.to_vec(), goal: String::new() };
        assert_eq!((figure(&[4.0, 3.0]).median(), figure(&[4.0, 3.0]).range()), (3.0, (3.0, 4.0)));
        assert_eq!((figure(&[]).median(), figure(&[]).range()), (0.0, (0.0, 0.0)));
    }
}
