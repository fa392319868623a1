//! A worker. Key: table 7 | worker. Value: `WorkerRow`. Lifecycle: made when its name first registers, changed by each
//! start and loss of it, removed when it is lost and nothing of it is left to release.

use super::super::shapes::{labels_from_wire, labels_to_wire, required, stamp_from_wire, stamp_to_wire};
use super::super::{CodecError, seal, unseal};
use ferry_machine::id::WorkerId;
use ferry_machine::row::{Worker, WorkerState};
use ferry_proto::internal::v1 as wire;

const WHAT: &str = "worker's row";

pub(super) fn encode(worker: Worker) -> Vec<u8> {
    let state = match worker.state {
        WorkerState::Active => wire::WorkerState::Active,
        WorkerState::Returning => wire::WorkerState::Returning,
        WorkerState::Lost => wire::WorkerState::Lost,
    };
    seal(&wire::WorkerRow {
        id: worker.id.0,
        name: worker.name,
        incarnation: worker.incarnation,
        slots: worker.slots,
        leased: worker.leased,
        labels: labels_to_wire(worker.labels),
        state: state.into(),
        registered: Some(stamp_to_wire(worker.registered)),
        draining: worker.draining,
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Worker, CodecError> {
    let row: wire::WorkerRow = unseal(WHAT, bytes)?;
    Ok(Worker {
        id: WorkerId(row.id),
        name: row.name,
        incarnation: row.incarnation,
        slots: row.slots,
        leased: row.leased,
        labels: labels_from_wire(row.labels),
        state: match wire::WorkerState::try_from(row.state) {
            Ok(wire::WorkerState::Active) => WorkerState::Active,
            Ok(wire::WorkerState::Returning) => WorkerState::Returning,
            Ok(wire::WorkerState::Lost) => WorkerState::Lost,
            Ok(wire::WorkerState::Unspecified) | Err(_) => {
                return Err(CodecError::Field { what: WHAT, field: "state" });
            }
        },
        draining: row.draining,
        registered: stamp_from_wire(required(row.registered, WHAT, "time of its registration")?),
    })
}
