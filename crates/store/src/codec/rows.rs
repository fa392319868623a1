//! Rows as bytes: each kind in a file of its own, which says where it lies, what it is, and how long it stays.

mod attempt;
mod cluster;
mod event;
mod index;
mod job;
mod mappings;
mod request;
mod targets;
mod task;
mod worker;
mod worker_name;

use super::CodecError;
use ferry_machine::key::Key;
use ferry_machine::row::Row;

/// The bytes of a row; it is consumed, so its texts are moved and not copied.
pub fn encode(row: Row) -> Vec<u8> {
    match row {
        Row::Cluster(cluster) => cluster::encode(&cluster),
        Row::Job(job) => job::encode(*job),
        Row::Task(task) => task::encode(*task),
        Row::Targets(targets) => targets::encode(&targets),
        Row::Mappings(mappings) => mappings::encode(&mappings),
        Row::Request(request) => request::encode(request),
        Row::Worker(worker) => worker::encode(*worker),
        Row::WorkerName(worker) => worker_name::encode(worker),
        Row::Index => index::encode(),
        Row::Event(event) => event::encode(*event),
    }
}

/// The row of some bytes; its kind follows from its key.
pub fn decode(key: &Key, bytes: &[u8]) -> Result<Row, CodecError> {
    Ok(match key {
        Key::Cluster => Row::Cluster(cluster::decode(bytes)?),
        Key::Job(_) => Row::Job(Box::new(job::decode(bytes)?)),
        Key::Task(_) => Row::Task(Box::new(task::decode(bytes)?)),
        Key::Targets(_) => Row::Targets(targets::decode(bytes)?),
        Key::JobTargets(..) => Row::Mappings(mappings::decode(bytes)?),
        Key::Request(_) => Row::Request(request::decode(bytes)?),
        Key::Worker(_) => Row::Worker(Box::new(worker::decode(bytes)?)),
        Key::WorkerName(_) => Row::WorkerName(worker_name::decode(bytes)?),
        Key::Stage(..)
        | Key::Due(..)
        | Key::Dispatch(..)
        | Key::Queue(..)
        | Key::Assignment(..)
        | Key::LostWorker(_) => {
            index::decode(bytes)?;
            Row::Index
        }
        Key::Event(_) => Row::Event(Box::new(event::decode(bytes)?)),
    })
}
