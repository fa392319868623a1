//! What commands write: data to stdout in the format that was asked for, all else to stderr.

mod explanation;
mod jobs;
mod json;
mod rows;
mod table;
mod tasks;

pub(crate) use explanation::explanation;
pub(crate) use jobs::{event, job, job_state, jobs, plan};
pub(crate) use json::Named;
pub(crate) use rows::{cluster_time, ids, leader, nodes, segment, segments, worker, workers};
pub(crate) use table::{fields, grid};
pub(crate) use tasks::{task, tasks};

use clap::ValueEnum;
use comfy_table::Table;
use std::io::{ErrorKind, IsTerminal, Write};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// The answer as one JSON document, with the names of the API.
    Json,
    /// One JSON object a line: each item of a list, each update of a watch.
    Jsonl,
}

/// Writes data to stdout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    styled: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, styled: std::io::stdout().is_terminal() && colours_are_welcome() }
    }

    /// Scripts read what is written.
    pub(crate) fn is_json(self) -> bool {
        self.format != Format::Table
    }

    /// Writes one answer.
    pub(crate) fn answer<M: Named>(self, message: &M, table: impl FnOnce(&M) -> Table) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.table(table(message)),
            Format::Json => print(&format!("{:#}\n", json::of(message)?)),
            Format::Jsonl => self.line(message),
        }
    }

    /// Writes an answer that is a list: its items, where lines are asked for.
    pub(crate) fn list<M: Named, I: Named>(
        self,
        message: &M,
        items: impl FnOnce(&M) -> &[I],
        table: impl FnOnce(&[I]) -> Table,
    ) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.table(table(items(message))),
            Format::Json => print(&format!("{:#}\n", json::of(message)?)),
            Format::Jsonl => items(message).iter().try_for_each(|item| self.line(item)),
        }
    }

    /// Writes what has no message of the API: a table, or what serde makes of it.
    pub(crate) fn value<V: serde::Serialize>(self, value: &V, table: impl FnOnce(&V) -> Table) -> anyhow::Result<()> {
        match self.format {
            Format::Table => self.table(table(value)),
            Format::Json => print(&format!("{:#}\n", serde_json::to_value(value)?)),
            Format::Jsonl => print(&format!("{}\n", serde_json::to_value(value)?)),
        }
    }

    /// Writes one object on a line of its own.
    pub(crate) fn line<M: Named>(self, message: &M) -> anyhow::Result<()> {
        print(&format!("{}\n", json::of(message)?))
    }

    fn table(self, mut table: Table) -> anyhow::Result<()> {
        if self.styled {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        print(&format!("{}\n", table.trim_fmt()))
    }
}

/// Writes to stdout; a reader that has had enough, like `head`, is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Tells the user something that is no data. Nobody is left to be told when stderr is gone.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Stderr is a terminal whose user has not refused colours.
pub(crate) fn stderr_is_styled() -> bool {
    std::io::stderr().is_terminal() && colours_are_welcome()
}

/// See no-color.org: any value but an empty one refuses colours.
fn colours_are_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
