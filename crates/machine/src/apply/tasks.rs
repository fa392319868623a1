//! Tasks from their creation in pages to their leases: who may run what, and what an attempt says while it runs.

use super::keep::Desk;
use super::validate::invalid;
use crate::command::LeaseRef;
use crate::derive;
use crate::id::{JobId, SegmentId, TaskId};
use crate::limits;
use crate::outcome::{Outcome, Rejection};
use crate::read;
use crate::row::{CleanUp, Job, JobState, Lease, ManifestPin, Mapping, Task, TaskOutcome, TaskSegment, WorkerState};
use crate::time::{Stamp, Time};

/// Creates the next page of tasks, in the order of target ids; the last page adds the publication and makes the job
/// Executing.
pub(super) fn create(desk: &mut Desk<'_>, id: JobId, tasks_created: u64) -> Result<Outcome, Rejection> {
    let old = desk.job(id)?;
    if old.state != JobState::Pending {
        return Err(Rejection::Stale("the job is not pending any more"));
    }
    if old.counts.tasks_created != tasks_created {
        return Err(Rejection::Stale("these tasks were created already"));
    }
    let mut job = old.clone();
    let width = old.spec.options.segments_per_task_max.max(1);
    let segments_max = limits::tasks_per_page(width) * width as usize;
    let targets = read::job_targets(&desk.rows, id, job.task_cursor, segments_max);
    for task_targets in targets.chunks(width as usize) {
        let task = new_task(&job, task_targets, desk.now)?;
        desk.put_task(None, task, &mut job);
    }
    job.task_cursor = targets.last().map_or(job.task_cursor, |(target, _)| *target);
    if job.counts.tasks_created == derive::copies_planned(&job.spec) {
        if !derive::verifies(&job.spec) {
            // It waits outside the queue until every copy is complete.
            let publication = Task { queued_at: None, ..new_task(&job, &[], desk.now)? };
            desk.put_task(None, publication, &mut job);
        }
        job.state = JobState::Executing;
        job.started = Some(desk.now);
    }
    desk.put_job(Some(&old), job);
    Ok(Outcome::Job(id))
}

fn new_task(job: &Job, targets: &[(SegmentId, Mapping)], now: Stamp) -> Result<Task, Rejection> {
    let created = i64::try_from(job.counts.tasks_created).ok();
    let id = created.and_then(|created| job.first_task.0.checked_add(created));
    let Some(id) = id else { return Err(Rejection::Stale("the job has no more tasks to create")) };
    let segment =
        |(target, mapping): &(SegmentId, Mapping)| TaskSegment { target: *target, mapping: *mapping, copied: None };
    Ok(Task {
        id: TaskId(id),
        job: job.id,
        segments: targets.iter().map(segment).collect(),
        verifies: derive::verifies(&job.spec),
        outcome: TaskOutcome::Open,
        lease: None,
        attempt: 0,
        failures: 0,
        claimed: false,
        manifests: Vec::new(),
        queued_at: Some(now.at),
        refused_by: None,
        last_error: String::new(),
        bytes_planned: 0,
        bytes_copied: 0,
        created: now,
        started: None,
        clean_up: CleanUp::NotNeeded,
        late_until: Time(0),
        late_ends: 0,
        attempts: Vec::new(),
    })
}

/// Leases a queued task to a worker, and charges its job for it.
pub(super) fn assign(desk: &mut Desk<'_>, lease: LeaseRef) -> Result<Outcome, Rejection> {
    worker_takes(desk, lease)?;
    let old = desk.task(lease.task)?;
    if old.attempt.checked_add(1) != Some(lease.attempt) {
        return Err(Rejection::Stale("the task has had another attempt"));
    }
    if old.queued_at.is_none_or(|at| at > desk.now.at) {
        return Err(Rejection::Stale("the task is not in the queue now"));
    }
    let old_job = desk.job(old.job)?;
    if !runs(&old_job, &old) {
        return Err(Rejection::Stale("the job gets no attempts now"));
    }
    if derive::attempts_free(&old_job) == Some(0) {
        return Err(Rejection::Stale("as many attempts of the job run as may at once"));
    }
    let mut job = old_job.clone();
    let mut task = old.clone();
    task.queued_at = None;
    task.attempt = lease.attempt;
    task.started = old.started.or(Some(desk.now));
    task.lease =
        Some(Lease { worker: lease.worker, incarnation: lease.incarnation, attempt: lease.attempt, since: desk.now });
    desk.put_task(Some(&old), task, &mut job);
    desk.cluster.pass = desk.cluster.pass.max(job.pass);
    job.pass = job.pass.saturating_add(stride(&job));
    desk.put_job(Some(&old_job), job);
    Ok(Outcome::Assigned(lease.task))
}

/// What one attempt costs a job in the dispatch order.
pub(crate) fn stride(job: &Job) -> u64 {
    limits::STRIDE / (u64::from(job.spec.options.priority) + 1)
}

fn worker_takes(desk: &Desk<'_>, lease: LeaseRef) -> Result<(), Rejection> {
    let worker = desk.worker(lease.worker)?;
    if worker.incarnation != lease.incarnation {
        return Err(Rejection::Stale("the worker was started anew"));
    }
    if worker.state != WorkerState::Active || worker.draining {
        return Err(Rejection::Stale("the worker gets no tasks now"));
    }
    if worker.leased >= worker.slots {
        return Err(Rejection::Stale("the worker has no free slot"));
    }
    Ok(())
}

fn runs(job: &Job, task: &Task) -> bool {
    match job.state {
        JobState::Executing => !job.paused,
        JobState::Failed { .. } | JobState::Canceled { .. } => derive::cleans_up(job) && task.clean_up == CleanUp::Due,
        JobState::Draft { .. } | JobState::Pending | JobState::Completed { .. } | JobState::Collecting => false,
    }
}

/// An attempt, and its job; rejected unless it holds its task's lease.
pub(super) fn held(desk: &Desk<'_>, lease: LeaseRef) -> Result<(Task, Job), Rejection> {
    let task = desk.task(lease.task)?;
    check_held(&task, lease)?;
    let job = desk.job(task.job)?;
    Ok((task, job))
}

/// Refuses an attempt that does not hold the lease of its task.
pub(super) fn check_held(task: &Task, lease: LeaseRef) -> Result<(), Rejection> {
    let holds = task.lease.is_some_and(|held| {
        (held.worker, held.incarnation, held.attempt) == (lease.worker, lease.incarnation, lease.attempt)
    });
    if holds { Ok(()) } else { Err(not_held(lease, "another attempt has it, or none")) }
}

pub(super) fn not_held(lease: LeaseRef, reason: &'static str) -> Rejection {
    Rejection::LeaseNotHeld { task: lease.task, attempt: lease.attempt, reason }
}

/// From now on the task's target keys are the job's to clean up, and follow from the manifests as this attempt read them;
/// what only verifies takes none.
pub(super) fn claim(
    desk: &mut Desk<'_>,
    lease: LeaseRef,
    bytes_planned: u64,
    manifests: &[ManifestPin],
) -> Result<Outcome, Rejection> {
    let (old, old_job) = held(desk, lease)?;
    if old_job.state != JobState::Executing {
        return Err(not_held(lease, "its job is over"));
    }
    let mut job = old_job.clone();
    let mut task = Task { bytes_planned: bytes_planned.max(old.bytes_copied), ..old.clone() };
    if !old.verifies {
        check_manifests(&old, manifests)?;
        (task.claimed, task.manifests) = (true, manifests.to_vec());
    }
    bytes_fit(&job, &old, &task)?;
    desk.put_task(Some(&old), task, &mut job);
    desk.put_job(Some(&old_job), job);
    Ok(Outcome::Done)
}

/// A claim names one manifest for each segment, and after the first one the same manifests as that.
fn check_manifests(task: &Task, manifests: &[ManifestPin]) -> Result<(), Rejection> {
    let (given, segments) = (manifests.len(), task.segments.len());
    if given != segments {
        return Err(invalid("manifests", format!("are {given} for {segments} segments: claim with one for each")));
    }
    let mut pins = task.manifests.iter().zip(manifests).enumerate();
    let Some((index, (pinned, found))) = pins.find(|(_, (pinned, found))| pinned != found) else { return Ok(()) };
    let segment = task.segments.get(index).map(|segment| segment.mapping.source).unwrap_or_default();
    Err(Rejection::ManifestAltered { task: task.id, segment, pinned: *pinned, found: *found })
}

/// Progress only grows, and never beyond what was planned.
pub(super) fn progress(desk: &mut Desk<'_>, lease: LeaseRef, bytes_copied: u64) -> Result<Outcome, Rejection> {
    let (old, old_job) = held(desk, lease)?;
    if old_job.state != JobState::Executing {
        if old.clean_up == CleanUp::Due {
            return Ok(Outcome::Done);
        }
        return Err(not_held(lease, "its job is over"));
    }
    let mut job = old_job.clone();
    let bytes_copied = bytes_copied.min(old.bytes_planned).max(old.bytes_copied);
    let task = Task { bytes_copied, ..old.clone() };
    desk.put_task(Some(&old), task, &mut job);
    desk.put_job(Some(&old_job), job);
    Ok(Outcome::Done)
}

/// Refuses byte counts that no job can have, so that the counters of a job stay exact.
pub(super) fn bytes_fit(job: &Job, old: &Task, new: &Task) -> Result<(), Rejection> {
    let fits = |total: u64, old: u64, new: u64| total.saturating_sub(old).checked_add(new).is_some();
    let planned = fits(job.counts.bytes_planned, old.bytes_planned, new.bytes_planned);
    if planned && fits(job.counts.bytes_copied, old.bytes_copied, new.bytes_copied) {
        return Ok(());
    }
    Err(invalid("bytes", "are more than a job can count: report the bytes of the task's own files"))
}
