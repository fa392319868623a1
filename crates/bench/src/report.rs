//! What a benchmark found: one JSON line per figure, and its own table in the document, which replaces the one before.

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
    figures: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn new(name: &str, title: &str, settings: &str) -> Self {
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let date = now.split('T').next().unwrap_or_default().to_owned();
        let (name, title, settings) = (name.to_owned(), title.to_owned(), settings.to_owned());
        Self { name, title, settings, date, machine: machine(), figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: &str, value: f64) {
        self.figures.push((figure.to_owned(), value));
    }

    /// One line of JSON per figure, on stdout.
    pub(crate) fn print(&self) {
        for (figure, value) in &self.figures {
            let line = serde_json::json!({
                "benchmark": self.name, "figure": figure, "value": value,
                "date": self.date, "machine": self.machine, "settings": self.settings,
            });
            println!("{line}");
        }
    }

    /// Puts the table in the place of the one that the document has of this benchmark, or at its end.
    pub(crate) fn write_into(&self, document: &Path) -> anyhow::Result<()> {
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
        let _ = writeln!(table, "{date}; {machine}; settings: {settings}.\n\n| figure | value |\n|---|---:|");
        for (figure, value) in &self.figures {
            let _ = writeln!(table, "| {figure} | {value} |");
        }
        table
    }
}

/// Milliseconds with one decimal.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
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
}
