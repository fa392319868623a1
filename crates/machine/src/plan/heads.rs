//! Where the queues begin. A store passes over what was deleted one by one, so that a scan from the first possible key
//! would cost as much as was ever leased; whoever plans again and again keeps the heads from one plan to the next.
//!
//! Invariant: nothing is put before a head. Tasks are queued at the cluster's time or later, jobs join the dispatch order
//! at the cluster's pass or later and only move back in it, and time and pass of a cluster never go back.

use crate::id::{JobId, TaskId};
use crate::key::Key;
use crate::read;
use crate::row::Cluster;
use crate::tables::Read;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Queues whose heads are kept; beyond that all are forgotten, which costs one longer scan of each.
const QUEUES_MAX: usize = 4_096;

/// Where the queues began when they were last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    pass: u64,
    queues: BTreeMap<JobId, Time>,
}

impl Heads {
    /// Jobs with queued tasks, by their pass.
    pub(super) fn dispatch_order(
        &mut self,
        read: &dyn Read,
        cluster: &Cluster,
        jobs_max: usize,
    ) -> BTreeSet<(u64, JobId)> {
        let from = Bound::Included(Key::Dispatch(self.pass, JobId(i64::MIN)));
        let to = Key::Queue(JobId(i64::MIN), Time(0), TaskId(i64::MIN));
        let order: BTreeSet<(u64, JobId)> = read::keys(read, from, &to, jobs_max.max(1))
            .into_iter()
            .filter_map(|key| {
                let Key::Dispatch(pass, job) = key else { return None };
                Some((pass, job))
            })
            .collect();
        self.pass = order.first().map_or(cluster.pass, |(pass, _)| cluster.pass.min(*pass));
        order
    }

    /// The queue of a job, the earliest task first.
    pub(super) fn queue(
        &mut self,
        read: &dyn Read,
        cluster: &Cluster,
        job: JobId,
        tasks_max: usize,
    ) -> Vec<(Time, TaskId)> {
        let head = self.queues.get(&job).copied().unwrap_or(Time(0));
        let queue = read::queue(read, job, head, tasks_max.max(1));
        if self.queues.len() >= QUEUES_MAX {
            self.queues.clear();
        }
        self.queues.insert(job, queue.first().map_or(cluster.now, |(at, _)| cluster.now.min(*at)));
        queue
    }

    /// Whether a job has a task that could be leased now.
    pub(super) fn can_begin(&mut self, read: &dyn Read, cluster: &Cluster, job: JobId, now: Time) -> bool {
        self.queue(read, cluster, job, 1).first().is_some_and(|(at, _)| *at <= now)
    }
}
