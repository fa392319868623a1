//! The cluster. Key: table 1 and nothing else. Value: `ClusterRow`. Lifecycle: made at bootstrap, written by every
//! command, never removed.

use super::super::shapes::{event_id_from_wire, event_id_to_wire, required};
use super::super::{CodecError, seal, unseal};
use ferry_machine::row::{Cluster, EventLog, JobCounts, TaskCounts};
use ferry_machine::time::Time;
use ferry_proto::internal::v1 as wire;

pub(super) fn encode(cluster: &Cluster) -> Vec<u8> {
    let Cluster { cluster_id, id_start, next_id, now, pass, jobs, tasks, workers, events } = *cluster;
    let JobCounts { draft, pending, executing, completed, failed, canceled } = jobs;
    let jobs = wire::JobCounts { draft, pending, executing, completed, failed, canceled };
    let TaskCounts { pending, in_progress, completed, failed } = tasks;
    let tasks = wire::TaskCounts { pending, in_progress, completed, failed };
    seal(&wire::ClusterRow {
        cluster_id,
        id_start,
        next_id,
        now_ms: now.0,
        pass,
        jobs: Some(jobs),
        tasks: Some(tasks),
        workers,
        events: Some(events_to_wire(events)),
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Cluster, CodecError> {
    let row: wire::ClusterRow = unseal("cluster's row", bytes)?;
    let jobs = required(row.jobs, "cluster's row", "count of jobs")?;
    let tasks = required(row.tasks, "cluster's row", "count of tasks")?;
    let events = required(row.events, "cluster's row", "events")?;
    Ok(Cluster {
        cluster_id: row.cluster_id,
        id_start: row.id_start,
        next_id: row.next_id,
        now: Time(row.now_ms),
        pass: row.pass,
        jobs: JobCounts {
            draft: jobs.draft,
            pending: jobs.pending,
            executing: jobs.executing,
            completed: jobs.completed,
            failed: jobs.failed,
            canceled: jobs.canceled,
        },
        tasks: TaskCounts {
            pending: tasks.pending,
            in_progress: tasks.in_progress,
            completed: tasks.completed,
            failed: tasks.failed,
        },
        workers: row.workers,
        events: events_from_wire(events)?,
    })
}

fn events_to_wire(events: EventLog) -> wire::EventLog {
    let EventLog { kept, first, last, delivered } = events;
    let id = |id| Some(event_id_to_wire(id));
    wire::EventLog { kept, first: id(first), last: id(last), delivered: id(delivered) }
}

fn events_from_wire(events: wire::EventLog) -> Result<EventLog, CodecError> {
    let id = |id, field| required(id, "cluster's row", field).map(event_id_from_wire);
    Ok(EventLog {
        kept: events.kept,
        first: id(events.first, "first event")?,
        last: id(events.last, "last event")?,
        delivered: id(events.delivered, "first event that was not delivered")?,
    })
}
