//! The revision replay of each job: one state at one revision whichever node tells it, and only legal moves from one
//! revision to the next.

use super::trace::{Sighting, Trace};
use super::violation::Violation;
use crate::traffic::facts::JobFact;
use crate::traffic::history::is_live;
use ferry_proto::v1::{CleanupState, JobState};

const CHECKER: &str = "jobs";

/// Every job by itself, and against its submit.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for sightings in trace.jobs.values() {
        violations.extend(sightings.first().and_then(|first| asked_for(trace, first)));
        violations.extend(sightings.iter().find_map(in_itself));
        violations.extend(sightings.windows(2).find_map(|pair| moved(&pair[0], &pair[1])));
    }
    violations
}

/// Somebody submitted just this.
fn asked_for(trace: &Trace<'_>, first: &Sighting<'_>) -> Option<Violation> {
    let job = first.job;
    let wrong = match trace.submissions.get(&job.request_id) {
        None => format!("job {} comes from request id {:?}, which nobody submitted", job.job_id, job.request_id),
        Some(submission) if submission.description != job.description => {
            format!("job {} is not what was submitted as {submission:?}", job.job_id)
        }
        Some(_) => return None,
    };
    Some(Violation::new(CHECKER, wrong, &[first.operation]))
}

/// One answer contradicts itself.
fn in_itself(sighting: &Sighting<'_>) -> Option<Violation> {
    let job = sighting.job;
    let ended = !is_live(job.state);
    let all: i64 = job.tasks.iter().sum();
    let wrong = if job.state == JobState::Completed {
        let whole = job.copied_segments == job.total_segments && job.tasks[2] == all && job.progress_percent == 100;
        (!whole).then_some("is Completed, but not all of it is copied")
    } else if ended && (job.completed_at_ms == 0 || job.reason.is_empty()) {
        Some("has ended without time or reason")
    } else if !ended && (job.completed_at_ms != 0 || job.cleanup != CleanupState::NotNeeded) {
        Some("lives, but has an end or a clean-up")
    } else if ended && (job.tasks[0] != 0 || job.tasks[1] != 0) {
        Some("has ended, but tasks of it have not")
    } else if job.copied_segments > job.total_segments || job.copied_bytes > job.total_bytes {
        Some("has copied more than there is")
    } else {
        None
    };
    wrong.map(|wrong| Violation::new(CHECKER, format!("job {} {wrong}", job.job_id), &[sighting.operation]))
}

/// From one sighting to the next: at the same revision the same, at a later one further.
fn moved(one: &Sighting<'_>, other: &Sighting<'_>) -> Option<Violation> {
    let sentence = if one.revision == other.revision {
        if one.job == other.job {
            return None;
        }
        format!("job {} was told in two ways at revision {}", one.job.job_id, one.revision)
    } else {
        let what = backwards(one.job, other.job)?;
        let (id, from, to) = (one.job.job_id, one.revision, other.revision);
        format!("{what} of job {id} went wrong between revisions {from} and {to}")
    };
    Some(Violation::new(CHECKER, sentence, &[one.operation, other.operation]))
}

/// What moved where it cannot move.
fn backwards(one: &JobFact, other: &JobFact) -> Option<&'static str> {
    let fixed = |job: &JobFact| (job.description, job.source, job.total_segments, job.submitted_at_ms);
    let once_set = |one: u64, other: u64| one == 0 || one == other;
    let ended = !is_live(one.state);
    let rules = [
        ("the description", fixed(one) == fixed(other) && one.request_id == other.request_id),
        ("the state", may_follow(one.state, other.state)),
        ("the beginning", once_set(one.started_at_ms, other.started_at_ms)),
        ("the end", once_set(one.completed_at_ms, other.completed_at_ms) && (!ended || one.reason == other.reason)),
        ("the count of segments", one.copied_segments <= other.copied_segments),
        ("the count of rows", one.total_rows <= other.total_rows),
        ("the count of bytes", one.copied_bytes <= other.copied_bytes),
        ("the count of completed tasks", one.tasks[2] <= other.tasks[2]),
        ("the progress", one.progress_percent <= other.progress_percent),
        ("the duration", one.duration_ms <= other.duration_ms && (!ended || one.duration_ms == other.duration_ms)),
        ("the clean-up", clean_up_may_follow(one.cleanup, other.cleanup)),
        ("an option after the end", !ended || live_options(one) == live_options(other)),
    ];
    rules.into_iter().find(|(_, holds)| !holds).map(|(what, _)| what)
}

fn live_options(job: &JobFact) -> (bool, i32, u64) {
    (job.paused, job.priority, job.bandwidth)
}

fn may_follow(one: JobState, other: JobState) -> bool {
    match one {
        JobState::Unspecified => false,
        JobState::Pending => other != JobState::Unspecified,
        JobState::Executing => !matches!(other, JobState::Unspecified | JobState::Pending),
        JobState::Completed | JobState::Failed | JobState::Canceled => one == other,
    }
}

fn clean_up_may_follow(one: CleanupState, other: CleanupState) -> bool {
    match one {
        CleanupState::Unspecified => false,
        // Waiting and running take turns; what is done or given up stays so.
        CleanupState::NotNeeded | CleanupState::Pending | CleanupState::Running | CleanupState::Kept => {
            other != CleanupState::Unspecified
        }
        CleanupState::Done | CleanupState::LeftOver => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Sample, job, only};
    use super::*;
    use JobState::{Canceled, Completed, Executing, Failed, Pending};

    /// The job as it was told at revisions 10, 20, 30, ...
    fn told(facts: Vec<JobFact>) -> Vec<Violation> {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        for (fact, at) in facts.into_iter().zip(1..) {
            sample.saw((at * 10, at * 10 + 1), at * 10, fact);
        }
        check(&sample.trace())
    }

    #[test]
    fn a_life_without_contradiction_is_accepted() {
        let half = JobFact { copied_segments: 1, progress_percent: 50, tasks: [0, 1, 0, 0], ..job(Executing) };
        assert_eq!(told(vec![job(Pending), job(Executing), half, job(Completed), job(Completed)]), []);
    }

    #[test]
    fn illegal_moves_of_the_state_are_noticed() {
        for (from, to) in [(Executing, Pending), (Canceled, Executing), (Completed, Failed), (Failed, Canceled)] {
            let (one, other) = (job(from), JobFact { tasks: job(from).tasks, ..job(to) });
            let violations = told(vec![ended(one), ended(other)]);
            assert!(violations.iter().any(|it| it.sentence.starts_with("the state of job")), "{from:?} {to:?}");
        }
    }

    /// With the task counts of its state.
    fn ended(fact: JobFact) -> JobFact {
        let tasks = match fact.state {
            Failed | Canceled => [0, 0, 0, 1],
            Completed => [0, 0, 1, 0],
            JobState::Unspecified | Pending | Executing => [1, 0, 0, 0],
        };
        JobFact { tasks, ..fact }
    }

    #[test]
    fn two_stories_at_one_revision_are_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((10, 11), 10, job(Executing));
        sample.saw((12, 13), 10, JobFact { copied_bytes: 1, total_bytes: 1, ..job(Executing) });
        only(&check(&sample.trace()), "told in two ways at revision 10");
    }

    #[test]
    fn counts_that_shrink_and_ends_that_change_are_noticed() {
        let more = JobFact { copied_bytes: 9, total_bytes: 9, ..job(Executing) };
        only(&told(vec![more, JobFact { total_bytes: 9, ..job(Executing) }]), "the count of bytes");
        let failed = ended(job(Failed));
        only(&told(vec![failed.clone(), JobFact { reason: "another".into(), ..failed.clone() }]), "the end of job");
        only(&told(vec![failed.clone(), JobFact { paused: true, ..failed.clone() }]), "an option after the end");
        let done = JobFact { cleanup: CleanupState::Done, ..failed.clone() };
        only(&told(vec![done, JobFact { cleanup: CleanupState::Running, ..failed }]), "the clean-up");
    }

    #[test]
    fn a_job_that_is_published_in_part_is_noticed() {
        only(&told(vec![JobFact { copied_segments: 1, ..job(Completed) }]), "not all of it is copied");
    }

    #[test]
    fn a_job_that_nobody_submitted_or_that_differs_is_noticed() {
        only(&told(vec![JobFact { request_id: "nobody's".into(), job_id: 1, ..job(Executing) }]), "nobody submitted");
        only(&told(vec![JobFact { description: 7, job_id: 1, ..job(Executing) }]), "is not what was submitted");
    }
}
