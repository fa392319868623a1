//! What Prometheus is told: latencies from stored times, gauges from the rows at scrape time, calls by outcome.
//!
//! Architecture invariant: gauges of jobs and tasks are made from the cluster's row at each scrape and only where the
//! leader is asked, so none outlives a leadership; no label holds an id.

use ferry_machine::row::{Cluster, Job, JobState, Task, TaskOutcome};
use ferry_raft::ApplyTimes;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder,
};
use std::time::Duration;

/// From 10 ms to about a day, four times more each.
const LATENCY_BUCKETS_SECONDS: [f64; 12] =
    [0.01, 0.04, 0.16, 0.64, 2.56, 10.24, 40.96, 163.84, 655.36, 2_621.44, 10_485.76, 41_943.04];

/// How a node stands in its raft, as scraped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RaftFigures {
    pub(crate) term: u64,
    pub(crate) is_leader: bool,
    pub(crate) last_log_index: u64,
    pub(crate) committed_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) checkpoint_index: u64,
    pub(crate) purged_index: u64,
    pub(crate) checkpoints_installed: u64,
    pub(crate) apply_times: ApplyTimes,
}

/// What only the leader tells.
#[derive(Debug, Clone)]
pub(crate) struct LeaderFigures {
    pub(crate) cluster: Cluster,
    /// How long the oldest event that the webhook's receiver has not taken has waited; `None` without a webhook.
    pub(crate) webhook_lag_ms: Option<u64>,
}

/// The metrics a process keeps.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    job_latency: Histogram,
    task_latency: HistogramVec,
    requests: IntCounterVec,
    deliveries: IntCounterVec,
    checks: IntCounter,
    check_seconds: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let job_latency = Histogram::with_opts(
            HistogramOpts::new(
                "ferry_copy_segment_job_latency_seconds",
                "Cluster time from the submission of a copy-segment job to its completion, observed on the leader.",
            )
            .buckets(LATENCY_BUCKETS_SECONDS.to_vec()),
        )?;
        let task_latency = HistogramVec::new(
            HistogramOpts::new(
                "ferry_copy_segment_task_latency_seconds",
                "Cluster time of completed copy-segment tasks by stage: pending until first leased, executing until \
                 copied, done for both together; observed on the leader.",
            )
            .buckets(LATENCY_BUCKETS_SECONDS.to_vec()),
            &["stage"],
        )?;
        let requests = IntCounterVec::new(
            Opts::new("ferry_grpc_requests_total", "Calls answered by this node, by method and status code."),
            &["method", "code"],
        )?;
        let deliveries = IntCounterVec::new(
            Opts::new(
                "ferry_webhook_deliveries_total",
                "Posts of events to the webhook's receiver by this node, by whether they were taken.",
            ),
            &["taken"],
        )?;
        let checks = IntCounter::new("ferry_checks_total", "Rounds of the checker on this node, which has led.")?;
        let check_seconds = Counter::new(
            "ferry_check_seconds_total",
            "The time in which those rounds found what is to be done, without the time of doing it.",
        )?;
        registry.register(Box::new(checks.clone()))?;
        registry.register(Box::new(check_seconds.clone()))?;
        registry.register(Box::new(deliveries.clone()))?;
        registry.register(Box::new(job_latency.clone()))?;
        registry.register(Box::new(task_latency.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { registry, job_latency, task_latency, requests, deliveries, checks, check_seconds })
    }

    /// Counts an answered call.
    pub(crate) fn count_request(&self, method: &str, code: &str) {
        self.requests.with_label_values(&[method, code]).inc();
    }

    /// Counts a post to the webhook's receiver.
    pub(crate) fn count_delivery(&self, taken: bool) {
        self.deliveries.with_label_values(&[if taken { "true" } else { "false" }]).inc();
    }

    /// Counts a round of the checker.
    pub(crate) fn observe_check(&self, took: Duration) {
        self.checks.inc();
        self.check_seconds.inc_by(took.as_secs_f64());
    }

    /// Counts the latency of a job that has just completed; one that ended otherwise has none.
    pub(crate) fn observe_job(&self, job: &Job) {
        if let JobState::Completed { ended } = &job.state {
            self.job_latency.observe(seconds(ended.at.since(job.submitted.at)));
        }
    }

    /// Counts the latencies of a task that has just completed.
    pub(crate) fn observe_task(&self, task: &Task) {
        if let TaskOutcome::Completed { ended } = &task.outcome {
            let started = task.started.unwrap_or(*ended);
            let stages = [
                ("pending", started.at.since(task.created.at)),
                ("executing", ended.at.since(started.at)),
                ("done", ended.at.since(task.created.at)),
            ];
            for (stage, latency_ms) in stages {
                self.task_latency.with_label_values(&[stage]).observe(seconds(latency_ms));
            }
        }
    }

    /// The text Prometheus scrapes; `leader` is given by the leader alone.
    pub(crate) fn render(
        &self,
        raft: RaftFigures,
        leader: Option<&LeaderFigures>,
    ) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(raft_families(raft)?);
        if let Some(leader) = leader {
            families.extend(cluster_families(&leader.cluster)?);
            families.extend(event_families(leader)?);
        }
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families)
    }
}

fn raft_families(raft: RaftFigures) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let figures = [
        ("ferry_raft_term", "Term of raft that this node is in.", raft.term),
        ("ferry_raft_is_leader", "1 on the node that leads, else 0.", u64::from(raft.is_leader)),
        ("ferry_raft_last_log_index", "Index of the last entry of this node's log.", raft.last_log_index),
        (
            "ferry_raft_committed_index",
            "Index of the last entry this node knows to be committed.",
            raft.committed_index,
        ),
        ("ferry_raft_applied_index", "Index of the last entry applied to this node's rows.", raft.applied_index),
        (
            "ferry_raft_checkpoint_index",
            "Index of the last entry in this node's newest checkpoint.",
            raft.checkpoint_index,
        ),
        ("ferry_raft_purged_index", "Index of the last entry that is gone from this node's log.", raft.purged_index),
    ];
    let mut families = Vec::new();
    for (name, help, value) in figures {
        let gauge = Gauge::new(name, help)?;
        gauge.set(float(value));
        families.extend(gauge.collect());
    }
    let counts = [
        (
            "ferry_raft_checkpoints_installed_total",
            "Checkpoints of other nodes that became this node's rows since it started.",
            float(raft.checkpoints_installed),
        ),
        (
            "ferry_raft_entries_applied_total",
            "Entries applied to this node's rows since it started.",
            float(raft.apply_times.entries),
        ),
        (
            "ferry_raft_apply_seconds_total",
            "Time that this node took to apply entries since it started.",
            raft.apply_times.total.as_secs_f64(),
        ),
    ];
    for (name, help, value) in counts {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value);
        families.extend(counter.collect());
    }
    let longest = Gauge::new(
        "ferry_raft_apply_longest_seconds",
        "Time of the entry that took longest to apply on this node since it started.",
    )?;
    longest.set(raft.apply_times.longest.as_secs_f64());
    families.extend(longest.collect());
    Ok(families)
}

fn cluster_families(cluster: &Cluster) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let jobs = [
        ("pending", cluster.jobs.pending),
        ("executing", cluster.jobs.executing),
        ("completed", cluster.jobs.completed),
        ("failed", cluster.jobs.failed),
        ("canceled", cluster.jobs.canceled),
    ];
    let tasks = [
        ("pending", cluster.tasks.pending),
        ("in_progress", cluster.tasks.in_progress),
        ("completed", cluster.tasks.completed),
        ("failed", cluster.tasks.failed),
    ];
    let mut families =
        by_state("ferry_copy_segment_jobs", "Copy-segment jobs that can be read, by state; on the leader.", &jobs)?;
    families.extend(by_state("ferry_copy_segment_tasks", "Tasks of those jobs, by state; on the leader.", &tasks)?);
    let workers = Gauge::new("ferry_known_workers", "Workers the cluster knows; on the leader.")?;
    workers.set(float(cluster.workers));
    families.extend(workers.collect());
    Ok(families)
}

fn event_families(leader: &LeaderFigures) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let kept = Gauge::new("ferry_events_kept", "Events of jobs that can be watched; on the leader.")?;
    kept.set(float(leader.cluster.events.kept));
    let mut families = kept.collect();
    if let Some(lag_ms) = leader.webhook_lag_ms {
        let help = "Cluster time since the oldest event that the webhook's receiver has not taken, 0 without one; on the \
                    leader.";
        let lag = Gauge::new("ferry_webhook_lag_seconds", help)?;
        lag.set(seconds(lag_ms));
        families.extend(lag.collect());
    }
    Ok(families)
}

fn by_state(name: &str, help: &str, counts: &[(&str, u64)]) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let gauges = GaugeVec::new(Opts::new(name, help), &["state"])?;
    for (state, count) in counts {
        gauges.with_label_values(&[state]).set(float(*count));
    }
    Ok(gauges.collect())
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferry_machine::row::{EventLog, JobCounts, TaskCounts};
    use std::time::Duration;

    fn leader() -> LeaderFigures {
        let jobs = JobCounts { executing: 2, canceled: 1, draft: 9, ..JobCounts::default() };
        let tasks = TaskCounts { pending: 5, ..TaskCounts::default() };
        let events = EventLog { kept: 6, ..EventLog::default() };
        LeaderFigures {
            cluster: Cluster { jobs, tasks, workers: 3, events, ..Cluster::default() },
            webhook_lag_ms: Some(1_500),
        }
    }

    #[test]
    fn s28_gauges_of_jobs_and_tasks_are_there_for_a_leader_and_gone_without_one() {
        let metrics = Metrics::new().unwrap();
        let apply_times =
            ApplyTimes { entries: 9, total: Duration::from_secs(3), longest: Duration::from_millis(1_500) };
        let raft = RaftFigures { term: 4, is_leader: true, apply_times, ..RaftFigures::default() };
        let text = metrics.render(raft, Some(&leader())).unwrap();
        for line in [
            "ferry_copy_segment_jobs{state=\"executing\"} 2",
            "ferry_copy_segment_jobs{state=\"canceled\"} 1",
            "ferry_copy_segment_tasks{state=\"pending\"} 5",
            "ferry_known_workers 3",
            "ferry_events_kept 6",
            "ferry_webhook_lag_seconds 1.5",
            "ferry_raft_term 4",
            "ferry_raft_is_leader 1",
            "ferry_raft_entries_applied_total 9",
            "ferry_raft_apply_seconds_total 3",
            "ferry_raft_apply_longest_seconds 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("draft"), "drafts are hidden");
        let text = metrics.render(RaftFigures::default(), None).unwrap();
        for name in ["ferry_copy_segment_jobs", "ferry_copy_segment_tasks", "ferry_webhook_lag", "ferry_events"] {
            assert!(!text.contains(name), "{name} is in\n{text}");
        }
        assert!(text.contains("ferry_raft_is_leader 0"), "{text}");
    }

    #[test]
    fn every_metric_has_a_help_text_once_and_no_unit_but_seconds() {
        let metrics = Metrics::new().unwrap();
        metrics.count_request("ferry.v1.JobService/GetJob", "Ok");
        metrics.count_delivery(false);
        metrics.task_latency.with_label_values(&["done"]).observe(seconds(1_500));
        let text = metrics.render(RaftFigures::default(), Some(&leader())).unwrap();
        let typed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert_eq!(typed.len(), 22, "{typed:?}");
        for name in typed.iter().filter_map(|line| line.split(' ').next()) {
            assert!(name.starts_with("ferry_"), "{name}");
            let helps = text.lines().filter(|line| line.starts_with(&format!("# HELP {name} "))).count();
            assert_eq!(helps, 1, "{name}");
        }
        assert!(text.contains("ferry_copy_segment_task_latency_seconds_sum{stage=\"done\"} 1.5"), "{text}");
    }
}
