//! A job's counters equal its rows, and each of its mappings is in exactly one of its tasks.

use super::{Findings, Rows, View, come, tasks};
use crate::derive;
use crate::id::{SegmentId, TaskId};
use crate::key::Key;
use crate::read;
use crate::row::{FailurePolicy, Job, JobState, JobTotals, Mapping, Row, Settle};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for (key, row) in Rows::jobs(view.read) {
        if let Row::Job(job) = row
            && job.state != JobState::Collecting
        {
            check_life(view, &job, &key, findings);
            check_rows(view, &job, &key, findings);
        }
    }
    for (key, row) in Rows::tasks(view.read) {
        let Row::Task(task) = row else {
            findings.add(key, "is no task");
            continue;
        };
        findings.expect(key == Key::Task(task.id), &key, "has the row of another task");
        match read::job(view.read, task.job) {
            Some(job) => tasks::check(view, &job, &task, &key, findings),
            None => findings.add(key, "belongs to a job that is gone"),
        }
    }
}

/// What must hold in a job's own row.
fn check_life(view: &View<'_>, job: &Job, key: &Key, findings: &mut Findings) {
    let planned = derive::tasks_planned(&job.spec);
    let created = job.counts.tasks_created;
    let draft = matches!(job.state, JobState::Draft { .. });
    findings.expect(come(view, job.submitted.at), key, "was submitted in the future");
    findings.expect(derive::ended(job).is_none_or(|ended| come(view, ended.at)), key, "ended in the future");
    findings.expect(draft || job.mappings == job.spec.segments, key, "lacks mappings");
    let own = |task: TaskId| (job.first_task.0..).contains(&task.0) && read::task(view.read, task).is_some();
    findings.expect(job.paused_by.is_none_or(own), key, "was paused by a task that it does not have");
    findings.expect(job.paused || job.paused_by.is_none(), key, "goes on although a task paused it");
    findings.expect(job.failed_by.is_none_or(own), key, "failed by a task that it does not have");
    let told = job.failed_by.is_none() || derive::verifies(&job.spec);
    findings.expect(told, key, "names a failed task, and ended with it");
    match job.state {
        JobState::Draft { .. } => findings.expect(created == 0, key, "is a draft with tasks"),
        JobState::Pending => findings.expect(created < planned, key, "is pending although all its tasks exist"),
        JobState::Executing => {
            findings.expect(created == planned, key, "executes although some of its tasks do not exist");
            let ended = job.counts.tasks_completed + job.counts.tasks_failed;
            findings.expect(ended < planned, key, "executes although all its tasks have ended");
            let goes_on = derive::verifies(&job.spec) || job.counts.tasks_failed == 0;
            findings.expect(goes_on, key, "executes although a task failed");
        }
        JobState::Completed { .. } => {
            findings.expect(job.counts.tasks_completed == planned, key, "completed before all its tasks");
        }
        JobState::Failed { .. } | JobState::Canceled { .. } | JobState::Collecting => {}
    }
    findings.expect(
        job.settle != Settle::Metadata || derive::never_completes(job),
        key,
        "deletes its snapshot metadata",
    );
    let may_keep = matches!(job.state, JobState::Failed { .. }) && job.spec.options.on_failure == FailurePolicy::Keep;
    findings.expect(job.settle != Settle::Kept || may_keep, key, "keeps what it copied, and nobody wanted that");
    check_snapshot_id(view, job, key, findings);
    if derive::ended(job).is_none() {
        let begin = Settle::Segments { after: SegmentId(0) };
        findings.expect(job.settle == begin, key, "is being settled although it has not ended");
    }
    let in_sequence = job.first_task.0.saturating_add_unsigned(planned) <= view.cluster.next_id;
    findings.expect(draft || in_sequence, key, "has task ids that were never given out");
    let request = read::request(view.read, &job.request_id);
    findings.expect(request.is_some_and(|request| request.job == job.id), key, "is not found by its request id");
}

/// A copy's snapshot has an id of its own; what only verifies has that of the copy.
fn check_snapshot_id(view: &View<'_>, job: &Job, key: &Key, findings: &mut Findings) {
    let submitted = !matches!(job.state, JobState::Draft { .. }) && job.spec.segments > 0;
    let reserved = (view.cluster.id_start..view.cluster.next_id).contains(&job.snapshot_id);
    let holds = match (submitted, derive::verifies(&job.spec)) {
        (true, true) => job.snapshot_id == job.spec.snapshot_id,
        (true, false) => reserved,
        (false, _) => job.snapshot_id == 0,
    };
    findings.expect(holds, key, "has a snapshot id that is not its own");
}

/// Walks over the tasks and the targets of a job side by side.
fn check_rows(view: &View<'_>, job: &Job, key: &Key, findings: &mut Findings) {
    let mut targets = targets_of(view, job);
    let mut counted = JobTotals::default();
    let (mut remaining, mut left_over, mut covered) = (0, 0, 0);
    let mut cursor = SegmentId(0);
    for (task_key, row) in Rows::new(view.read, Key::Task(job.first_task), Key::Task(read::tasks_end(job))) {
        let Row::Task(task) = row else { continue };
        findings.expect(task.job == job.id, &task_key, "is a task of another job");
        for segment in &task.segments {
            let own = (segment.target, segment.mapping);
            findings.expect(targets.next() == Some(own), &task_key, "does not go on where the last one ended");
            covered += 1;
            cursor = segment.target;
        }
        counted = derive::totals_moved(counted, JobTotals::default(), derive::totals_of(&task));
        let (due, over) = derive::clean_ups_of(&task);
        remaining += due;
        left_over += over;
    }
    let mappings = covered + targets.count() as u64;
    findings.equal(key, "the number of its mappings", &job.mappings, &mappings);
    findings.equal(key, "the end of its tasks", &job.task_cursor, &cursor);
    findings.equal(key, "counters", &job.counts, &counted);
    findings.equal(key, "clean-ups", &(job.clean_up_remaining, job.clean_up_left_over), &(remaining, left_over));
}

/// The targets that a job lists, with where each comes from.
fn targets_of<'a>(view: &View<'a>, job: &Job) -> impl Iterator<Item = (SegmentId, Mapping)> + use<'a> {
    let runs = Rows::mappings_of(view.read, job.id).filter_map(|entry| {
        let (Key::JobTargets(_, last), Row::Mappings(mappings)) = entry else { return None };
        Some(read::targets_of_run(last, mappings))
    });
    runs.flatten()
}
