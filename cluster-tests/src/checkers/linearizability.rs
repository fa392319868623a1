//! A second opinion that knows no revisions: for a sample of jobs, is there any order of the operations, true to their
//! call and return times, in which a job would have answered just so? (Wing and Gong, with Lowe's memory of states.)

use super::trace::Trace;
use super::violation::Violation;
use crate::traffic::history::{Operation, Promise, Request};
use ferry_proto::v1::JobState;
use std::collections::HashSet;

const CHECKER: &str = "linearizability";
/// Events of one job that are looked at: what is placed is kept as bits.
const EVENTS_MAX: usize = 120;
/// Steps for one job before it counts as undecided.
const STEPS_MAX: u64 = 200_000;
/// Jobs that are looked at, those with the most operations.
const JOBS_MAX: usize = 400;

/// A job as this checker models it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    phase: Phase,
    paused: bool,
    priority: i32,
    bandwidth: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Live,
    Completed,
    Failed,
    Canceled,
}

/// What an operation does to a job, or what it saw.
#[derive(Debug, Clone, Copy)]
enum Step {
    Saw(State),
    Cancels,
    Pauses(bool),
    Updates(Option<i32>, Option<u64>),
    /// A change was refused because the job had ended; `true`: and not by being canceled.
    Refused(bool),
    /// Workers or time end the job.
    Ends(Phase),
}

/// A step between two moments.
#[derive(Clone, Copy)]
struct Event<'a> {
    step: Step,
    called_us: u64,
    /// Never, where the outcome is unknown: then it need not happen at all.
    returned_us: u64,
    operation: Option<&'a Operation>,
}

/// What was found.
pub(crate) struct Opinion {
    /// Jobs without any order that explains their answers.
    pub(crate) violations: Vec<Violation>,
    /// Jobs for which an order was found.
    pub(crate) explained: usize,
    /// Jobs that would have taken too long.
    pub(crate) undecided: usize,
}

/// Looks for an order for each job of a sample.
pub(crate) fn check(trace: &Trace<'_>) -> Opinion {
    let mut jobs: Vec<(usize, i64)> = trace.jobs.iter().map(|(job, told)| (told.len(), *job)).collect();
    jobs.sort_unstable_by(|one, other| other.cmp(one));
    let mut opinion = Opinion { violations: Vec::new(), explained: 0, undecided: 0 };
    for (_, job) in jobs.into_iter().take(JOBS_MAX) {
        let Some((first, events)) = events(trace, job) else { continue };
        // Where nothing was answered, anything explains it.
        if events.iter().all(|event| event.returned_us == u64::MAX) {
            continue;
        }
        match search(first, &events) {
            Verdict::Explained => opinion.explained += 1,
            Verdict::Undecided => opinion.undecided += 1,
            Verdict::Impossible(deepest) => {
                let sentence = format!("no order of the calls explains what was answered about job {job}");
                let stuck: Vec<&Operation> = deepest.iter().filter_map(|index| events[*index].operation).collect();
                opinion.violations.push(Violation::new(CHECKER, sentence, &stuck[..stuck.len().min(3)]));
            }
        }
    }
    opinion
}

/// The operations of a job as steps, and its state when it was submitted.
fn events<'a>(trace: &Trace<'a>, job: i64) -> Option<(State, Vec<Event<'a>>)> {
    let options = trace.submission(job)?.request.options.as_ref()?;
    let first = State {
        phase: Phase::Live,
        paused: options.start_paused,
        priority: options.priority.unwrap_or(0),
        bandwidth: options.bandwidth_bytes_per_second,
    };
    let mut events: Vec<Event<'a>> = Vec::new();
    for operation in trace.operations.iter().filter(|operation| concerns(operation, job)) {
        let returned_us = if operation.is_unknown() { u64::MAX } else { operation.returned_us };
        let event = |step| Event { step, called_us: operation.called_us, returned_us, operation: Some(operation) };
        // The answer of a change was read after it, and others may have come in between: a look of its own.
        events.extend(change(operation).map(event));
        events.extend(look(operation, job).map(event));
    }
    events.sort_by_key(|event| event.called_us);
    cut(&mut events);
    let ends = |phase| Event { step: Step::Ends(phase), called_us: 0, returned_us: u64::MAX, operation: None };
    events.extend([ends(Phase::Completed), ends(Phase::Failed)]);
    Some((first, events))
}

/// The beginning of a history is a history: what was not over by then may have happened by then, or not.
fn cut(events: &mut Vec<Event<'_>>) {
    let Some(cut_us) = events.get(EVENTS_MAX).map(|event| event.called_us) else { return };
    events.retain(|event| event.called_us < cut_us && (event.returned_us < cut_us || is_change(event.step)));
    for event in events.iter_mut().filter(|event| event.returned_us >= cut_us) {
        event.returned_us = u64::MAX;
    }
}

fn is_change(step: Step) -> bool {
    match step {
        Step::Cancels | Step::Pauses(_) | Step::Updates(..) | Step::Ends(_) => true,
        Step::Saw(_) | Step::Refused(_) => false,
    }
}

/// Whether an operation asked for this one job, in a way that promises an order.
fn concerns(operation: &Operation, job: i64) -> bool {
    let about = match operation.request {
        Request::GetJob(id)
        | Request::Cancel(id)
        | Request::Pause(id)
        | Request::Resume(id)
        | Request::Update { job: id, .. } => id == job,
        _ => false,
    };
    about && matches!(operation.promise, Promise::Write | Promise::Linearizable)
}

fn change(operation: &Operation) -> Option<Step> {
    if !operation.is_ok() && !operation.is_unknown() {
        return None;
    }
    match operation.request {
        Request::Cancel(_) => Some(Step::Cancels),
        Request::Pause(_) => Some(Step::Pauses(true)),
        Request::Resume(_) => Some(Step::Pauses(false)),
        Request::Update { priority, bandwidth, .. } => Some(Step::Updates(priority, bandwidth)),
        _ => None,
    }
}

fn look(operation: &Operation, job: i64) -> Option<Step> {
    if operation.is_wrong_state() {
        return Some(Step::Refused(matches!(operation.request, Request::Cancel(_))));
    }
    let fact = operation.jobs().find(|fact| fact.job_id == job)?;
    let phase = match fact.state {
        JobState::Completed => Phase::Completed,
        JobState::Failed => Phase::Failed,
        JobState::Canceled => Phase::Canceled,
        JobState::Unspecified | JobState::Pending | JobState::Executing => Phase::Live,
    };
    Some(Step::Saw(State { phase, paused: fact.paused, priority: fact.priority, bandwidth: fact.bandwidth }))
}

impl State {
    /// The state after a step; none where the step cannot be taken here.
    fn after(self, step: Step) -> Option<Self> {
        let lives = self.phase == Phase::Live;
        match step {
            Step::Saw(seen) => (seen == self).then_some(self),
            Step::Cancels if lives || self.phase == Phase::Canceled => Some(Self { phase: Phase::Canceled, ..self }),
            Step::Pauses(paused) if lives => Some(Self { paused, ..self }),
            Step::Updates(priority, bandwidth) if lives => Some(Self {
                priority: priority.unwrap_or(self.priority),
                bandwidth: bandwidth.unwrap_or(self.bandwidth),
                ..self
            }),
            Step::Refused(of_cancel) => {
                let fits = if of_cancel { matches!(self.phase, Phase::Completed | Phase::Failed) } else { !lives };
                fits.then_some(self)
            }
            Step::Ends(phase) if lives => Some(Self { phase, ..self }),
            Step::Cancels | Step::Pauses(_) | Step::Updates(..) | Step::Ends(_) => None,
        }
    }
}

/// What a search came to.
enum Verdict {
    Explained,
    Undecided,
    /// The events that could not be placed where the search came furthest.
    Impossible(Vec<usize>),
}

/// Tries orders, depth first; places and states that were tried are not tried again.
fn search(first: State, events: &[Event<'_>]) -> Verdict {
    let needed: u128 = bits(events.iter().enumerate().filter(|(_, event)| event.returned_us != u64::MAX));
    let mut open = vec![(0_u128, first)];
    let mut tried = HashSet::new();
    let (mut furthest, mut stuck) = (0, Vec::new());
    for _ in 0..STEPS_MAX {
        let Some((mut done, state)) = open.pop() else { return Verdict::Impossible(stuck) };
        let mut next = candidates(events, done);
        // A look that fits changes nothing, so it may as well be taken at once.
        while let Some(fits) = next.iter().copied().find(|at| is_look_that_fits(&events[*at], state)) {
            done |= 1 << fits;
            next = candidates(events, done);
        }
        if done & needed == needed {
            return Verdict::Explained;
        }
        if done.count_ones() >= furthest {
            furthest = done.count_ones();
            stuck = next.iter().copied().filter(|at| needed & (1 << at) != 0).collect();
        }
        if tried.insert((done, state)) {
            let steps = next.into_iter().filter_map(|at| Some((done | 1 << at, state.after(events[at].step)?)));
            open.extend(steps);
        }
    }
    Verdict::Undecided
}

fn bits<'a>(events: impl Iterator<Item = (usize, &'a Event<'a>)>) -> u128 {
    events.fold(0, |bits, (at, _)| bits | 1 << at)
}

fn is_look_that_fits(event: &Event<'_>, state: State) -> bool {
    !is_change(event.step) && state.after(event.step).is_some()
}

/// What may come next: whatever began before the first end of what is still to come.
fn candidates(events: &[Event<'_>], done: u128) -> Vec<usize> {
    let left = || events.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
    let first_end = left().map(|(_, event)| event.returned_us).min().unwrap_or(u64::MAX);
    left().filter(|(_, event)| event.called_us <= first_end).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{JOB, Sample, job, only};
    use super::*;
    use crate::traffic::facts::JobFact;
    use crate::traffic::history::Answer;
    use ferry_proto::v1::JobState::{Canceled, Completed, Executing};
    use tonic::Code;

    fn paused(paused: bool) -> JobFact {
        JobFact { paused, ..job(Executing) }
    }

    #[test]
    fn concurrent_calls_that_some_order_explains_are_accepted() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.pause(1, 10, 40, 7);
        sample.saw((15, 20), 0, paused(true));
        sample.saw((16, 45), 0, paused(false));
        sample.saw((50, 60), 0, paused(true));
        sample.saw((70, 80), 0, JobFact { paused: true, ..job(Completed) });
        let opinion = check(&sample.trace());
        assert_eq!((opinion.violations, opinion.explained, opinion.undecided), (Vec::new(), 1, 0));
    }

    #[test]
    fn a_read_that_misses_an_acknowledged_change_is_noticed_without_any_revision() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.pause(1, 10, 20, 0);
        sample.saw((30, 40), 0, paused(false));
        only(&check(&sample.trace()).violations, "no order of the calls");
    }

    #[test]
    fn a_change_of_unknown_outcome_may_happen_late_but_only_once() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.pause(1, 10, 20, 0);
        sample.unknown();
        sample.saw((30, 40), 0, paused(false));
        sample.saw((50, 60), 0, paused(true));
        assert_eq!(check(&sample.trace()).violations, []);
        sample.add(1, Request::Resume(JOB), (70, 80), 0, Answer::Job(paused(false)));
        sample.saw((90, 100), 0, paused(true));
        only(&check(&sample.trace()).violations, "no order of the calls");
    }

    #[test]
    fn a_cancel_that_was_acknowledged_and_a_later_completion_are_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.add(1, Request::Cancel(JOB), (10, 20), 0, Answer::Job(job(Canceled)));
        sample.saw((30, 40), 0, job(Completed));
        only(&check(&sample.trace()).violations, "no order of the calls");
    }

    #[test]
    fn a_refusal_of_a_job_that_lives_on_is_noticed() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        sample.pause(1, 10, 20, 0);
        sample.refused(Code::FailedPrecondition);
        sample.saw((30, 40), 0, paused(false));
        only(&check(&sample.trace()).violations, "no order of the calls");
    }

    #[test]
    fn hundreds_of_operations_are_decided() {
        let mut sample = Sample::new();
        sample.submitted((0, 1), 5);
        for at in 1..300 {
            sample.add(1, Request::Pause(JOB), (at * 10, at * 10 + 35), 0, Answer::Job(paused(true)));
            sample.add(2, Request::Resume(JOB), (at * 10, at * 10 + 35), 0, Answer::Job(paused(false)));
        }
        let opinion = check(&sample.trace());
        assert_eq!((opinion.violations, opinion.explained, opinion.undecided), (Vec::new(), 1, 0));
    }
}
