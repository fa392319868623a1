//! Generated commands for property tests, here and in crates that hold rows: every kind, over spaces so small that
//! commands meet each other.
//!
//! `commands` knows nothing of any state. A `Step` is made into a command next to the rows as they are, so that a
//! sequence of steps reaches deep into the lives of jobs.

use crate::command::{Command, CopiedSegment, FailureKind, IdMapping, LeaseRef, SubmitPage, TaskResult};
use crate::id::{EventId, JobId, SegmentId, TaskId, WorkerId};
use crate::key::Key;
use crate::limits;
use crate::row::{FailurePolicy, Job, JobOptions, JobSpec, LiveOptions, ManifestPin, Row, Settle, Task, Worker};
use crate::tables::{Memory, Read};
use crate::time::{Stamp, Time};
use crate::view;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use std::collections::BTreeMap;

/// Where the ids of a generated cluster begin.
pub const ID_START: i64 = 1_000;

/// Moves made on the rows as they are: what is moved, and numbers to choose by.
#[derive(Debug, Clone)]
pub enum Step {
    /// A command that fits the rows, or nearly does.
    Near {
        /// Which kind.
        kind: u8,
        /// Chooses the subject.
        subject: u16,
        /// Chooses how.
        manner: u16,
        /// Cluster time passes by this much before.
        wait_ms: u64,
    },
    /// Any command at all.
    Far(Box<Command>),
}

/// Sequences of steps.
pub fn steps(count_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let waits = prop_oneof![6 => Just(0_u64), 3 => Just(700), 1 => Just(70_000), 1 => Just(20_000_000)];
    let near = (any::<u8>(), any::<u16>(), any::<u16>(), waits)
        .prop_map(|(kind, subject, manner, wait_ms)| Step::Near { kind, subject, manner, wait_ms });
    let step = prop_oneof![8 => near, 1 => commands().prop_map(|command| Step::Far(Box::new(command)))];
    proptest::collection::vec(step, 1..count_max)
}

/// Any command, over small spaces of ids.
pub fn commands() -> impl Strategy<Value = Command> {
    let number = || 0_i64..40;
    (any::<u8>(), number(), number(), any::<u16>()).prop_map(|(kind, first, second, manner)| {
        let id = |number: i64| if number < 30 { ID_START + number } else { number - 32 };
        let lease = LeaseRef {
            task: TaskId(id(first)),
            attempt: u32::from(manner % 3),
            worker: WorkerId(id(second)),
            incarnation: u64::from(manner % 2) + 1,
        };
        command(kind, JobId(id(first)), lease, manner)
    })
}

/// The command that a step stands for, and when it happens.
pub fn resolve(step: &Step, rows: &Memory) -> (Command, Stamp) {
    let now = view::cluster(rows).map(|cluster| cluster.now).unwrap_or_default();
    match step {
        Step::Far(command) => (Command::clone(command), stamp(now)),
        Step::Near { kind, subject, manner, wait_ms } => {
            (near(rows, *kind, *subject, *manner), stamp(now.plus(*wait_ms)))
        }
    }
}

/// The log index of the next entry, where each entry that makes an event may be followed by one more.
pub fn next_revision(rows: &Memory) -> u64 {
    view::cluster(rows).map_or(1, |cluster| cluster.events.last.revision + 1)
}

fn stamp(at: Time) -> Stamp {
    Stamp { at, wall_ms: at.0 }
}

fn near(rows: &Memory, kind: u8, subject: u16, manner: u16) -> Command {
    let job = nth(&jobs(rows), subject);
    let task = nth(&tasks(rows, kind), subject);
    let worker = nth(&workers(rows), manner);
    let id = job.as_ref().map_or(JobId(ID_START), |job| job.id);
    match (kind % 32, job) {
        (24, Some(job)) | (25, Some(job)) => Command::CreateTasks { job: id, tasks_created: job.counts.tasks_created },
        (26, Some(job)) | (27, Some(job)) | (28, Some(job)) => Command::SettleJob { job: id, settle: job.settle },
        (kind, _) => command(kind, id, lease(task.as_ref(), worker.as_ref(), kind), manner),
    }
    .fitting(task.as_ref())
}

impl Command {
    /// Makes most claims bring as many manifests as the task has segments, and most reports of copies come after a claim
    /// and list the right targets, or say of the publication that it is published.
    fn fitting(mut self, task: Option<&Task>) -> Self {
        let Some(task) = task else { return self };
        match &mut self {
            Self::ClaimTargets { manifests, .. } if manifests.len() != 1 => {
                manifests.resize(task.segments.len(), ManifestPin::default());
            }
            Self::ReportTask { lease, result: TaskResult::Copied { segments }, .. } if segments.len() != 1 => {
                if task.verifies {
                    let segments = task.segments.iter().map(|segment| copied(segment.target)).collect();
                    return Self::ReportTask {
                        lease: *lease,
                        result: TaskResult::Verified { segments },
                        writes_for_ms: 0,
                    };
                }
                if !task.claimed {
                    let manifests = vec![ManifestPin::default(); task.segments.len()];
                    return Self::ClaimTargets { lease: *lease, bytes_planned: 100, manifests };
                }
                *segments = task.segments.iter().map(|segment| copied(segment.target)).collect();
                if segments.is_empty() {
                    return Self::ReportTask { lease: *lease, result: TaskResult::Published, writes_for_ms: 0 };
                }
            }
            _ => {}
        }
        self
    }
}

fn copied(target: SegmentId) -> CopiedSegment {
    CopiedSegment { target, partition_id: 7, rows: 10, bytes: 100 }
}

/// The lease that a task has, or the next one that a worker could get.
fn lease(task: Option<&Task>, worker: Option<&Worker>, kind: u8) -> LeaseRef {
    let assigning = matches!(kind % 32, 4 | 5);
    let next = LeaseRef {
        task: task.map_or(TaskId(ID_START), |task| task.id),
        attempt: task.map_or(1, |task| task.attempt + 1),
        worker: worker.map_or(WorkerId(ID_START), |worker| worker.id),
        incarnation: worker.map_or(1, |worker| worker.incarnation),
    };
    match task.and_then(|task| task.lease).filter(|_| !assigning) {
        Some(held) => LeaseRef { attempt: held.attempt, worker: held.worker, incarnation: held.incarnation, ..next },
        None => next,
    }
}

fn command(kind: u8, job: JobId, lease: LeaseRef, manner: u16) -> Command {
    let bytes = u64::from(manner);
    let (writes_for_ms, late_writes_ms) = (5_000, 9_000);
    // Some attempts gave up a request.
    let late_ms = if manner.is_multiple_of(4) { late_writes_ms } else { 0 };
    let settled = BTreeMap::from([(lease.task, lease.attempt)]);
    match kind % 32 {
        0..=3 => Command::SubmitPage(Box::new(page(manner))),
        4 | 5 => Command::AssignTask(lease),
        6 => Command::ClaimTargets { lease, bytes_planned: bytes, manifests: manifests(manner) },
        7 => Command::ReportProgress { lease, bytes_copied: bytes },
        8..=12 => Command::ReportTask { lease, result: result(manner), writes_for_ms: late_ms },
        13 => Command::ReleaseTask { lease, writes_for_ms: late_ms },
        14 | 15 => Command::RegisterWorker {
            name: format!("worker-{}", manner % 3),
            incarnation: u64::from(manner % 2) + 1,
            slots: u32::from(manner % 4),
            labels: BTreeMap::new(),
            writes_for_ms,
            late_writes_ms,
            settled,
        },
        16 => {
            let LeaseRef { worker, incarnation, .. } = lease;
            Command::LoseWorker { worker, incarnation, writes_for_ms, late_writes_ms, settled }
        }
        17 => Command::ReleaseWorker { worker: lease.worker, writes_for_ms, late_writes_ms },
        18 => Command::DrainWorker { worker: lease.worker, draining: manner.is_multiple_of(3) },
        19 => Command::CancelJob { job },
        20 => Command::FailJob { job, reason: "timeout".to_owned() },
        21 => Command::PauseJob { job, paused: manner.is_multiple_of(3) },
        22 => Command::UpdateJob {
            job,
            change: LiveOptions {
                priority: u8::try_from(manner % 120).ok(),
                bandwidth_bytes_per_second: Some(bytes),
                requests_per_second: Some(manner.into()),
                attempts_at_once_max: (manner % 7 < 3).then_some(u32::from(manner % 3)),
            },
        },
        23 | 29 => Command::CollectJob { job },
        24 | 25 => Command::CreateTasks { job, tasks_created: bytes % 3 },
        26 => Command::SettleJob { job, settle: Settle::Segments { after: SegmentId(i64::from(manner % 9)) } },
        27 => Command::SettleJob { job, settle: Settle::Tasks { after: TaskId(job.0) } },
        28 => Command::SettleJob { job, settle: Settle::Done },
        30 => other(manner),
        _ if manner.is_multiple_of(2) => Command::CleanUpJob { job },
        _ => Command::DropDraft { job },
    }
}

/// None, one or two, now and then altered.
fn manifests(manner: u16) -> Vec<ManifestPin> {
    let pin = ManifestPin { size_bytes: 0, crc32c: u32::from(manner.is_multiple_of(5)) };
    vec![pin; usize::from(manner % 3)]
}

fn other(manner: u16) -> Command {
    match manner % 6 {
        0 => Command::Tick,
        4 => Command::ExpireEvents { before: Time(u64::from(manner) * 1_000) },
        5 => {
            let (revision, ordinal) = (u64::from(manner % 90), u32::from(manner % 2));
            Command::NoteDelivered { before: EventId { revision, ordinal } }
        }
        1 => Command::ReserveIds { count: u32::from(manner % 7) },
        2 => Command::ExpireRequests { request_ids: (0..4).map(|number| format!("request-{number}")).collect() },
        _ => Command::Bootstrap { cluster_id: 9, id_start: ID_START },
    }
}

fn result(manner: u16) -> TaskResult {
    let failed = |kind| TaskResult::Failed { kind, reason: "the object is gone".to_owned() };
    match manner % 14 {
        0 => failed(FailureKind::Permanent),
        1 => failed(FailureKind::Refused),
        2 => failed(FailureKind::Transient),
        3 => failed(FailureKind::GivenBack),
        13 => failed(FailureKind::Outage),
        4 => TaskResult::Copied { segments: vec![copied(SegmentId(3))] },
        5 | 6 => TaskResult::CleanedUp,
        7 if (manner / 14).is_multiple_of(2) => TaskResult::Verified { segments: Vec::new() },
        7 => TaskResult::Published,
        _ => TaskResult::Copied { segments: Vec::new() },
    }
}

/// A page of one of a few requests: some come whole, some in two pages, and their targets meet.
fn page(manner: u16) -> SubmitPage {
    let request = u64::from(manner % 13);
    let segments = request % 5;
    let second = manner & 0x400 != 0;
    let (offset, end) = match (request < 4, second) {
        (true, false) => (0, segments.div_ceil(2)),
        (true, true) => (segments.div_ceil(2), segments),
        (false, _) => (0, segments),
    };
    let mapping = |index: u64| {
        let index = i64::try_from(index).unwrap_or_default();
        let target =
            if request.is_multiple_of(2) { SegmentId(0) } else { SegmentId(i64::from(manner % 3) + index + 1) };
        IdMapping { source: SegmentId(index + 1), target, partition_id: 0 }
    };
    // Now and then another request under the same id.
    let hash = |mappings: u64| vec![u8::from(manner & 0x7000 == 0), u8::try_from(mappings).unwrap_or_default()];
    // The last two requests only verify: one a copy, one the source alone.
    let (verify_only, source_alone) = (request >= 11, request == 12);
    let mut options = options(manner);
    options.verify_only = verify_only;
    if verify_only && options.on_failure == FailurePolicy::Keep {
        options.on_failure = FailurePolicy::Fail;
    }
    let target_uri = if request.is_multiple_of(3) { "s3://bucket/target" } else { "file:///target" };
    let spec = JobSpec {
        source_uri: "file:///source".to_owned(),
        target_uri: if source_alone { String::new() } else { target_uri.to_owned() },
        collection_id: 200,
        segments,
        build_ids: u32::from(manner % 2),
        options,
        ..JobSpec::default()
    };
    SubmitPage {
        request_id: format!("request-{request}"),
        hash_before: hash(offset),
        request_hash: hash(end),
        spec,
        offset,
        mappings: (offset..end).map(mapping).collect(),
    }
}

fn options(manner: u16) -> JobOptions {
    JobOptions {
        timeout_ms: (!manner.is_multiple_of(4)).then_some(100_000),
        retention_ms: 50_000,
        priority: u8::try_from(manner % u16::from(limits::PRIORITY_MAX)).unwrap_or_default(),
        segments_per_task_max: u32::from(manner % 3) + 1,
        attempts_max: u32::from(manner % 2) + 1,
        attempts_at_once_max: u32::from(manner % 7).saturating_sub(4),
        start_paused: manner.is_multiple_of(16),
        on_failure: match manner % 5 {
            0 => FailurePolicy::Pause,
            1 => FailurePolicy::Keep,
            _ => FailurePolicy::Fail,
        },
        ..JobOptions::default()
    }
}

fn nth<T: Clone>(items: &[T], number: u16) -> Option<T> {
    items.get(usize::from(number) % items.len().max(1)).cloned()
}

fn jobs(rows: &Memory) -> Vec<Job> {
    let rows = rows.rows().map(|(_, row)| row.clone());
    rows.filter_map(|row| if let Row::Job(job) = row { Some(*job) } else { None }).collect()
}

/// Tasks that a command of this kind may be about: queued ones to assign, leased ones for all else.
fn tasks(rows: &Memory, kind: u8) -> Vec<Task> {
    let assigning = matches!(kind % 32, 4 | 5);
    let all = rows.rows().filter_map(|(key, _)| if let Key::Task(id) = key { Some(Key::Task(*id)) } else { None });
    all.filter_map(|key| rows.get(&key))
        .filter_map(|row| if let Row::Task(task) = row { Some(*task) } else { None })
        .filter(|task| if assigning { task.queued_at.is_some() } else { task.attempt > 0 })
        .collect()
}

fn workers(rows: &Memory) -> Vec<Worker> {
    let rows = rows.rows().map(|(_, row)| row.clone());
    rows.filter_map(|row| if let Row::Worker(worker) = row { Some(*worker) } else { None }).collect()
}
