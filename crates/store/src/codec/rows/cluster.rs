//! The cluster. Key: table 1 and nothing else. Value: `ClusterRow`. Lifecycle: made at bootstrap, written by every
//! command, never removed.

use super::super::shapes::required;
use super::super::{CodecError, seal, unseal};
use ferry_machine::row::{Cluster, JobCounts, TaskCounts};
use ferry_machine::time::Time;
use ferry_proto::internal::v1 as wire;

pub(super) fn encode(cluster: &Cluster) -> Vec<u8> {
    let Cluster { cluster_id, id_start, next_id, now, pass, jobs, tasks, workers } = *cluster;
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
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Cluster, CodecError> {
    let row: wire::ClusterRow = unseal("cluster's row", bytes)?;
    let jobs = required(row.jobs, "cluster's row", "count of jobs")?;
    let tasks = required(row.tasks, "cluster's row", "count of tasks")?;
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
    })
}
