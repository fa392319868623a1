//! Every limit of the machine in one place; the manual in ARCHITECTURE.md repeats them for users.

/// Rows that one command may read or write, indexes included: no command stalls the log however large its job.
pub const ROWS_PER_COMMAND_MAX: usize = 1_000;
/// Consecutive targets in one row.
pub const TARGETS_PER_RUN_MAX: usize = 100;
/// Rows of one mapping of a submit that names its target, with no other beside it: the lock on it, its row of the job, and
/// where it takes over a freed target the job that held it and the locks to both sides.
pub const ROWS_PER_MAPPING: usize = 5;
/// Mappings in one page of a submit.
pub const MAPPINGS_PER_PAGE_MAX: usize = ROWS_PER_PAGE / ROWS_PER_MAPPING;
/// Mappings of one job.
pub const MAPPINGS_PER_JOB_MAX: u64 = 10_000_000;
/// Segments of one task, at most.
pub const SEGMENTS_PER_TASK_MAX: u32 = 100;
/// Segments of one task where the job does not say.
pub const SEGMENTS_PER_TASK_DEFAULT: u32 = 10;
/// Ids handed out by one allocation.
pub const IDS_PER_ALLOCATION_MAX: u32 = 1_000_000;
/// Jobs that are neither terminal nor collected.
pub const JOBS_ALIVE_MAX: u64 = 100_000;
/// Bytes of a name, and of a label's key or value.
pub const NAME_BYTES_MAX: usize = 256;
/// Bytes of a URI.
pub const URI_BYTES_MAX: usize = 4_096;
/// Labels of one job or worker.
pub const LABELS_MAX: usize = 64;
/// Known workers.
pub const WORKERS_MAX: u64 = 10_000;
/// Slots of one worker.
pub const SLOTS_PER_WORKER_MAX: u32 = 1_000;
/// Target partitions one job may name.
pub const PARTITIONS_PER_JOB_MAX: usize = 4_096;
/// Bytes of a reason kept with a job or task; longer ones are cut.
pub const REASON_BYTES_MAX: usize = 2_048;
/// Jobs that are looked at to say which one goes before another.
pub const JOBS_EXPLAINED_MAX: usize = 1_000;
/// Tasks that are looked at for a failed attempt to tell of.
pub const TASKS_EXPLAINED_MAX: usize = 1_000;
/// Attempts that ended which one task remembers; older ones are forgotten.
pub const ATTEMPTS_KEPT_PER_TASK: usize = 10;
/// Bytes of the error kept with an attempt that ended; longer ones are cut.
pub const ATTEMPT_ERROR_BYTES_MAX: usize = 512;
/// A draft without a new page for this long is dropped.
pub const DRAFT_IDLE_MS: u64 = 60_000;
/// A request id outlives its job's rows by this much.
pub const REQUEST_RETENTION_MS: u64 = 24 * 60 * 60 * 1_000;
/// First back-off of a failed attempt; it doubles with each failure.
pub const BACKOFF_FIRST_MS: u64 = 500;
/// Longest back-off of a failed attempt.
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// An outage of a store that a task has met for this long counts its attempts from then on.
pub const OUTAGE_MAX_MS: u64 = 3_600_000;
/// Longest wait for the next look at a store that is away.
pub const OUTAGE_LOOK_MS: u64 = 20_000;
/// Attempts of a task that ended with requests that got no answer, from which on a clean-up that fails is given up: a store
/// that never answers is not waited for without end.
pub const LATE_ENDS_MAX: u32 = 100;
/// Highest priority; the lowest is 0.
pub const PRIORITY_MAX: u8 = 100;
/// Bytes of a request's hash.
pub const REQUEST_HASH_BYTES_MAX: usize = 64;
/// Attempts one task may be given.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// What an attempt adds to its job's pass at priority 0; at priority p it is divided by p + 1, so that a job's share
/// of the workers is proportional to p + 1.
pub const STRIDE: u64 = 1 << 20;

/// Rows that the pages below may touch; the rest of `ROWS_PER_COMMAND_MAX` is for the cluster, the job and its indexes.
const ROWS_PER_PAGE: usize = 900;
/// Segments settled by one command: each is, with no other beside it, a row of the job, its task, and the lock on it.
pub const SEGMENTS_PER_SETTLE_PAGE: usize = ROWS_PER_PAGE / 3;
/// Segments collected by one command: each is, with no other beside it, a row of the job and the lock on it.
pub const SEGMENTS_PER_COLLECT_PAGE: usize = ROWS_PER_PAGE / 2;
/// Segments of the tasks settled or collected by one command: a task's row grows with them.
const SEGMENTS_OF_TASKS_PER_PAGE: usize = 3_000;
/// Attempts released by one command: each is a task, its assignment, its places in the queue (old and new), its job,
/// that job's entries by stage, by dispatch (old and new) and by time, and an event where the job is paused or ends.
pub const RELEASES_PER_PAGE: usize = ROWS_PER_PAGE / 10;
/// Request ids dropped by one command: each is a row and its entry by time.
pub const REQUESTS_PER_PAGE: usize = ROWS_PER_PAGE / 2;

/// Events expired by one command.
pub const EVENTS_PER_PAGE: usize = ROWS_PER_PAGE;
/// Events that are kept at most, and a page more, however young they are.
pub const EVENTS_KEPT_MAX: u64 = 1_000_000;
/// Events are expired once the oldest has outlived its retention by this part of it, so that they go in batches.
pub const EVENT_RETENTION_SLACK: u64 = 16;

/// Tasks settled or collected by one command: each is a task, the place in the queue it leaves and the one it takes.
#[must_use]
pub fn tasks_per_settle_page(segments_per_task_max: u32) -> usize {
    (ROWS_PER_PAGE / 3).min(SEGMENTS_OF_TASKS_PER_PAGE / segments_per_task_max.max(1) as usize)
}

/// Tasks created by one command: each is a task, its place in the queue and a look at its segments.
#[must_use]
pub const fn tasks_per_page(segments_per_task_max: u32) -> usize {
    ROWS_PER_PAGE / (segments_per_task_max as usize + 2)
}
