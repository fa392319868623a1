//! Indexes match rows exactly, both ways: nothing is missing and nothing is left over.

use super::{Findings, Rows, View, source_of};
use crate::derive;
use crate::key::Key;
use crate::row::Row;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let read = view.read;
    let sources = Rows::jobs(read).chain(Rows::tasks(read)).chain(Rows::requests(read)).chain(Rows::workers(read));
    for (key, row) in sources {
        for index in derived(&key, &row) {
            if read.get(&index) != Some(Row::Index) {
                findings.add(index, format!("is missing, and follows from {key:?}"));
            }
        }
    }
    for (index, row) in Rows::indexes(read) {
        let source = source_of(&index);
        let follows = source.as_ref().and_then(|source| Some(derived(source, &read.get(source)?).contains(&index)));
        findings.expect(row == Row::Index && follows == Some(true), &index, "follows from no row");
    }
}

/// The index entries that follow from a row.
fn derived(key: &Key, row: &Row) -> Vec<Key> {
    match row {
        Row::Job(job) => derive::job_indexes(job),
        Row::Task(task) => derive::task_indexes(task),
        Row::Worker(worker) => derive::worker_indexes(worker),
        Row::Request(request) => {
            let Key::Request(id) = key else { return Vec::new() };
            derive::request_indexes(id, request)
        }
        Row::Cluster(_) | Row::Targets(_) | Row::Mappings(_) | Row::WorkerName(_) | Row::Index | Row::Event(_) => {
            Vec::new()
        }
    }
}
