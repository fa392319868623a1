//! What users are told of a job: its transitions follow from its row before and after a command, and from nothing else,
//! so none can be forgotten where the row is changed.

use crate::derive;
use crate::row::{Event, Job, Transition};
use crate::time::Stamp;
use crate::view::{self, CleanUpState, State};

/// What a command's change of a job's row tells, in the order in which it is told: three at most.
pub(crate) fn events(old: Option<&Job>, new: Option<&Job>, at: Stamp) -> Vec<Event> {
    let (old, new) = (old.filter(|job| !derive::hidden(job)), new.filter(|job| !derive::hidden(job)));
    let Some(job) = new.or(old) else { return Vec::new() };
    // A hidden job was filtered out above, so there is a state.
    let Some(state) = view::state(job) else { return Vec::new() };
    let before = old.and_then(view::state).unwrap_or(State::Pending);
    let event = |transition| {
        let state = if comes_first(transition) { before } else { state };
        Event {
            job: job.id,
            transition,
            state,
            at,
            name: job.spec.name.clone(),
            collection_id: job.spec.collection_id,
            reason: if state.terminal() { view::reason(job) } else { String::new() },
        }
    };
    transitions(old, new).into_iter().map(event).collect()
}

/// Whether what the same command may have brought beside it happens only then: a job without segments, which is
/// Completed at once, was submitted before.
fn comes_first(transition: Transition) -> bool {
    match transition {
        Transition::Submitted | Transition::Paused | Transition::Resumed => true,
        Transition::Executing
        | Transition::Completed
        | Transition::Failed
        | Transition::Canceled
        | Transition::CleanedUp
        | Transition::LeftOver
        | Transition::Collected => false,
    }
}

fn transitions(old: Option<&Job>, new: Option<&Job>) -> Vec<Transition> {
    let Some(new) = new else { return old.map(|_| Transition::Collected).into_iter().collect() };
    let submitted = old.is_none().then_some(Transition::Submitted);
    let paused = match (old.is_some_and(|old| old.paused), new.paused) {
        (false, true) => Some(Transition::Paused),
        (true, false) => Some(Transition::Resumed),
        (false, false) | (true, true) => None,
    };
    let state = view::state(new);
    let moved = state.filter(|_| old.and_then(view::state) != state).and_then(into_state);
    let cleaned = end_of_clean_up(new).filter(|_| old.and_then(end_of_clean_up).is_none());
    submitted.into_iter().chain(paused).chain(moved).chain(cleaned).collect()
}

/// The transition into a state; a job is Pending from its submit on.
fn into_state(state: State) -> Option<Transition> {
    match state {
        State::Pending => None,
        State::Executing => Some(Transition::Executing),
        State::Completed => Some(Transition::Completed),
        State::Failed => Some(Transition::Failed),
        State::Canceled => Some(Transition::Canceled),
    }
}

/// How the clean-up of a job ended, once it has.
pub(crate) fn end_of_clean_up(job: &Job) -> Option<Transition> {
    match view::status(job)?.clean_up {
        CleanUpState::None | CleanUpState::Pending | CleanUpState::Running | CleanUpState::Kept => None,
        CleanUpState::Done => Some(Transition::CleanedUp),
        CleanUpState::LeftOver => Some(Transition::LeftOver),
    }
}
