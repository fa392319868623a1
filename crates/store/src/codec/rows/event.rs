//! An event. Key: table 15 | revision | ordinal. Value: `EventRow`. Lifecycle: made by a transition of a job, never
//! changed, removed when it has outlived its retention.

use super::super::shapes::{required, stamp_from_wire, stamp_to_wire};
use super::super::{CodecError, seal, unseal};
use ferry_machine::id::JobId;
use ferry_machine::row::{Event, Transition};
use ferry_machine::view::State;
use ferry_proto::internal::v1 as wire;

const WHAT: &str = "event's row";

pub(super) fn encode(event: Event) -> Vec<u8> {
    seal(&wire::EventRow {
        job: event.job.0,
        transition: transition_to_wire(event.transition).into(),
        state: state_to_wire(event.state).into(),
        at: Some(stamp_to_wire(event.at)),
        name: event.name,
        collection_id: event.collection_id,
        reason: event.reason,
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Event, CodecError> {
    let row: wire::EventRow = unseal(WHAT, bytes)?;
    Ok(Event {
        job: JobId(row.job),
        transition: transition_from_wire(row.transition)?,
        state: state_from_wire(row.state)?,
        at: stamp_from_wire(required(row.at, WHAT, "time")?),
        name: row.name,
        collection_id: row.collection_id,
        reason: row.reason,
    })
}

fn transition_to_wire(transition: Transition) -> wire::Transition {
    match transition {
        Transition::Submitted => wire::Transition::Submitted,
        Transition::Executing => wire::Transition::Executing,
        Transition::Completed => wire::Transition::Completed,
        Transition::Failed => wire::Transition::Failed,
        Transition::Canceled => wire::Transition::Canceled,
        Transition::Paused => wire::Transition::Paused,
        Transition::Resumed => wire::Transition::Resumed,
        Transition::CleanedUp => wire::Transition::CleanedUp,
        Transition::LeftOver => wire::Transition::LeftOver,
        Transition::Collected => wire::Transition::Collected,
    }
}

fn transition_from_wire(transition: i32) -> Result<Transition, CodecError> {
    Ok(match wire::Transition::try_from(transition) {
        Ok(wire::Transition::Submitted) => Transition::Submitted,
        Ok(wire::Transition::Executing) => Transition::Executing,
        Ok(wire::Transition::Completed) => Transition::Completed,
        Ok(wire::Transition::Failed) => Transition::Failed,
        Ok(wire::Transition::Canceled) => Transition::Canceled,
        Ok(wire::Transition::Paused) => Transition::Paused,
        Ok(wire::Transition::Resumed) => Transition::Resumed,
        Ok(wire::Transition::CleanedUp) => Transition::CleanedUp,
        Ok(wire::Transition::LeftOver) => Transition::LeftOver,
        Ok(wire::Transition::Collected) => Transition::Collected,
        Ok(wire::Transition::Unspecified) | Err(_) => {
            return Err(CodecError::Field { what: WHAT, field: "transition" });
        }
    })
}

fn state_to_wire(state: State) -> wire::EventState {
    match state {
        State::Pending => wire::EventState::Pending,
        State::Executing => wire::EventState::Executing,
        State::Completed => wire::EventState::Completed,
        State::Failed => wire::EventState::Failed,
        State::Canceled => wire::EventState::Canceled,
    }
}

fn state_from_wire(state: i32) -> Result<State, CodecError> {
    Ok(match wire::EventState::try_from(state) {
        Ok(wire::EventState::Pending) => State::Pending,
        Ok(wire::EventState::Executing) => State::Executing,
        Ok(wire::EventState::Completed) => State::Completed,
        Ok(wire::EventState::Failed) => State::Failed,
        Ok(wire::EventState::Canceled) => State::Canceled,
        Ok(wire::EventState::Unspecified) | Err(_) => return Err(CodecError::Field { what: WHAT, field: "state" }),
    })
}
