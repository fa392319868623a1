//! A task waits, runs or is done, never two of these, as its own row and its job's state say.

use super::{Findings, View, come};
use crate::derive;
use crate::key::Key;
use crate::limits;
use crate::read;
use crate::row::{CleanUp, Job, JobState, Settle, Task, TaskOutcome, TaskSegment};
use crate::time::Time;

pub(super) fn check(view: &View<'_>, job: &Job, task: &Task, key: &Key, findings: &mut Findings) {
    findings.expect(
        (job.first_task..read::tasks_end(job)).contains(&task.id),
        key,
        "is not among the tasks of its job",
    );
    findings.expect(task.bytes_copied <= task.bytes_planned, key, "copied more bytes than planned");
    let publishes = task.id == derive::publication_of(job);
    findings.expect(publishes || !task.segments.is_empty(), key, "has no segments");
    if publishes {
        check_publication(job, task, key, findings);
    }
    let pinned = if task.claimed { task.segments.len() } else { 0 };
    findings.expect(task.manifests.len() == pinned, key, "has pins of more or fewer manifests than it claimed");
    if let Some(lease) = task.lease {
        findings.expect(lease.attempt == task.attempt, key, "has another attempt than its lease");
        findings.expect(read::worker(view.read, lease.worker).is_some(), key, "is leased to no worker");
    }
    findings.expect(task.verifies == derive::verifies(&job.spec), key, "verifies, or not, against its job");
    findings.expect(!(task.verifies && task.claimed), key, "claimed targets that it only looks at");
    check_place(job, task, key, findings);
    check_attempts(view, task, key, findings);
    check_outcome(view, job, task, key, findings);
}

/// The last of a job's tasks publishes it, and touches nothing before every copy is complete.
fn check_publication(job: &Job, task: &Task, key: &Key, findings: &mut Findings) {
    findings.expect(task.segments.is_empty(), key, "has segments although it publishes");
    let begun = task.queued_at.is_some() || task.started.is_some() || task.claimed;
    findings.expect(!begun || derive::all_copied(job), key, "publishes before every copy is complete");
    let published = matches!(task.outcome, TaskOutcome::Completed { .. });
    let completed = matches!(job.state, JobState::Completed { .. });
    let collecting = job.state == JobState::Collecting;
    findings.expect(collecting || published == completed, key, "is published, or not, against its job's state");
    if !derive::never_completes(job) {
        return;
    }
    let due = task.clean_up == CleanUp::Due;
    findings.expect(due == (job.settle == Settle::Metadata), key, "is not deleted when its turn is");
}

/// In the queue, leased, or neither.
fn check_place(job: &Job, task: &Task, key: &Key, findings: &mut Findings) {
    let (queued, leased) = (task.queued_at.is_some(), task.lease.is_some());
    findings.expect(!(queued && leased), key, "is queued and leased at once");
    let open = task.outcome == TaskOutcome::Open;
    let due = task.clean_up == CleanUp::Due;
    match job.state {
        JobState::Draft { .. } => findings.add(key.clone(), "belongs to a draft"),
        JobState::Pending => findings.expect(queued, key, "is not queued"),
        JobState::Executing => {
            let waits = derive::publishes(task) && !derive::all_copied(job);
            findings.expect((queued || leased) == (open && !waits), key, "is not where its outcome says");
        }
        JobState::Completed { .. } | JobState::Collecting => {
            findings.expect(!queued && !leased, key, "is queued or leased although nothing is left to do");
        }
        JobState::Failed { .. } | JobState::Canceled { .. } => {
            let waits = queued || leased;
            findings.expect(!due || waits, key, "is to be cleaned up, and neither queued nor leased");
            findings.expect(!waits || due || open, key, "is queued or leased although nothing is left to do");
            let settled = job.settle == Settle::Done;
            findings.expect(!(settled && open), key, "is open although its job is settled");
            let early = match job.settle {
                Settle::Kept | Settle::Segments { .. } => due,
                Settle::Metadata => due && !derive::publishes(task),
                Settle::Tasks { .. } | Settle::Done => false,
            };
            findings.expect(!early, key, "is to be cleaned up before its turn");
        }
    }
}

/// What it remembers of its attempts: the latest of those that ended, each of a worker that is known.
fn check_attempts(view: &View<'_>, task: &Task, key: &Key, findings: &mut Findings) {
    let attempts = &task.attempts;
    findings.expect(attempts.len() <= limits::ATTEMPTS_KEPT_PER_TASK, key, "remembers too many attempts");
    findings.expect(attempts.is_sorted_by(|one, next| one.number < next.number), key, "has attempts out of order");
    let running = u32::from(task.lease.is_some());
    let ended = task.attempt.saturating_sub(running);
    findings.expect(attempts.last().is_none_or(|last| last.number <= ended), key, "remembers an attempt to come");
    for attempt in attempts {
        findings.expect(attempt.number > 0, key, "remembers an attempt without a number");
        findings.expect(attempt.started.at <= attempt.ended.at, key, "remembers an attempt that ended before it began");
        findings.expect(come(view, attempt.ended.at), key, "remembers an attempt that ends in the future");
        findings.expect(read::worker(view.read, attempt.worker).is_some(), key, "remembers an attempt of no worker");
    }
}

fn check_outcome(view: &View<'_>, job: &Job, task: &Task, key: &Key, findings: &mut Findings) {
    let ended = derive::ended(job).is_some() || job.state == JobState::Collecting;
    match task.outcome {
        TaskOutcome::Open => {}
        TaskOutcome::Completed { .. } => {
            findings.expect(task.claimed || task.verifies, key, "completed without a claim");
        }
        TaskOutcome::Failed { .. } => findings.expect(ended || task.verifies, key, "failed although its job lives"),
    }
    let completed = matches!(task.outcome, TaskOutcome::Completed { .. });
    let told = task.segments.iter().all(|segment| segment.copied.is_some() == completed);
    findings.expect(told, key, "says of segments that they were copied, or not, against its outcome");
    for TaskSegment { mapping, copied, .. } in &task.segments {
        let Some(copied) = copied else { continue };
        let asked = mapping.partition_id;
        findings.expect(asked == 0 || asked == copied.partition_id, key, "copied a segment to another partition");
        findings.expect(copied.rows >= 0, key, "copied less than no rows");
    }
    let copied = task.segments.iter().filter_map(|segment| segment.copied);
    let bytes = copied.fold(0_u64, |bytes, copied| bytes.saturating_add(copied.bytes));
    findings.expect(bytes <= task.bytes_copied, key, "copied segments of more bytes than it counts");
    let (is_late, counted) = (task.late_until > Time(0), task.late_ends > 0);
    findings.expect(is_late == counted, key, "waits for late writes of no attempt, or not for those of one");
    findings.expect(!is_late || task.claimed, key, "waits for late writes, and never claimed its targets");
    // A store that never answers is given up while something may come: what is left over is told.
    let given_up = task.clean_up == CleanUp::LeftOver && task.late_ends >= limits::LATE_ENDS_MAX;
    let over = matches!(task.clean_up, CleanUp::Done | CleanUp::LeftOver) && !given_up;
    findings.expect(!over || come(view, task.late_until), key, "is cleaned up before its last late write may come");
    let untouched = task.clean_up == CleanUp::NotNeeded;
    let never = matches!(job.state, JobState::Failed { .. } | JobState::Canceled { .. } | JobState::Collecting);
    findings.expect(untouched || (never && task.claimed), key, "is to be cleaned up for no reason");
    if matches!(job.state, JobState::Failed { .. } | JobState::Canceled { .. }) && job.settle == Settle::Done {
        findings.expect(!(untouched && task.claimed), key, "has files that nobody cleans up");
    }
}
