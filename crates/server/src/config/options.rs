//! The options tables, one per component, with their defaults.

use super::units::{Size, Timeout};
use ferry_machine::limits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the cluster is begun with; without effect once it exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClusterOptions {
    /// Ids below this are the callers' own; the cluster hands out ids from here on.
    pub id_start: i64,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { id_start: 1 << 40 }
    }
}

/// Consensus; the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RaftOptions {
    /// How often the leader shows that it lives.
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    /// A follower that hears nothing for `election-timeout-max`, and then for a random time from here ...
    #[serde(with = "humantime_serde")]
    pub election_timeout_min: Duration,
    /// ... to here, stands for election; until the first of the two has passed, it votes for nobody else either.
    #[serde(with = "humantime_serde")]
    pub election_timeout_max: Duration,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(40),
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(250),
        }
    }
}

/// Disk and memory of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StorageOptions {
    /// Memory for caches and write buffers of both databases.
    pub memory: Size,
    /// A checkpoint is made after this many log entries.
    pub checkpoint_interval_entries: u64,
    /// A node ends when a write or sync has taken this long; a leader gives way after a fifth of it.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Log entries kept behind a checkpoint: a node that lags by fewer catches up from the log, others get a checkpoint.
    pub log_keep_entries: u64,
    /// A checkpoint is also made after this many bytes of log entries, however few they are.
    pub checkpoint_interval_bytes: Size,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            memory: Size(128 << 20),
            checkpoint_interval_entries: 20_000,
            stall_timeout: Duration::from_secs(10),
            log_keep_entries: 20_000,
            checkpoint_interval_bytes: Size(64 << 20),
        }
    }
}

/// What the leader does, and how often; the leader's own values count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LeadershipOptions {
    /// The checker looks at the latest after this long; changes and due times wake it before.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// How long a worker's lease lasts without renewal.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often a worker renews its lease.
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    /// Longest time a request of a worker to an object store can take; clean-ups wait for it.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// Longest time a remote store may carry out a request after its caller gave it up. The clean-up of what a lost worker
    /// wrote there is done only if it began after that.
    #[serde(with = "humantime_serde")]
    pub late_writes: Duration,
    /// Ids the leader reserves at once, to hand out from memory.
    pub allocator_window: u32,
    /// How long the events of jobs are kept, at least; the oldest go beyond a million, however young they are.
    #[serde(with = "humantime_serde")]
    pub event_retention: Duration,
}

impl Default for LeadershipOptions {
    fn default() -> Self {
        Self {
            check_interval: Duration::from_secs(2),
            lease: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(2),
            request_timeout: Duration::from_secs(30),
            late_writes: Duration::from_mins(10),
            allocator_window: 10_000,
            event_retention: Duration::from_hours(24),
        }
    }
}

/// What the leadership is given of the options, in the units it counts in.
#[derive(Debug, Clone)]
pub(crate) struct LeadershipConfig {
    options: LeadershipOptions,
    /// Ids the leader reserves at once.
    pub(crate) allocator_window: u32,
}

impl LeadershipConfig {
    pub(crate) fn new(options: &LeadershipOptions) -> Self {
        Self { options: options.clone(), allocator_window: options.allocator_window }
    }

    /// The checker looks at the latest after this long.
    pub(crate) fn check_interval_ms(&self) -> u64 {
        milliseconds(self.options.check_interval)
    }

    /// How long a worker's lease lasts without renewal.
    pub(crate) fn lease(&self) -> Duration {
        self.options.lease
    }

    /// The same in milliseconds.
    pub(crate) fn lease_ms(&self) -> u64 {
        milliseconds(self.options.lease)
    }

    /// How often a worker renews its lease.
    pub(crate) fn heartbeat_interval_ms(&self) -> u64 {
        milliseconds(self.options.heartbeat_interval)
    }

    /// Longest time a request of a worker to an object store can take.
    pub(crate) fn request_timeout_ms(&self) -> u64 {
        milliseconds(self.options.request_timeout)
    }

    /// Longest time a remote store may carry out a request after its caller gave it up.
    pub(crate) fn late_writes_ms(&self) -> u64 {
        milliseconds(self.options.late_writes)
    }

    /// How long events are kept.
    pub(crate) fn event_retention_ms(&self) -> u64 {
        milliseconds(self.options.event_retention)
    }

    /// Longest time an incarnation may still write once it is replaced: its lease and one request.
    pub(crate) fn writes_for_ms(&self) -> u64 {
        self.lease_ms().saturating_add(self.request_timeout_ms())
    }
}

/// Where the events of jobs are posted, and how patiently; the same on every node, for whichever leads does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WebhookOptions {
    /// Each event is posted here as JSON, over http or https; empty: nowhere.
    pub url: String,
    /// How long the receiver may take for one event. Any 2xx says that it has taken it.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// An event that was not taken is posted again after about this long, each time about twice as long ...
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// ... up to this; events behind it wait meanwhile.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            timeout: Duration::from_secs(10),
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_mins(1),
        }
    }
}

/// What a job gets where its submit says nothing; fixed for the job when it is submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct JobOptions {
    /// A job fails when it has not ended this long after its submit, or "none".
    pub timeout: Timeout,
    /// A job can be read this long after its end.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// 0 to 100, a job's share of the workers.
    pub priority: u8,
    /// Segments of one task, 1 to 100.
    pub segments_per_task: u32,
    /// Failed or lost attempts of one task before it counts as exhausted.
    pub attempts: u32,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            timeout: Timeout(Some(Duration::from_hours(24))),
            retention: Duration::from_hours(3),
            priority: 50,
            segments_per_task: limits::SEGMENTS_PER_TASK_DEFAULT,
            attempts: 10,
        }
    }
}

/// What one node takes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitOptions {
    /// Open WatchJob, WatchEvents and WaitJob calls.
    pub watches: u32,
    /// Largest request message.
    pub request_message: Size,
    /// How long a call without a deadline of its own waits for a leader or for a revision.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a node that stops lets open calls finish.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            watches: 10_000,
            request_message: Size(4 << 20),
            request_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// Whole milliseconds of a duration, or the most there are.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
