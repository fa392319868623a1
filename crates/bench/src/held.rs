//! Held state: what a cluster takes that holds millions of segments of which nothing is due, and whether it is as quick as
//! an empty one.

use crate::cluster::Cluster;
use crate::distribution::Distribution;
use crate::load::drive;
use crate::milvus::SEGMENTS_PER_TASK;
use crate::report::{Report, fine_milliseconds, hundredths, milliseconds};
use crate::writer::IDS_PER_WRITE;
use crate::{Common, gauges, jobs, positive};
use anyhow::{Context, ensure};
use clap::Args;
use ferry_client::Options;
use ferry_proto::v1::{Consistency, GetJobRequest};
use std::path::Path;
use std::time::{Duration, Instant};

const NODES: u64 = 3;
/// How often a follower is killed and started again.
const RESTARTS: usize = 3;
/// How long each kind of call is made, before and while all is held.
const CALLS_LENGTH: Duration = Duration::from_secs(3);
/// Checks that are not measured: what was done before may still have woken one.
const CHECKS_WARM_UP: f64 = 2.0;
/// Checks that are measured; by the default interval they take ten seconds.
const CHECKS: f64 = 5.0;
const CHECKS_POLL: Duration = Duration::from_millis(250);
/// How long the checks may take to come.
const CHECKS_PATIENCE: Duration = Duration::from_secs(120);
/// Longest pause before a node that starts is asked again: what is measured is as exact as this.
const ASK_AGAIN: Duration = Duration::from_millis(20);

const RESTART: &str = "restarted follower: until it answers a linearizable read, ms";
const CHECK_TO_CHECK: &str = "an idle check, all held to nothing held";

/// How much is held.
#[derive(Debug, Args)]
pub(crate) struct Held {
    /// Paused jobs that are held at once.
    #[arg(long, value_name = "JOBS", default_value_t = 10, value_parser = positive)]
    held: usize,
    /// Segments of each of them.
    #[arg(long, value_name = "SEGMENTS", default_value_t = 1_000_000, value_parser = positive)]
    held_segments: usize,
}

/// When a cluster is looked at.
#[derive(Debug, Clone, Copy)]
enum Moment {
    Empty,
    Full,
}

impl Moment {
    fn words(self) -> &'static str {
        match self {
            Self::Empty => "nothing held",
            Self::Full => "all held",
        }
    }

    fn check_figure(self) -> String {
        format!("{}: an idle check, us", self.words())
    }
}

impl Held {
    pub(crate) async fn measure(&self, common: &Common, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut cluster = Cluster::start(NODES, &common.binary, &common.settings, folder).await?;
        add_checks(&cluster, Moment::Empty, report).await?;
        let small = jobs::submit(&jobs::make_snapshot(folder, 1)?, 1);
        let small = jobs::paused(&cluster.client()?, &small, 1).await?[0];
        add_calls(&cluster, small, Moment::Empty, report).await?;
        self.bring_in(&cluster, folder, report).await?;
        add_checks(&cluster, Moment::Full, report).await?;
        add_calls(&cluster, small, Moment::Full, report).await?;
        report.set_goal(&Moment::Full.check_figure(), "below 5,000 (P6)");
        report.add_ratio(CHECK_TO_CHECK, &Moment::Full.check_figure(), &Moment::Empty.check_figure(), "");
        add_nodes(&cluster, report).await?;
        let follower = cluster.followers().await?[0];
        for restart in 1..=RESTARTS {
            let took = self::restart(&mut cluster, follower, small).await?;
            report.add(RESTART, milliseconds(took));
            eprintln!("scale: restart {restart} of {RESTARTS}: node {follower} answers after {took:.2?}");
        }
        report.set_goal(RESTART, "below 3,000 (P6)");
        self.note(report);
        Ok(())
    }

    /// Submits the jobs, and waits until all their tasks exist.
    async fn bring_in(&self, cluster: &Cluster, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
        let request =
            jobs::submit(&jobs::make_snapshot(folder, self.held_segments)?, u32::try_from(SEGMENTS_PER_TASK)?);
        let client = cluster.client_with(Options::default().with_timeout(jobs::PATIENCE))?;
        let began = Instant::now();
        for number in 1..=self.held {
            let job_id = jobs::paused(&client, &request, 1).await?[0];
            let job = client.get_job(GetJobRequest { job_id, ..GetJobRequest::default() }).await?.message.job;
            let tasks = job.unwrap_or_default().tasks.unwrap_or_default().pending;
            ensure!(usize::try_from(tasks)? == self.tasks(), "job {job_id} has {tasks} tasks, not {}", self.tasks());
            eprintln!(
                "scale: {number} of {} jobs of {} segments held after {:.2?}",
                self.held,
                self.held_segments,
                began.elapsed()
            );
        }
        report.add("all held: brought in, s", hundredths(began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Tasks of one job: its copies and its publication.
    fn tasks(&self) -> usize {
        self.held_segments.div_ceil(SEGMENTS_PER_TASK) + 1
    }

    fn note(&self, report: &mut Report) {
        let (tasks, segments) = (self.held * self.tasks(), self.held * self.held_segments);
        report.note(&format!(
            "All held: {} paused jobs of {} segments each, together {tasks} tasks and {segments} segments, in a cluster of \
             their own; brought in by `SubmitJob` of a snapshot, one after the other, until their tasks exist. An idle check \
             is the mean of at least {CHECKS} checks of the leader, by its metrics. Calls are made by one client, one at a \
             time: `GetJob` of the same paused job of one segment at a follower, stale, and `AllocateIds` of {IDS_PER_WRITE} \
             ids at the leader, which goes through the log. Memory is what is resident, with all calls made; its peak \
             (`VmHWM`) and the longest apply are since the start of the nodes, with all that was brought in; the lowest and \
             the highest are of the two followers. Paused jobs stand in none of the indexes that a check reads, so this says \
             that what is held costs a check nothing, and nothing of jobs that wait for workers. A restart is kill -9 of a follower that holds all, then its start, until \
             it answers a linearizable read itself.",
            self.held, self.held_segments
        ));
    }
}

/// What every node takes, and how long it let the others wait; followers are told by the lower and the higher of them.
async fn add_nodes(cluster: &Cluster, report: &mut Report) -> anyhow::Result<()> {
    let (leader, _) = cluster.leader().await?;
    let followers = cluster.followers().await?;
    for (name, node) in [("leader", leader)].into_iter().chain(followers.into_iter().map(|id| ("follower", id))) {
        let memory = cluster.memory(node)?;
        let longest = cluster.metrics(node).await?.value("ferry_raft_apply_longest_seconds")?;
        for (what, value, goal) in [
            ("memory, MiB", memory.now_mebibytes.round(), "below 1,024 (P6)"),
            ("memory at most, MiB", memory.peak_mebibytes.round(), "below 1,024 (P6)"),
            ("data folder, MiB", gauges::disk_mebibytes(&cluster.data_folder(node))?.round(), ""),
            ("longest apply, ms", hundredths(longest * 1_000.0), "below 50 (P6)"),
        ] {
            let figure = format!("all held: {name}: {what}");
            report.add(&figure, value);
            report.set_goal(&figure, goal);
        }
    }
    Ok(())
}

/// What the leader has told of its checks so far.
#[derive(Debug, Clone, Copy)]
struct Checks {
    count: f64,
    seconds: f64,
}

impl Checks {
    async fn of(cluster: &Cluster, leader: u64) -> anyhow::Result<Self> {
        let metrics = cluster.metrics(leader).await?;
        let (count, seconds) = (metrics.value("ferry_checks_total")?, metrics.value("ferry_check_seconds_total")?);
        Ok(Self { count, seconds })
    }

    /// Waits for so many more checks.
    async fn another(self, count: f64, cluster: &Cluster, leader: u64) -> anyhow::Result<Self> {
        let began = Instant::now();
        loop {
            let now = Self::of(cluster, leader).await?;
            if now.count >= self.count + count {
                return Ok(now);
            }
            ensure!(
                began.elapsed() < CHECKS_PATIENCE,
                "the leader made {} checks within {CHECKS_PATIENCE:?}, not {count}: is leadership.check-interval longer?",
                now.count - self.count
            );
            tokio::time::sleep(CHECKS_POLL).await;
        }
    }

    /// The mean of the checks since then.
    fn mean_us_since(self, before: Self) -> f64 {
        (self.seconds - before.seconds) * 1e6 / (self.count - before.count)
    }
}

async fn add_checks(cluster: &Cluster, moment: Moment, report: &mut Report) -> anyhow::Result<()> {
    let (leader, _) = cluster.leader().await?;
    let from = Checks::of(cluster, leader).await?.another(CHECKS_WARM_UP, cluster, leader).await?;
    let us = from.another(CHECKS, cluster, leader).await?.mean_us_since(from);
    report.add(&moment.check_figure(), hundredths(us));
    eprintln!("scale: {}: an idle check takes {us:.1} us", moment.words());
    Ok(())
}

/// How long calls take on a cluster that does nothing else.
async fn add_calls(cluster: &Cluster, job_id: i64, moment: Moment, report: &mut Report) -> anyhow::Result<()> {
    let (leader, _) = cluster.leader().await?;
    let reader = cluster.client_of(cluster.followers().await?[0], Options::default())?;
    let writer = cluster.client_of(leader, Options::default())?;
    let read = drive(1, CALLS_LENGTH, |_| {
        let reader = reader.clone();
        move || {
            let reader = reader.clone();
            async move {
                reader.get_job(GetJobRequest { job_id, consistency: Consistency::Stale.into() }).await?;
                Ok(())
            }
        }
    });
    let read = read.await?.latencies;
    let written = drive(1, CALLS_LENGTH, |_| {
        let writer = writer.clone();
        move || {
            let writer = writer.clone();
            async move {
                writer.allocate_ids(IDS_PER_WRITE).await?;
                Ok(())
            }
        }
    });
    let written = written.await?.latencies;
    let mut add = |call: &str, seen: &Distribution| {
        report.add(&format!("{}: {call}: p50, ms", moment.words()), fine_milliseconds(seen.percentile(50)));
    };
    add("GetJob, stale", &read);
    add("AllocateIds", &written);
    Ok(())
}

/// From the start of a node that was killed until it answers as of now; it has caught up when this returns.
async fn restart(cluster: &mut Cluster, node: u64, job_id: i64) -> anyhow::Result<Duration> {
    cluster.kill_node(node)?;
    let options = Options { backoff_max: ASK_AGAIN, ..Options::default().with_timeout(jobs::PATIENCE) };
    let client = cluster.client_of(node, options)?;
    let began = Instant::now();
    cluster.start_node(node)?;
    let answer = client.get_job(GetJobRequest { job_id, consistency: Consistency::Linearizable.into() }).await;
    let took = began.elapsed();
    answer.with_context(|| format!("node {node} was started again and answers no read"))?;
    cluster.caught_up(node).await?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_check_is_that_of_the_checks_in_between() {
        let before = Checks { count: 1_000.0, seconds: 5.0 };
        assert!((Checks { count: 1_005.0, seconds: 5.001 }.mean_us_since(before) - 200.0).abs() < 0.001);
    }

    #[test]
    fn the_last_copy_of_a_job_may_be_smaller_and_one_task_publishes() {
        let tasks = |held_segments| Held { held: 1, held_segments }.tasks();
        assert_eq!((tasks(1), tasks(10), tasks(11), tasks(1_000_000)), (2, 2, 3, 100_001));
    }
}
