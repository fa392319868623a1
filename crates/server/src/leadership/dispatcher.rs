//! Brings each connected worker in line with the rows: an assignment is committed first and sent then; what the rows
//! do not have (any more) is dropped, and told again until the worker says so. What workers share of a job's limits is told
//! by `sessions::division`, assignments with it.

use super::sessions::Session;
use super::shares::Share;
use crate::wire::{id_mapping, indexes_to_wire, work};
use ferry_machine::id::{TaskId, WorkerId};
use ferry_machine::row::{Job, JobState, ManifestPin, Task, VerifyMode, Work};
use ferry_machine::tables::Read;
use ferry_machine::view;
use ferry_proto::v1::{self, SessionResponse, session_response::Message};
use std::collections::BTreeMap;
use std::mem::Discriminant;
use std::time::{Duration, Instant};

/// A drop is told again when it was not answered for this long.
const DROP_REPEAT: Duration = Duration::from_secs(2);

/// Everything that a worker has is compared with the rows this often at least; drops that were not answered are told again
/// by that.
const COMPARE_INTERVAL: Duration = Duration::from_secs(1);

/// What the leader knows of an attempt that a worker has.
pub(super) struct Run {
    pub(super) attempt: u32,
    pub(super) live_bytes: u64,
    pub(super) committed_bytes: u64,
    drop_told: Option<Instant>,
    /// Each writing request of it was answered, and it sends no other before it is told that it may.
    pub(super) settled: bool,
}

impl Run {
    /// An attempt that the worker has.
    pub(super) fn of_worker(attempt: u32) -> Self {
        Self { attempt, live_bytes: 0, committed_bytes: 0, drop_told: None, settled: false }
    }
}

/// What a worker was told depends on this of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JobMark {
    state: Discriminant<JobState>,
    limits: Share,
}

impl JobMark {
    fn of(job: &Job) -> Self {
        Self { state: std::mem::discriminant(&job.state), limits: Share::of_job(&job.spec.options) }
    }

    /// Those of the job, over all its workers.
    pub(super) fn limits(&self) -> Share {
        self.limits
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limits != Share::UNLIMITED
    }
}

/// Compares everything that the worker has with everything that the rows have for it: answers with what is missing, which is
/// still to be sent, and tells to drop what should not be.
pub(super) fn reconcile(worker: WorkerId, session: &mut Session, read: &dyn Read) -> Vec<v1::Assign> {
    if session.outgoing.is_none() {
        return Vec::new();
    }
    session.jobs.clear();
    session.compared_at = Some(Instant::now());
    let (wanted, missing) = bring(session, read, view::assigned_tasks(read, worker));
    let Session { jobs, shares, .. } = session;
    shares.retain(|job, _| jobs.contains_key(job));
    tell_drops(session, &wanted);
    missing
}

/// Whether what the worker was told may not hold any more: a lease ends by what the worker itself says or with its
/// session, so it is only the jobs of its attempts that others can change.
pub(super) fn is_outdated(session: &Session, read: &dyn Read) -> bool {
    session.compared_at.is_none_or(|at| at.elapsed() >= COMPARE_INTERVAL)
        || session.jobs.iter().any(|(id, mark)| view::job(read, *id).map(|job| JobMark::of(&job)) != Some(*mark))
}

/// Attempts that have just been leased, to be sent.
pub(super) fn leased(session: &mut Session, read: &dyn Read, tasks: &[TaskId]) -> Vec<v1::Assign> {
    if session.outgoing.is_none() {
        return Vec::new();
    }
    let (wanted, missing) = bring(session, read, view::tasks_by_id(read, tasks));
    if wanted.len() < tasks.len() {
        // Something ended them meanwhile, and with them what else the worker runs of their job.
        session.compared_at = None;
    }
    missing
}

/// Of these tasks the attempts that the worker is to run, and what of them it lacks.
fn bring(session: &mut Session, read: &dyn Read, tasks: Vec<Task>) -> (BTreeMap<TaskId, u32>, Vec<v1::Assign>) {
    let mut jobs = BTreeMap::new();
    let mut wanted = BTreeMap::new();
    let mut missing = Vec::new();
    for task in tasks {
        let job = jobs.entry(task.job).or_insert_with(|| view::job(read, task.job));
        let Some(job) = job else { continue };
        let Some(lease) = task.lease.filter(|lease| lease.incarnation == session.incarnation) else { continue };
        // What the worker was told of the others was by the older mark.
        session.jobs.entry(job.id).or_insert(JobMark::of(job));
        let runs = session.runs.get(&task.id).is_some_and(|run| run.attempt == lease.attempt);
        if runs {
            // Where this leader never told it a share, another one did.
            session.shares.entry(job.id).or_insert(None);
        }
        if should_run(job, &task) {
            wanted.insert(task.id, lease.attempt);
            if !runs {
                missing.push(assignment(job, &task, lease.attempt));
            }
        } else {
            // Leased, but its job is over: the worker must say that it has stopped before the lease is released.
            session.runs.entry(task.id).or_insert_with(|| Run::of_worker(lease.attempt));
        }
    }
    (wanted, missing)
}

/// A lease of a live job copies, publishes or verifies; one of a failed or canceled job may only clean up.
fn should_run(job: &Job, task: &Task) -> bool {
    match &job.state {
        JobState::Executing => true,
        JobState::Failed { .. } | JobState::Canceled { .. } => view::work(task) == Work::CleanUp,
        JobState::Draft { .. } | JobState::Pending | JobState::Completed { .. } | JobState::Collecting => false,
    }
}

fn tell_drops(session: &mut Session, wanted: &BTreeMap<TaskId, u32>) {
    let unwanted = |(task, run): &(&TaskId, &Run)| {
        wanted.get(task) != Some(&run.attempt) && run.drop_told.is_none_or(|told| told.elapsed() >= DROP_REPEAT)
    };
    let drops: Vec<(TaskId, u32)> =
        session.runs.iter().filter(unwanted).map(|(task, run)| (*task, run.attempt)).collect();
    for (task, attempt) in drops {
        session.send(drop_of(task, attempt));
        if let Some(run) = session.runs.get_mut(&task) {
            run.drop_told = Some(Instant::now());
        }
    }
}

/// The message that ends an attempt.
pub(super) fn drop_of(task: TaskId, attempt: u32) -> SessionResponse {
    let attempt = Some(v1::Attempt { task_id: task.0, attempt });
    SessionResponse { message: Some(Message::Drop(v1::Drop { attempt })) }
}

/// But for its worker's share of the limits.
fn assignment(job: &Job, task: &Task, attempt: u32) -> v1::Assign {
    let spec = &job.spec;
    let target = v1::TargetRef {
        uri: spec.target_uri.clone(),
        collection_id: spec.collection_id,
        partition_ids: spec.partition_ids.iter().map(|(source, target)| (*source, *target)).collect(),
        ..v1::TargetRef::default()
    };
    v1::Assign {
        attempt: Some(v1::Attempt { task_id: task.id.0, attempt }),
        job_id: job.id.0,
        work: work(view::work(task)).into(),
        claimed: task.claimed,
        source_uri: spec.source_uri.clone(),
        metadata_bytes: spec.metadata_bytes,
        metadata_crc32c: spec.metadata_crc32c,
        // What verifies the source alone has none.
        target: (!spec.target_uri.is_empty()).then_some(target),
        id_mappings: view::task_mappings(task).map(id_mapping).collect(),
        first_build_id: job.first_build_id,
        snapshot_id: job.snapshot_id,
        verify: verify(spec.options.verify).into(),
        manifests: task.manifests.iter().map(manifest).collect(),
        indexes: indexes_to_wire(&spec.options.indexes),
        self_contained: spec.options.self_contained,
        ..v1::Assign::default()
    }
}

fn manifest(pin: &ManifestPin) -> v1::ManifestPin {
    v1::ManifestPin { size_bytes: pin.size_bytes, crc32c: pin.crc32c }
}

fn verify(mode: VerifyMode) -> v1::VerifyMode {
    match mode {
        VerifyMode::Standard => v1::VerifyMode::Standard,
        VerifyMode::Full => v1::VerifyMode::Full,
    }
}
