//! A history that is still being recorded, as it was some seconds ago.
//!
//! Invariant: what is kept is what was known at one moment of real time: every operation that had ended by then, and those
//! that were open then as unknown, for they may have had their effect on others already.

use crate::traffic::History;
use crate::traffic::history::{Answer, Kind, Operation, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// Longer than any call of a client lasts: what had begun this long ago has been recorded by now.
const CALL_MAX: Duration = Duration::from_secs(5);

/// The operations as of `CALL_MAX` ago.
pub(super) fn settled(history: &History) -> Vec<Arc<Operation>> {
    let moment_us = history.now_us().saturating_sub(u64::try_from(CALL_MAX.as_micros()).unwrap_or(u64::MAX));
    as_of(history.operations(), moment_us)
}

fn as_of(operations: Vec<Arc<Operation>>, moment_us: u64) -> Vec<Arc<Operation>> {
    let known = |operation: Arc<Operation>| {
        if operation.returned_us <= moment_us {
            return Some(operation);
        }
        (operation.called_us <= moment_us && changes_something(&operation)).then(|| Arc::new(open(&operation)))
    };
    operations.into_iter().filter_map(known).collect()
}

/// The operation before its answer came.
fn open(operation: &Operation) -> Operation {
    Operation {
        outcome: Outcome::Unknown(Code::Unknown, "still open".to_owned()),
        revision: None,
        staleness_ms: None,
        answer: Answer::None,
        ..operation.clone()
    }
}

fn changes_something(operation: &Operation) -> bool {
    match operation.request.kind() {
        Kind::Submit
        | Kind::ReuseRequestId
        | Kind::Cancel
        | Kind::Pause
        | Kind::Resume
        | Kind::Update
        | Kind::Allocate => true,
        Kind::GetJob
        | Kind::GetJobs
        | Kind::ListJobs
        | Kind::GetSegment
        | Kind::ListSegments
        | Kind::ListTasks
        | Kind::GetTask
        | Kind::Watch
        | Kind::WatchEnd
        | Kind::Wait
        | Kind::Status
        | Kind::Check => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::Sample;
    use super::*;
    use crate::traffic::history::Request;

    #[test]
    fn what_ended_is_kept_what_was_open_is_unknown_and_what_came_later_is_left_out() {
        let mut sample = Sample::new();
        let status = Answer::Status { term: 1, leader: 1, applied: 1 };
        sample.add(1, Request::Cancel(7), (10, 20), 5, Answer::None);
        sample.add(1, Request::Cancel(8), (10, 40), 6, Answer::None);
        sample.add(1, Request::Status, (10, 40), 6, status);
        sample.add(1, Request::Cancel(9), (35, 40), 7, Answer::None);
        let known = as_of(sample.operations.into_iter().map(Arc::new).collect(), 30_000);
        let told: Vec<_> = known.iter().map(|operation| (operation.request.clone(), operation.revision)).collect();
        assert_eq!(told, [(Request::Cancel(7), Some(5)), (Request::Cancel(8), None)]);
        assert!(matches!(known[1].outcome, Outcome::Unknown(..)));
    }
}
