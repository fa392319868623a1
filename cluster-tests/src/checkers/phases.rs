//! Jobs, targets and tasks tell one story: a target is visible exactly when its job is Completed, all of a job's at
//! once, and the first end of a job is its only one.

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::Fate;
use crate::traffic::history::{Answer, Operation, Request};
use ferry_proto::v1::{JobState, SegmentState, TaskState};
use std::collections::BTreeMap;

const CHECKER: &str = "phases";
/// Clocks are read in milliseconds.
const CLOCK_SLACK_US: u64 = 50_000;

/// What a job may be, as far as one answer tells: any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phases(u8);

const LIVE: Phases = Phases(1);
const COMPLETED: Phases = Phases(2);
const FAILED: Phases = Phases(4);
const CANCELED: Phases = Phases(8);
const DROPPED: Phases = Phases(4 | 8);
const NOT_CANCELED: Phases = Phases(2 | 4);
const ENDED: Phases = Phases(2 | 4 | 8);

impl Phases {
    fn of(state: JobState) -> Self {
        match state {
            JobState::Unspecified => Self(0),
            JobState::Pending | JobState::Executing => LIVE,
            JobState::Completed => COMPLETED,
            JobState::Failed => FAILED,
            JobState::Canceled => CANCELED,
        }
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// One answer's word about one job.
struct Word<'a> {
    revision: u64,
    phases: Phases,
    operation: &'a Operation,
}

/// Every job's words in the order of their revisions.
pub(crate) fn check(trace: &Trace<'_>) -> Vec<Violation> {
    let mut words: BTreeMap<i64, Vec<Word<'_>>> = BTreeMap::new();
    for operation in trace.operations {
        let Some(revision) = operation.revision else { continue };
        for (job, phases) in told(operation) {
            words.entry(job).or_default().push(Word { revision, phases, operation });
        }
    }
    let mut violations = Vec::new();
    for (job, mut words) in words {
        words.sort_by_key(|word| word.revision);
        violations.extend(contradiction(job, &words));
        violations.extend(unasked(trace, job, &words));
    }
    violations.extend(trace.operations.iter().filter_map(|operation| incomplete(trace, operation)));
    violations
}

fn told(operation: &Operation) -> Vec<(i64, Phases)> {
    let jobs = operation.jobs().map(|job| (job.job_id, Phases::of(job.state)));
    let segments = operation.segments().iter().map(|segment| {
        let phases = match segment.state {
            SegmentState::Unspecified => Phases(0),
            SegmentState::Importing => LIVE,
            SegmentState::Flushed => COMPLETED,
            SegmentState::Dropped => DROPPED,
        };
        (segment.job_id, phases)
    });
    let tasks = operation.tasks().iter().filter_map(|task| match task.state {
        TaskState::Unspecified => Some((task.job_id, Phases(0))),
        TaskState::Pending | TaskState::InProgress => Some((task.job_id, LIVE)),
        TaskState::Failed => Some((task.job_id, DROPPED)),
        TaskState::Completed => None,
    });
    let refused = match operation.request {
        Request::Cancel(job) if operation.is_wrong_state() => Some((job, NOT_CANCELED)),
        Request::Pause(job) | Request::Resume(job) | Request::Update { job, .. } if operation.is_wrong_state() => {
            Some((job, ENDED))
        }
        _ => None,
    };
    jobs.chain(segments).chain(tasks).chain(refused).collect()
}

/// Live until some revision, then one and the same end for ever.
fn contradiction(job: i64, words: &[Word<'_>]) -> Option<Violation> {
    let mut end: Option<(Phases, &Word<'_>)> = None;
    for (index, word) in words.iter().enumerate() {
        let same_moment = words[..index].iter().rev().take_while(|other| other.revision == word.revision);
        let live_now = same_moment.into_iter().find(|other| other.phases == LIVE && word.phases != LIVE);
        let before = end.map_or(Phases(15), |(phases, _)| phases);
        let left = before.and(word.phases);
        let against = live_now.or(end.map(|(_, by)| by).filter(|_| left == Phases(0)));
        if let Some(against) = against {
            let sentence = format!(
                "job {job} cannot be what was told of it at revision {} and at revision {}",
                against.revision, word.revision
            );
            return Some(Violation::new(CHECKER, sentence, &[against.operation, word.operation]));
        }
        if left.and(LIVE) == Phases(0) {
            end = Some((left, end.map_or(word, |(phases, by)| if phases == left { by } else { word })));
        }
    }
    None
}

/// The end that a job came to is one that it could come to.
fn unasked(trace: &Trace<'_>, job: i64, words: &[Word<'_>]) -> Option<Violation> {
    let submission = trace.submission(job)?;
    let wrong = |sentence: String, word: &Word<'_>| Some(Violation::new(CHECKER, sentence, &[word.operation]));
    if let Some(word) = words.iter().find(|word| word.phases == CANCELED) {
        let canceled = trace.operations.iter().any(|operation| {
            let asked = operation.request == Request::Cancel(job) && (operation.is_ok() || operation.is_unknown());
            asked && trace.floor(operation) < word.revision && operation.called_us < word.operation.returned_us
        });
        return if canceled { None } else { wrong(format!("job {job} is canceled, but nobody asked for that"), word) };
    }
    let resumed = |us: u64| {
        trace.operations.iter().any(|operation| {
            let resume = operation.request == Request::Resume(job);
            resume && (operation.is_ok() || operation.is_unknown()) && operation.called_us < us
        })
    };
    if let Some(word) = words.iter().find(|word| word.phases == COMPLETED) {
        let could = match submission.fate {
            Fate::Completes => true,
            Fate::Fails | Fate::Refused => false,
            Fate::TimesOut => resumed(word.operation.returned_us),
        };
        return if could { None } else { wrong(format!("job {job} is Completed, which it could not be"), word) };
    }
    let word = words.iter().find(|word| word.phases == FAILED)?;
    let reason = word.operation.jobs().find(|fact| fact.job_id == job)?.reason.clone();
    match submission.fate {
        Fate::Fails => None,
        Fate::TimesOut if &*reason == "timeout" => {
            let submit = trace.submits(&submission.request_id).min_by_key(|submit| submit.called_us)?;
            let due_us = submit.called_us + submission.timeout_ms().unwrap_or(0) * 1_000;
            let early = word.operation.returned_us + CLOCK_SLACK_US < due_us;
            let sentence = format!("job {job} timed out before its time");
            early.then(|| Violation::new(CHECKER, sentence, &[submit, word.operation]))
        }
        Fate::Completes | Fate::TimesOut | Fate::Refused => {
            wrong(format!("job {job} failed, although nothing is wrong with it: {reason}"), word)
        }
    }
}

/// Every target of a job is in the list of its targets.
fn incomplete(trace: &Trace<'_>, operation: &Operation) -> Option<Violation> {
    let Request::ListSegments(job) = operation.request else { return None };
    let Answer::Segments { segments, complete: true } = &operation.answer else { return None };
    let submission = trace.submission(job)?;
    let found = i64::try_from(segments.len()).unwrap_or(i64::MAX);
    let expected = submission.segments;
    let mut mappings: Vec<_> = segments.iter().map(|it| (it.source_segment_id, it.segment_id)).collect();
    mappings.sort_unstable();
    let as_asked = submission.mappings.is_empty() || mappings == submission.mappings;
    let sentence =
        format!("{found} targets are listed of job {job}, which has {expected}, or others than were asked for");
    (found != expected || !as_asked).then(|| Violation::new(CHECKER, sentence, &[operation]))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only, segment, task};
    use super::*;
    use tonic::Code;

    fn targets(sample: &mut Sample, at: u64, states: [SegmentState; 2]) {
        let segments = vec![segment(50, states[0]), segment(51, states[1])];
        let answer = Answer::Segments { segments, complete: true };
        sample.add(1, Request::ListSegments(JOB), (at, at + 1), at, answer);
    }

    #[test]
    fn a_publication_of_all_targets_at_once_is_accepted() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        targets(&mut sample, 10, [SegmentState::Importing; 2]);
        sample.saw((20, 21), 20, job(JobState::Completed));
        targets(&mut sample, 20, [SegmentState::Flushed; 2]);
        assert_eq!(check(&sample.trace()), []);
    }

    #[test]
    fn a_target_that_is_visible_before_the_others_or_before_its_job_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        targets(&mut sample, 10, [SegmentState::Flushed, SegmentState::Importing]);
        only(&check(&sample.trace()), "cannot be what was told of it");
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        targets(&mut sample, 10, [SegmentState::Flushed; 2]);
        sample.saw((20, 21), 20, job(JobState::Executing));
        only(&check(&sample.trace()), "at revision 10 and at revision 20");
    }

    #[test]
    fn a_settle_that_forgets_a_target_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((10, 11), 10, job(JobState::Completed));
        targets(&mut sample, 20, [SegmentState::Flushed, SegmentState::Importing]);
        only(&check(&sample.trace()), "at revision 10 and at revision 20");
    }

    #[test]
    fn a_second_end_is_noticed_even_where_only_refusals_and_tasks_tell_of_it() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.add(1, Request::Cancel(JOB), (2, 3), 6, Answer::Job(job(JobState::Canceled)));
        sample.add(1, Request::Cancel(JOB), (8, 9), 9, Answer::None);
        sample.refused(Code::FailedPrecondition);
        only(&check(&sample.trace()), "at revision 6 and at revision 9");
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((10, 11), 10, job(JobState::Completed));
        let tasks = vec![task(TaskState::Failed, 1)];
        sample.add(1, Request::ListTasks(JOB), (20, 21), 20, Answer::Tasks { tasks, complete: true });
        only(&check(&sample.trace()), "at revision 10 and at revision 20");
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((10, 11), 10, job(JobState::Canceled));
        only(&check(&sample.trace()), "nobody asked for that");
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.saw((10, 11), 10, job(JobState::Failed));
        only(&check(&sample.trace()), "nothing is wrong with it");
    }

    #[test]
    fn a_list_without_one_of_the_targets_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        let answer = Answer::Segments { segments: vec![segment(50, SegmentState::Importing)], complete: true };
        sample.add(1, Request::ListSegments(JOB), (6, 7), 6, answer);
        only(&check(&sample.trace()), "1 targets are listed");
    }
}
