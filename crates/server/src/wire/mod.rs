//! Wire types to the machine's and back, in one place; nothing else in the house spells a proto enum.

mod explanation;
mod job;
mod options;
mod rows;

pub(crate) use explanation::explanation;
pub(crate) use job::{job, job_event, job_id};
pub(crate) use options::{exhausted_policy, failure_policy, indexes, indexes_to_wire, verify_mode};
pub(crate) use rows::{id_mapping, segment, task, work, worker};

use crate::status::Violations;
use ferry_machine::view::SegmentState;
use ferry_machine::view::{State, TaskState};
use ferry_proto::v1;
use ferry_raft::Role;

/// A count as the wire has it; none reaches the end of an int64.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads a value of an enum; one that this version does not know is refused.
fn known<T: TryFrom<i32>>(value: i32, field: &str, violations: &mut Violations) -> Option<T> {
    let known = T::try_from(value).ok();
    violations.require(known.is_some(), field, || format!("is {value}, which is no value of its enum: see the API"));
    known
}

/// A filter by states: any of them, or all where there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnyOf<T>(Vec<T>);

impl<T: PartialEq + Copy> AnyOf<T> {
    pub(crate) fn admits(&self, state: T) -> bool {
        self.0.is_empty() || self.0.contains(&state)
    }
}

fn any_of<W: TryFrom<i32>, T>(
    values: &[i32],
    of_wire: impl Fn(W) -> Option<T>,
    violations: &mut Violations,
) -> AnyOf<T> {
    let mut states = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let state = W::try_from(*value).ok().and_then(&of_wire);
        violations.require(state.is_some(), &format!("states[{index}]"), || {
            format!("is {value}, which is no state: see the API, and leave states empty for all")
        });
        states.extend(state);
    }
    AnyOf(states)
}

/// A filter by the states of jobs.
pub(crate) fn job_states(values: &[i32], violations: &mut Violations) -> AnyOf<State> {
    let of_wire = |state| match state {
        v1::JobState::Unspecified => None,
        v1::JobState::Pending => Some(State::Pending),
        v1::JobState::Executing => Some(State::Executing),
        v1::JobState::Completed => Some(State::Completed),
        v1::JobState::Failed => Some(State::Failed),
        v1::JobState::Canceled => Some(State::Canceled),
    };
    any_of(values, of_wire, violations)
}

/// A filter by the states of tasks.
pub(crate) fn task_states(values: &[i32], violations: &mut Violations) -> AnyOf<TaskState> {
    let of_wire = |state| match state {
        v1::TaskState::Unspecified => None,
        v1::TaskState::Pending => Some(TaskState::Pending),
        v1::TaskState::InProgress => Some(TaskState::InProgress),
        v1::TaskState::Completed => Some(TaskState::Completed),
        v1::TaskState::Failed => Some(TaskState::Failed),
    };
    any_of(values, of_wire, violations)
}

/// A filter by the states of segments.
pub(crate) fn segment_states(values: &[i32], violations: &mut Violations) -> AnyOf<SegmentState> {
    let of_wire = |state| match state {
        v1::SegmentState::Unspecified => None,
        v1::SegmentState::Importing => Some(SegmentState::Importing),
        v1::SegmentState::Flushed => Some(SegmentState::Flushed),
        v1::SegmentState::Dropped => Some(SegmentState::Dropped),
    };
    any_of(values, of_wire, violations)
}

/// What a node is in the cluster.
pub(crate) fn node_role(role: Role) -> v1::NodeRole {
    match role {
        Role::Leader => v1::NodeRole::Leader,
        Role::Follower => v1::NodeRole::Follower,
        Role::Candidate => v1::NodeRole::Candidate,
        Role::Learner => v1::NodeRole::Learner,
        Role::Stopped => v1::NodeRole::Unspecified,
    }
}
